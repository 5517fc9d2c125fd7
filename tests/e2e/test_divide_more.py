"""Dividing files as bytes, in parts, into other stores, and with feature steps."""

import json
import os
import random
import signal
import stat
import subprocess
import sys
import time

import numpy

from harness import DNC, ROOT, Case, die_with_parent, shared_data


def tree_of(folder):
    """Every entry below `folder`: its kind, mode and contents."""
    found = {}
    for path, folders, files in os.walk(folder):
        for name in folders + files:
            full = os.path.join(path, name)
            info = os.lstat(full)
            if stat.S_ISLNK(info.st_mode):
                content = os.readlink(full)
            elif stat.S_ISREG(info.st_mode):
                with open(full, "rb") as file:
                    content = file.read()
            else:
                content = None
            mode = 0 if stat.S_ISLNK(info.st_mode) else stat.S_IMODE(info.st_mode)
            found[os.path.relpath(full, folder)] = (stat.S_IFMT(info.st_mode), mode, content)
    return found


def store_of(folder):
    """Names and bytes of a folder without folders in it."""
    return {path: content for path, (_, _, content) in tree_of(folder).items()}


class Raw(Case):
    def make_tree(self):
        tree = self.path("tree")
        os.makedirs(os.path.join(tree, "a", "b", "c"))
        os.makedirs(os.path.join(tree, "none"))
        generator = numpy.random.default_rng(3)
        for name, size in (("a/b/large", 3_000_001), ("a/empty", 0), ("a/b/c/small", 7),
                           ("z", 65536), ("\u00e4 name\n", 5)):
            with open(os.path.join(tree, name), "wb") as file:
                file.write(generator.bytes(size))
        os.symlink("../z", os.path.join(tree, "a", "link"))
        os.chmod(os.path.join(tree, "z"), 0o640)
        os.chmod(os.path.join(tree, "a", "b"), 0o500)
        self.addCleanup(os.chmod, os.path.join(tree, "a", "b"), 0o700)
        return tree

    def divide_tree(self):
        tree = self.make_tree()
        self.run_dnc("divide", tree, "--raw", "--to", self.path("shards"), "--shard-bytes", "256KiB")
        return tree

    def test_a_tree_comes_back_byte_for_byte(self):
        tree = self.divide_tree()
        self.run_dnc("verify", self.path("shards"))
        self.run_dnc("fetch", self.path("shards"), "--to", self.path("back"))
        self.assertEqual(tree_of(self.path("back")), tree_of(tree))

    def test_a_file_comes_back_under_its_name(self):
        self.write("one.bin", "some bytes")
        self.run_dnc("divide", self.path("one.bin"), "--raw", "--to", self.path("shards"))
        self.run_dnc("fetch", self.path("shards"), "--to", self.path("back"))
        with open(self.path("back", "one.bin")) as file:
            self.assertEqual(file.read(), "some bytes")

    def test_a_fetch_that_was_killed_goes_on(self):
        tree = self.divide_tree()
        generator = random.Random(5)
        for _ in range(10):
            process = subprocess.Popen([DNC, "fetch", self.path("shards"), "--to",
                                        self.path("back")], preexec_fn=die_with_parent,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(generator.uniform(0.005, 0.05))
            process.send_signal(signal.SIGKILL)
            if process.wait() == 0:
                break
        there = os.listdir(self.path("back")) if os.path.exists(self.path("back")) else []
        if not there or any(name.startswith(".dnc-fetch.") for name in there):
            self.run_dnc("fetch", self.path("shards"), "--to", self.path("back"))
        self.assertEqual(tree_of(self.path("back")), tree_of(tree))

    def test_another_folder_is_left_alone(self):
        self.divide_tree()
        os.makedirs(self.path("mine"))
        self.write("mine/file", "mine")
        self.refuse(4, "fetch", self.path("shards"), "--to", self.path("mine"),
                    says=["mine", "not empty"])
        self.assertEqual(os.listdir(self.path("mine")), ["file"])

    def test_links_that_lead_outside_need_an_option(self):
        os.makedirs(self.path("tree"))
        os.symlink("/etc/passwd", self.path("tree", "out"))
        self.run_dnc("divide", self.path("tree"), "--raw", "--to", self.path("shards"))
        self.refuse(9, "fetch", self.path("shards"), "--to", self.path("back"),
                    says=["\"out\"", "/etc/passwd", "--outside-links"])
        self.run_dnc("fetch", self.path("shards"), "--to", self.path("back"), "--outside-links")
        self.assertEqual(os.readlink(self.path("back", "out")), "/etc/passwd")

    def test_samples_are_fetched_as_shards(self):
        manifest = self.divide_images()
        self.run_dnc("fetch", manifest, "--to", self.path("copy"))
        self.assertEqual(store_of(self.path("copy")), store_of(self.path("shards")))
        # A leaf that was changed on this side is fetched again.
        shard = next(name for name in os.listdir(self.path("copy")) if name != "manifest.json")
        with open(self.path("copy", shard), "r+b") as file:
            file.seek(100)
            file.write(b"changed")
        self.run_dnc("fetch", manifest, "--to", self.path("copy"))
        self.assertEqual(store_of(self.path("copy")), store_of(self.path("shards")))


class Parts(Case):
    def save_rows(self, count):
        generator = numpy.random.default_rng(1)
        x = generator.normal(3, 2, (count, 4)).astype(numpy.float32)
        x[:, 0] = numpy.arange(count)
        numpy.save(self.path("x.npy"), x)
        return x

    def inspect(self, location):
        return json.loads(self.run_dnc("inspect", location, "--json")[0])

    def test_parts_join_to_what_one_run_gives(self):
        self.save_rows(90_000)
        common = ["divide", self.path("x.npy"), "--split", "train=0.9,test=0.1"]
        self.run_dnc(*common, "--to", self.path("whole"))
        for part in (2, 4, 1, 3):
            self.run_dnc(*common, "--to", self.path("parts"), "--part", f"{part}/4")
        manifests = [self.path("parts", f"manifest-{i}-of-4.json") for i in (3, 1, 2, 4)]
        self.run_dnc("merge", *manifests, "--to", self.path("parts"))
        self.run_dnc("verify", self.path("parts"))
        whole, joined = self.inspect(self.path("whole")), self.inspect(self.path("parts"))
        for one, other in zip(whole["splits"], joined["splits"]):
            self.assertEqual((one["name"], one["samples"]), (other["name"], other["samples"]))
            for key in ("min", "max", "count"):
                self.assertEqual(one["statistics"]["x"][key], other["statistics"]["x"][key])
            for key in ("mean", "standard_deviation"):
                self.assertAlmostEqual(one["statistics"]["x"][key], other["statistics"]["x"][key],
                                       delta=1e-9 * abs(one["statistics"]["x"][key]))

    def test_a_part_that_is_missing_or_another_dataset_is_named(self):
        self.save_rows(3000)
        for part in (1, 3):
            self.run_dnc("divide", self.path("x.npy"), "--to", self.path("parts"),
                         "--part", f"{part}/3")
        manifests = [self.path("parts", f"manifest-{i}-of-3.json") for i in (1, 3)]
        self.refuse(2, "merge", *manifests, "--to", self.path("parts"), says=["missing", "2/3"])
        other = self.divide_images()
        self.refuse(2, "merge", other, self.path("shards"), manifests[0], "--to", self.path("m"),
                    says=["manifest"])

    def test_shards_may_stay_in_several_folders(self):
        self.save_rows(3000)
        for part in (1, 2):
            self.run_dnc("divide", self.path("x.npy"), "--to", self.path(f"p{part}"),
                         "--part", f"{part}/2")
        self.run_dnc("merge", self.path("p1", "manifest-1-of-2.json"),
                     self.path("p2", "manifest-2-of-2.json"), "--to", self.path("all"))
        self.run_dnc("verify", self.path("all"))
        self.assertEqual(self.inspect(self.path("all"))["samples"], 3000)


class Steps(Case):
    def test_standardised_features_have_mean_0_and_deviation_1(self):
        generator = numpy.random.default_rng(1)
        x = generator.normal([3, -200, 0.001, 5], [2, 30, 0.0001, 0], (5000, 4))
        numpy.save(self.path("x.npy"), x)
        self.run_dnc("divide", self.path("x.npy"), "--to", self.path("shards"), "--standardise")
        with open(self.path("shards", "manifest.json")) as file:
            manifest = json.load(file)
        step = manifest["steps"][0]
        self.assertEqual(step["name"], "standardise")
        numpy.testing.assert_allclose(step["numbers"]["mean"], x.mean(axis=0), rtol=1e-12)
        numpy.testing.assert_allclose(step["numbers"]["standard_deviation"], x.std(axis=0),
                                      rtol=1e-9, atol=1e-12)
        statistics = manifest["splits"][0]["statistics"][0]
        numpy.testing.assert_allclose(statistics["element_mean"], numpy.zeros(4), atol=1e-6)
        numpy.testing.assert_allclose(statistics["element_standard_deviation"], [1, 1, 1, 0],
                                      atol=1e-6)

    def test_hog_needs_decoded_images(self):
        numpy.save(self.path("x.npy"), numpy.zeros((10, 4), numpy.float32))
        self.refuse(2, "divide", self.path("x.npy"), "--to", self.path("shards"), "--features",
                    "hog", says=["hog", "float32 (4,)", "images of uint8"])
        self.refuse(2, "divide", self.path("x.npy"), "--to", self.path("shards"), "--features",
                    "hog:bins=9", says=["bins", "orientations"])
        self.refuse(2, "divide", self.path("x.npy"), "--to", self.path("shards"), "--features",
                    "sift", says=["sift", "hog"])
        self.assertFalse(os.path.exists(self.path("shards")))

    def test_hog_of_photos_is_that_of_scikit_image(self):
        photos = shared_data("clothing", "validation")
        if photos is None:
            self.skipTest("no photos; set DNC_SHARED_DATA")
        try:
            from skimage.feature import hog
        except ImportError as missing:
            self.skipTest(f"{missing}; install python3-skimage")
        package = os.path.join(ROOT, "build", "python")
        sys.path.insert(0, package)
        try:
            from dividenconquer import _native
        except ImportError as missing:
            self.skipTest(f"the Python package is not built: {missing}")
        del _native
        import dividenconquer
        common = ["divide", photos, "--resize", "64x48"]
        self.run_dnc(*common, "--to", self.path("pixels"))
        self.run_dnc(*common, "--to", self.path("hog"), "--features",
                     "hog:orientations=8,pixels_per_cell=8x8,cells_per_block=2x2,block_norm=L2")
        images, features = (
            numpy.concatenate([x.copy() for x, _ in dividenconquer.stream(
                self.path(name), shuffle=False)]) for name in ("pixels", "hog"))
        self.assertEqual(images.shape, (341, 48, 64, 3))
        for image, found in list(zip(images, features))[::17]:
            expected = hog(image, orientations=8, pixels_per_cell=(8, 8), cells_per_block=(2, 2),
                           block_norm="L2", channel_axis=-1)
            numpy.testing.assert_allclose(found, expected, atol=1e-4)


class Restart(Case):
    def test_killed_twenty_times_gives_the_same_bytes(self):
        generator = numpy.random.default_rng(1)
        numpy.save(self.path("x.npy"), generator.integers(0, 50, (40_000, 300)).astype(numpy.uint8))
        arguments = ["divide", self.path("x.npy"), "--shard-bytes", "256KiB", "--split",
                     "train=0.9,test=0.1", "--threads", "2"]
        begin = time.monotonic()
        self.run_dnc(*arguments, "--to", self.path("whole"))
        whole_time = time.monotonic() - begin
        generator = random.Random(7)
        killed = 0
        for _ in range(20):
            process = subprocess.Popen([DNC, *arguments, "--to", self.path("parts")],
                                       preexec_fn=die_with_parent, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            time.sleep(generator.uniform(0, 0.7 * whole_time))
            process.send_signal(signal.SIGKILL)
            if process.wait() == 0:
                break
            killed += 1
        self.assertGreater(killed, 0)
        if not os.path.exists(self.path("parts", "manifest.json")):
            self.run_dnc(*arguments, "--to", self.path("parts"))
        self.assertEqual(store_of(self.path("parts")), store_of(self.path("whole")))
