"""Dividing from Python: what people have in memory and on disk, and what is refused."""

import os
import unittest

import numpy as np

import dividenconquer as dnc
from helpers import FolderTest, numbered


class UploadTest(FolderTest):
    def upload(self, source, **options):
        return dnc.upload(source, self.path("shards"), progress=False, **options)

    def test_divides_a_pair_of_arrays_and_describes_it(self):
        x, y = numbered(1000)
        manifest = self.upload((x, y), name="numbers", description="made up")
        self.assertEqual(manifest.name, "numbers")
        self.assertEqual(manifest.description, "made up")
        self.assertEqual([c.type_text for c in manifest.columns], ["uint8 (3,)", "int64 ()"])
        self.assertEqual(manifest.samples, 1000)
        self.assertEqual(manifest.classes.tolist(), list(range(10)))
        self.assertEqual(manifest.classes.dtype, np.int64)
        statistics = manifest.split("train").statistics["y"]
        self.assertEqual((statistics.count, statistics.mean, statistics.max), (1000, 4.5, 9))
        self.assertEqual(dnc.verify(manifest, progress=False)["samples"], 1000)
        self.assertEqual(dnc.inspect(self.path("shards")), manifest)

    def test_cuts_every_split_into_equal_batches(self):
        manifest = self.upload(numbered(1000), batches=4, split={"train": 0.9, "test": 0.1})
        sizes = [(shard.split, shard.samples) for shard in manifest.shards]
        self.assertEqual(sizes, [("train", 225)] * 4 + [("test", 25)] * 4)

    def test_counts_a_csv_before_it_cuts_it(self):
        with open(self.path("t.csv"), "w") as file:
            file.write("a,b,label\n" + "".join(f"{i},{i * 2},{i % 2}\n" for i in range(10)))
        manifest = dnc.upload(self.path("t.csv"), self.path("shards"), label="label", batches=4,
                              progress=False)
        self.assertEqual([shard.samples for shard in manifest.shards], [2, 3, 2, 3])
        self.assertEqual(manifest.parameters["source"], "t.csv")
        self.assertEqual(manifest.name, "t")

    def test_reads_a_csv_as_it_is_told(self):
        with open(self.path("t.csv"), "w") as file:
            file.write("1;?;x;0\n2;5;y;1\n3;7;x;0\n")
        manifest = dnc.upload(
            self.path("t.csv"), self.path("shards"), label=3, header=False, delimiter=";",
            missing="mean", drop_columns=["#0"], dtype="float64", progress=False)
        x, y = next(dnc.stream(manifest, shuffle=False))
        self.assertEqual(x.dtype, np.float64)
        self.assertEqual(x.tolist(), [[6, 0], [5, 1], [7, 0]])
        self.assertEqual(y.tolist(), [0, 1, 0])
        self.assertEqual(manifest.column("x").features[1].categories, ("x", "y"))
        for options in ({"missing": "zeros"}, {"delimiter": "ab"}, {"date_order": "ymd"},
                        {"dtype": "int8"}, {"header": "no"}):
            (name, value), = options.items()
            with self.assertRaisesRegex(dnc.InvalidArgumentError, f"{name}="):
                dnc.upload(self.path("t.csv"), self.path("other"), progress=False, **options)

    def test_takes_the_label_of_a_table_by_its_index(self):
        table = np.arange(12, dtype=np.float32).reshape(4, 3)
        manifest = self.upload(table, label=-1)
        self.assertEqual(manifest.column("x").shape, (2,))
        self.assertEqual(manifest.split("train").statistics["y"].max, 11)

    def test_standardises_over_the_first_split(self):
        x = np.random.default_rng(2).normal([1, 50], [2, 0.1], (500, 2))
        np.save(self.path("x.npy"), x)
        manifest = self.upload(self.path("x.npy"), standardise=True, batches=2)
        self.assertEqual([step.name for step in manifest.steps], ["standardise"])
        parts = [batch.x for batch in dnc.Download(self.path("shards"))]
        np.testing.assert_allclose(np.concatenate(parts), (x - x.mean(0)) / x.std(0), atol=1e-5)

    def test_files_as_bytes_come_back_as_they_were(self):
        os.makedirs(self.path("files", "deep"))
        for name, content in (("a.bin", os.urandom(5000)), ("deep/b", b"")):
            with open(self.path("files", name), "wb") as file:
                file.write(content)
        self.upload(self.path("files"), raw=True)
        done = dnc.fetch(self.path("shards"), self.path("back"), progress=False)
        self.assertEqual(done["files"], 2)
        for name in ("a.bin", "deep/b"):
            with open(self.path("files", name), "rb") as was:
                with open(self.path("back", name), "rb") as back:
                    self.assertEqual(back.read(), was.read())

    def test_a_fetched_dataset_is_one_itself(self):
        x, y = numbered(300)
        self.upload((x, y), compression="none")
        done = dnc.fetch(self.path("shards"), self.path("copy"), progress=False)
        self.assertEqual(done["shards"], 1)
        np.testing.assert_array_equal(dnc.download_first(self.path("copy")).x, x)
        again = dnc.fetch(self.path("shards"), self.path("copy"), progress=False)
        self.assertEqual(again["bytes_kept"], again["bytes"])

    def test_texts_as_labels_become_classes(self):
        manifest = self.upload((np.zeros((4, 1)), ["b", "a", "b", "c"]))
        self.assertEqual(manifest.class_names, ("a", "b", "c"))
        self.assertEqual(manifest.classes.tolist(), [0, 1, 2])
        self.assertEqual(manifest.split("train").statistics["y"].class_counts, {0: 1, 1: 2, 2: 1})

    def test_takes_any_byte_order_and_layout(self):
        x = np.arange(24, dtype=">f8").reshape(4, 6)[:, ::2]
        manifest = self.upload(np.asfortranarray(x))
        self.assertEqual(manifest.column("x").type_text, "float64 (3,)")
        self.assertEqual(manifest.split("train").statistics["x"].mean, x.mean())

    def test_reads_a_memory_map_and_an_iterator_alike(self):
        x, y = numbered(700)
        np.save(self.path("x.npy"), x)
        mapped = np.load(self.path("x.npy"), mmap_mode="r")
        whole = dnc.upload((mapped, y), self.path("a"), progress=False)
        pieces = ((x[i:i + 90], y[i:i + 90]) for i in range(0, 700, 90))
        parts = dnc.upload(pieces, self.path("b"), progress=False)
        self.assertEqual([s.cid for s in whole.shards], [s.cid for s in parts.shards])

    def test_reports_progress_and_stops_where_reading_raises(self):
        def batches():
            yield numbered(10)
            raise KeyError("boom")

        with self.assertRaisesRegex(KeyError, "boom"):
            self.upload(batches())
        self.assertFalse(os.path.exists(self.path("shards")))


