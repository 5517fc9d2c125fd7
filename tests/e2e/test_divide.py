"""dnc divide, inspect and verify: what they make, and how they refuse bad input."""

import json
import os
import resource
import struct
import subprocess

import numpy

from harness import DNC, Case, shared_data


class Divide(Case):
    def test_divides_inspects_and_verifies_npy(self):
        manifest = self.divide_images(1000)
        out, _ = self.run_dnc("inspect", manifest, "--json")
        found = json.loads(out)
        self.assertEqual(found["samples"], 1000)
        self.assertEqual({s["name"]: s["samples"] for s in found["splits"]},
                         {"train": 800, "validation": 200})
        self.assertEqual([(c["name"], c["dtype"], c["shape"]) for c in found["columns"]],
                         [("x", "uint8", [8, 8]), ("y", "uint8", [])])
        x = numpy.load(self.path("x.npy"))
        means = [(s["samples"], s["statistics"]["x"]["mean"]) for s in found["splits"]]
        self.assertAlmostEqual(sum(n * mean for n, mean in means) / 1000, x.mean(), places=9)
        out, _ = self.run_dnc("verify", manifest)
        self.assertIn("1,000 samples", out)
        self.assertEqual(sorted(os.listdir(self.path("shards"))),
                         sorted([s["cid"] for s in found["shards"]] + ["manifest.json"]))

    def test_same_input_and_seed_give_the_same_bytes(self):
        x, y = self.save_images(500)
        for to in ("a", "b"):
            self.run_dnc("divide", x, "--labels", y, "--to", self.path(to), "--seed", 5,
                         "--split", "train=0.5,validation=0.5")
        self.assertEqual(sorted(os.listdir(self.path("a"))), sorted(os.listdir(self.path("b"))))
        for name in os.listdir(self.path("a")):
            with open(self.path("a", name), "rb") as a, open(self.path("b", name), "rb") as b:
                self.assertEqual(a.read(), b.read(), name)

    def test_divides_csv_with_a_text_label(self):
        self.write("t.csv", "a,b,kind\n1,2,cat\n3,4,dog\n5,6,cat\n")
        self.run_dnc("divide", self.path("t.csv"), "--label-column", "kind", "--to",
                     self.path("out"))
        found = json.loads(self.run_dnc("inspect", self.path("out"), "--json")[0])
        self.assertEqual(found["columns"][1]["class_names"], ["cat", "dog"])
        self.assertEqual(found["splits"][0]["statistics"]["y"]["class_counts"],
                         {"0": 2, "1": 1})

    def test_divides_photos(self):
        photos = shared_data("clothing", "validation")
        if photos is None:
            self.skipTest("the shared photos are absent")
        self.run_dnc("divide", photos, "--resize", "64x64", "--to", self.path("out"))
        found = json.loads(self.run_dnc("inspect", self.path("out"), "--json")[0])
        self.assertEqual(found["samples"], 341)
        self.assertEqual(found["columns"][0]["shape"], [64, 64, 3])
        self.assertEqual(len(found["columns"][1]["class_names"]), 10)
        self.run_dnc("verify", self.path("out"))

    def test_ctrl_c_keeps_finished_shards_and_the_same_command_goes_on(self):
        numpy.save(self.path("big.npy"), numpy.random.default_rng(1).integers(
            0, 255, (60_000, 32, 32, 3), numpy.uint8))
        command = ["divide", self.path("big.npy"), "--shard-bytes", "4MiB", "--to"]
        process = self.start_dnc("divide", *command, self.path("out"))
        self.wait_until(lambda: os.path.exists(self.path("out", "dividing.json")),
                        "the first finished shard")
        process.send_signal(2)
        self.assertEqual(process.wait(timeout=10), 130)
        self.assertIn("run the same command again", self.log("divide"))
        self.assertFalse(os.path.exists(self.path("out", "manifest.json")))
        self.run_dnc(*command, self.path("out"))
        self.run_dnc(*command, self.path("whole"))
        self.assert_same_folders("out", "whole")

    def test_ctrl_c_before_the_first_shard_leaves_nothing(self):
        numpy.save(self.path("big.npy"), numpy.random.default_rng(1).integers(
            0, 255, (60_000, 32, 32, 3), numpy.uint8))
        process = self.start_dnc("divide", "divide", self.path("big.npy"), "--to",
                                 self.path("out"), "--shard-bytes", "1GiB")
        self.wait_until(lambda: os.path.isdir(self.path("out")) and os.listdir(self.path("out")),
                        "the first bytes of a shard")
        process.send_signal(2)
        self.assertEqual(process.wait(timeout=10), 130)
        self.assertFalse(os.path.exists(self.path("out")))

    def assert_same_folders(self, first, second):
        self.assertEqual(sorted(os.listdir(self.path(first))),
                         sorted(os.listdir(self.path(second))))
        for name in os.listdir(self.path(first)):
            with open(self.path(first, name), "rb") as a, open(self.path(second, name), "rb") as b:
                self.assertEqual(a.read(), b.read(), name)


