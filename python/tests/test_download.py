"""A dataset batch by batch, as in the first lines of the documentation."""

import unittest

import numpy as np

import dividenconquer as dnc
from dividenconquer import _download
from helpers import FolderTest, numbered


class DownloadTest(FolderTest):
    def setUp(self):
        super().setUp()
        self.x, self.y = numbered(1002)
        self.shards = self.path("shards")
        dnc.upload((self.x, self.y), self.shards, batches=4, progress=False)

    def test_gives_the_batches_as_they_were_uploaded_and_then_none(self):
        seen = []
        batch = dnc.download_first(self.shards)
        while batch is not None:
            self.assertEqual((batch.index, batch.count), (len(seen), 4))
            self.assertEqual(batch.classes.tolist(), list(range(10)))
            seen.append(batch)
            batch = dnc.download_next()
        self.assertEqual([len(batch) for batch in seen], [250, 251, 250, 251])
        np.testing.assert_array_equal(np.concatenate([batch.x for batch in seen]), self.x)
        np.testing.assert_array_equal(np.concatenate([batch.y for batch in seen]), self.y)
        self.assertIsNone(dnc.download_next())

    def test_the_first_may_be_any(self):
        batch = dnc.download_first(self.shards, batch=2)
        self.assertEqual(batch.index, 2)
        np.testing.assert_array_equal(batch.x, self.x[501:751])
        self.assertEqual(dnc.download_next().index, 3)
        self.assertIsNone(dnc.download_next())
        self.assertIsNone(dnc.download_first(self.shards, batch=4))

    def test_memory_of_a_batch_is_used_again_once_nothing_refers_to_it(self):
        addresses = set()
        for batch in dnc.Download(self.shards):
            addresses.add(batch.x.__array_interface__["data"][0])
            del batch
        self.assertLessEqual(len(addresses), 2)

    def test_several_run_beside_each_other(self):
        for left, right in zip(dnc.Download(self.shards), dnc.Download(self.shards)):
            np.testing.assert_array_equal(left.x, right.x)

    def test_never_touches_the_dataset(self):
        for _ in dnc.Download(self.shards):
            pass
        self.assertEqual(dnc.verify(self.shards, progress=False)["samples"], 1002)

    def test_unpacks_and_selects(self):
        x, y = dnc.download_first(self.shards)
        self.assertEqual((x.shape, y.shape), ((250, 3), (250,)))
        batch = dnc.download_first(self.shards, columns=["y"])
        self.assertIsNone(batch.x)
        np.testing.assert_array_equal(batch["y"], self.y[:250])

    def test_texts_come_as_lists(self):
        texts = [f"text {i}" for i in range(3000)]
        dnc.upload({"text": texts}, self.path("texts"), batches=2, progress=False)
        parts = [batch["text"] for batch in dnc.Download(self.path("texts"))]
        self.assertEqual([len(part) for part in parts], [1500, 1500])
        self.assertEqual(sum(parts, []), texts)

    def test_refuses_what_cannot_be(self):
        _download._current = None
        with self.assertRaisesRegex(dnc.InvalidArgumentError, "download_first"):
            dnc.download_next()
        with self.assertRaisesRegex(dnc.InvalidArgumentError, "only 4 batches"):
            dnc.download_first(self.shards, batch=5)
        with self.assertRaisesRegex(dnc.InvalidArgumentError, "batch=-1"):
            dnc.download_first(self.shards, batch=-1)
        with self.assertRaises(dnc.NotFoundError):
            dnc.download_first(self.shards, split="test")


if __name__ == "__main__":
    unittest.main()
