"""Photos: kept as they are, decoded on the way, and made features of."""

import os
import unittest

import numpy as np

import dividenconquer as dnc
from helpers import FolderTest, png


class PhotosTest(FolderTest):
    """24 images of one colour each, 6 wide and 4 high, in two classes."""

    def setUp(self):
        super().setUp()
        self.files = {}
        for i in range(24):
            name = ("dark", "light")[i % 2]
            os.makedirs(self.path("photos", name), exist_ok=True)
            colour = np.array([i, 2 * i, 100 * (i % 2)], dtype=np.uint8)
            self.files[i] = png(np.broadcast_to(colour, (4, 6, 3)))
            with open(self.path("photos", name, f"{i:02}.png"), "wb") as file:
                file.write(self.files[i])
        self.shards = self.path("shards")
        self.manifest = dnc.upload(self.path("photos"), self.shards, progress=False)

    def test_stay_the_files_that_they_were(self):
        self.assertEqual([c.kind for c in self.manifest.columns], ["image", "array"])
        self.assertEqual(self.manifest.class_names, ("dark", "light"))
        seen = []
        for x, y in dnc.stream(self.shards, batch_size=5):
            for photo, label in zip(x, y):
                self.assertIsInstance(photo, bytes)
                number = next(i for i, file in self.files.items() if file == photo)
                self.assertEqual(label, number % 2)
                seen.append(number)
        self.assertEqual(sorted(seen), list(range(24)))

    def test_are_decoded_to_one_array_of_the_size_asked_for(self):
        seen = []
        for x, y in dnc.stream(self.shards, batch_size=5, resize=(8, 3)):
            self.assertEqual((x.dtype, x.shape[1:]), (np.uint8, (3, 8, 3)))
            self.assertTrue((x == x[:, :1, :1]).all())
            np.testing.assert_array_equal(x[:, 0, 0, 2], 100 * y)
            seen += x[:, 0, 0, 0].tolist()
        self.assertEqual(sorted(seen), list(range(24)))
        batch = dnc.download_first(self.shards, resize=(8, 3))
        self.assertEqual(batch.x.shape, (24, 3, 8, 3))

    def test_become_features_while_they_are_divided(self):
        manifest = dnc.upload(self.path("photos"), self.path("hog"), resize=(24, 24),
                              features="hog:cells_per_block=2x2", progress=False)
        self.assertEqual([step.name for step in manifest.steps], ["resize", "hog"])
        images = dnc.download_first(self.shards, resize=(24, 24))
        features = dnc.download_first(self.path("hog"))
        np.testing.assert_allclose(
            features.x, dnc.hog(images.x, cells_per_block=(2, 2)), atol=1e-6)
        np.testing.assert_array_equal(features.y, images.y)

    def test_nothing_but_photos_can_be_resized(self):
        dnc.upload({"data": [b"a", b"b"], "n": np.arange(2)}, self.path("bytes"), progress=False)
        with self.assertRaisesRegex(dnc.InvalidArgumentError, "data bytes, n int64"):
            dnc.stream(self.path("bytes"), resize=(8, 3))
        with self.assertRaisesRegex(dnc.InvalidArgumentError, r"resize=\(8,\)"):
            dnc.stream(self.shards, resize=(8,))


class HogTest(unittest.TestCase):
    def images(self, *shape):
        return np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)

    def test_is_that_of_scikit_image(self):
        try:
            from skimage.feature import hog
        except ImportError:
            self.skipTest("scikit-image is not installed")
        for options in (
            {}, {"block_norm": "L1", "orientations": 6}, {"transform_sqrt": True},
            {"pixels_per_cell": (4, 8), "cells_per_block": (1, 2), "block_norm": "L2"},
        ):
            x = self.images(3, 40, 56, 3)
            expected = np.stack([hog(image, channel_axis=-1, **options) for image in x])
            for images in (x, x.astype(np.float32), x[:, :, ::-1][:, :, ::-1]):
                found = dnc.hog(images, **options)
                self.assertEqual(found.dtype, np.float32)
                np.testing.assert_allclose(found, expected, atol=1e-4)
            grey = x[..., 0]
            np.testing.assert_allclose(
                dnc.hog(grey, **options), np.stack([hog(image, **options) for image in grey]),
                atol=1e-4)

    def test_of_no_image_is_no_row(self):
        self.assertEqual(dnc.hog(self.images(0, 32, 32)).shape, (0, 324))

    def test_refuses_what_cannot_be(self):
        x = self.images(2, 32, 32)
        for message, images, options in [
            ("expected .samples, height, width", x[0], {}),
            ("64x3 pixels|32x3 pixels", x[:, :3], {}),
            ("not finite", x * np.float32("nan"), {}),
            ("negative", -x.astype(np.float64), {"transform_sqrt": True}),
            ("block_norm is \"L3\"", x, {"block_norm": "L3"}),
            ("orientations=-1", x, {"orientations": -1}),
            ("expected numbers", [["a"]], {}),
        ]:
            with self.assertRaisesRegex(dnc.InvalidArgumentError, message):
                dnc.hog(images, **options)


if __name__ == "__main__":
    unittest.main()