class BadInput(Case):
    def nothing_written(self):
        self.assertFalse(os.path.exists(self.path("out")), "half-written output")

    def test_missing_file(self):
        self.refuse(3, "divide", self.path("no.npy"), "--to", self.path("out"), says=["no.npy"])
        self.nothing_written()

    def test_truncated_npy(self):
        x, y = self.save_images(100)
        size = os.path.getsize(x)
        os.truncate(x, size - 10)
        self.refuse(5, "divide", x, "--labels", y, "--to", self.path("out"),
                    says=["x.npy", "truncated"])
        self.nothing_written()

    def test_labels_of_another_length(self):
        x, y = self.save_images(100)
        numpy.save(y, numpy.zeros(99, numpy.uint8))
        self.refuse(2, "divide", x, "--labels", y, "--to", self.path("out"),
                    says=["x.npy", "100 samples", "y.npy", "99 labels"])
        self.nothing_written()

    def test_object_npy(self):
        numpy.save(self.path("o.npy"), numpy.array([{"a": 1}, None], dtype=object),
                   allow_pickle=True)
        self.refuse(6, "divide", self.path("o.npy"), "--to", self.path("out"),
                    says=["o.npy", "pickle"])
        self.nothing_written()

    def test_empty_folder(self):
        os.mkdir(self.path("photos"))
        self.refuse(2, "divide", self.path("photos"), "--resize", "8x8", "--to", self.path("out"),
                    says=["photos"])
        self.nothing_written()

    def photos_with_a_bad_one(self):
        photos = shared_data("clothing", "validation", "hat")
        if photos is None:
            self.skipTest("the shared photos are absent")
        names = sorted(os.listdir(photos))[:6]
        os.makedirs(self.path("photos", "hat"))
        for name in names:
            with open(os.path.join(photos, name), "rb") as file:
                data = file.read()
            if name == names[3]:
                data = data[:len(data) // 2]
            with open(self.path("photos", "hat", name), "wb") as file:
                file.write(data)
        return names[3]

    def test_corrupt_jpeg_is_named(self):
        bad = self.photos_with_a_bad_one()
        self.refuse(5, "divide", self.path("photos"), "--resize", "32x32", "--to",
                    self.path("out"), says=[bad])
        self.nothing_written()

    def test_skip_bad_counts_and_lists(self):
        bad = self.photos_with_a_bad_one()
        out, err = self.run_dnc("divide", self.path("photos"), "--resize", "32x32", "--to",
                                self.path("out"), "--skip-bad")
        self.assertIn("left out 1 bad", err)
        self.assertIn(bad, err)
        self.assertIn("5 samples", out)

    def test_ragged_csv_line(self):
        self.write("t.csv", "a,b,c\n1,2,3\n4,5\n")
        self.refuse(2, "divide", self.path("t.csv"), "--to", self.path("out"),
                    says=["t.csv", "line 3", "2", "3"])
        self.nothing_written()

    def test_text_in_a_numeric_column(self):
        self.write("t.csv", "a,b\n1,2\n3,four\n")
        self.refuse(2, "divide", self.path("t.csv"), "--to", self.path("out"),
                    says=["t.csv", "line 3", "b", "four"])
        self.nothing_written()

    def test_disk_that_fills_up(self):
        """A limit on the size of a file stands for the disk: it needs no privileges."""
        numpy.save(self.path("x.npy"), numpy.random.default_rng(1).integers(
            0, 255, (20_000, 32, 32), numpy.uint8))
        limit = 2 << 20
        done = subprocess.run(
            [DNC, "divide", self.path("x.npy"), "--to", self.path("out")],
            capture_output=True, text=True, timeout=60,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        self.assertEqual(done.returncode, 12, done.stderr)
        self.nothing_written()

    def test_second_divide_into_the_same_folder(self):
        self.divide_images(100)
        self.refuse(4, "divide", self.path("x.npy"), "--to", self.path("shards"),
                    says=["manifest.json", "--overwrite"])
        self.run_dnc("verify", self.path("shards"))

    def test_manifest_of_a_later_version(self):
        manifest = self.divide_images(100)
        with open(manifest) as file:
            document = json.load(file)
        document["version"] = 99
        self.write("shards/manifest.json", document)
        self.refuse(6, "inspect", manifest, says=["manifest.json", "99"])

    def test_shard_with_a_byte_changed(self):
        manifest = self.divide_images(500)
        cid = next(n for n in os.listdir(self.path("shards")) if n != "manifest.json")
        with open(self.path("shards", cid), "r+b") as file:
            file.seek(1000)
            byte = file.read(1)
            file.seek(1000)
            file.write(struct.pack("B", byte[0] ^ 1))
        self.refuse(5, "verify", manifest, says=[cid])

    def test_unknown_option_value(self):
        x, _ = self.save_images(10)
        self.refuse(2, "divide", x, "--to", self.path("out"), "--shard-bytes", "many",
                    says=["--shard-bytes", "many"])
        self.refuse(2, "divide", x, "--to", self.path("out"), "--split", "train=0.5",
                    says=["0.5"])
        self.nothing_written()

    def test_npy_that_is_no_array(self):
        with open(self.path("x.npy"), "wb") as file:
            file.write(b"\x01\x02 this is not an array \x00")
        self.refuse(6, "divide", self.path("x.npy"), "--to", self.path("out"), says=["x.npy"])
        self.nothing_written()