class RefusalTest(FolderTest):
    def refuses(self, error, message, source, **options):
        with self.assertRaisesRegex(error, message):
            dnc.upload(source, self.path("shards"), progress=False, **options)
        self.assertFalse(os.path.exists(self.path("shards")))

    def test_of_bad_sources(self):
        x, y = numbered(10)
        wrong = dnc.InvalidArgumentError
        self.refuses(wrong, "x has 10, y has 9", (x, y[:9]))
        self.refuses(wrong, "a single value", (np.uint8(3), y))
        self.refuses(wrong, "of dtype complex128", x.astype(complex))
        self.refuses(wrong, "objects of NoneType, str", (x[:2], ["a", None]))
        self.refuses(wrong, "cannot divide a int", 7)
        self.refuses(wrong, "no columns", {})
        self.refuses(wrong, "label='z' is no column", {"x": x, "y": y}, label="z")
        self.refuses(wrong, "label=5 is no column", x, label=5)
        self.refuses(wrong, "gave no batch", iter(()))
        self.refuses(wrong, "a batch of .*first one was", iter([(x, y), (x[:, :2], y)]))
        self.refuses(wrong, "has no samples", (x[:0], y[:0]))
        self.refuses(dnc.NotFoundError, "nope.npy", self.path("nope.npy"))
        self.refuses(FileNotFoundError, "nope.npy", self.path("nope.npy"))

    def test_of_bad_options(self):
        source = numbered(10)
        wrong = dnc.InvalidArgumentError
        self.refuses(wrong, 'did you mean "level"', source, leve=3)
        self.refuses(wrong, "level='a'", source, level="a")
        self.refuses(wrong, "batches=0", source, batches=0)
        self.refuses(wrong, "10 samples cannot make 11", source, batches=11)
        self.refuses(wrong, "shard_bytes", source, shard_bytes="1 banana")
        self.refuses(wrong, "sum|fraction", source, split="train=0.5")
        self.refuses(wrong, "store has no option", source, store={"endpoint": ""})
        self.refuses(ValueError, "zstd level 99", source, level=99)
        self.refuses(wrong, "expected balanced, smallest, fast or none", source, compression="zip")
        np.save(self.path("x.npy"), source[0])
        self.refuses(wrong, 'expected "hog"', self.path("x.npy"), features="hogs")
        self.refuses(wrong, "does not say how many", iter([source]), batches=2)

    def test_of_what_is_there_already(self):
        dnc.upload(numbered(10), self.path("shards"), progress=False)
        with self.assertRaises(dnc.AlreadyExistsError) as caught:
            dnc.upload(numbered(10), self.path("shards"), progress=False)
        self.assertIsInstance(caught.exception, FileExistsError)
        self.assertEqual(caught.exception.code, "already_exists")
        dnc.upload(numbered(20), self.path("shards"), overwrite=True, progress=False)
        self.assertEqual(dnc.inspect(self.path("shards")).samples, 20)

    def test_of_damage(self):
        manifest = dnc.upload(numbered(1000), self.path("shards"), progress=False)
        shard = self.path("shards", manifest.shards[0].cid)
        with open(shard, "rb") as file:
            data = bytearray(file.read())
        data[100] ^= 1
        with open(shard, "wb") as file:
            file.write(data)
        with self.assertRaisesRegex(dnc.CorruptError, manifest.shards[0].cid):
            dnc.verify(manifest, progress=False)

    def test_every_code_has_a_class_of_its_own(self):
        from dividenconquer import errors

        self.assertEqual(len(errors.BY_CODE), 14)
        for code, error in errors.BY_CODE.items():
            self.assertEqual(error.code, code)
            self.assertIsInstance(error("what"), dnc.DncError)
            self.assertEqual(str(error("what")), "what")


if __name__ == "__main__":
    unittest.main()
