"""dnc divide of what people have: HDF5, MATLAB, SQLite and standard input."""

import gzip
import json
import os
import sqlite3
import subprocess

import numpy

from harness import Case, die_with_parent


def svhn(count=23):
    """Pictures and labels in SVHN's own layout: 32 x 32 x 3 x N, and N x 1 from 1 to 10."""
    random = numpy.random.default_rng(5)
    x = random.integers(0, 256, (32, 32, 3, count), numpy.uint8)
    return x, random.integers(1, 11, (count, 1)).astype(numpy.uint8)


class Source(Case):
    def inspect(self, folder="out"):
        return json.loads(self.run_dnc("inspect", self.path(folder), "--json")[0])

    def columns(self, folder="out"):
        return [(c["name"], c["dtype"], c["shape"]) for c in self.inspect(folder)["columns"]]

    def shards(self, folder="out"):
        return [s["cid"] for s in self.inspect(folder)["shards"]]

    def divide(self, source, *arguments, to="out"):
        out, err = self.run_dnc("divide", source, "--to", self.path(to), *arguments)
        self.run_dnc("verify", self.path(to))
        return out + err

    def assert_same_as_npy(self, x, y):
        """What lies in out/ is what dividing the plain arrays gives, byte for byte."""
        numpy.save(self.path("plain_x.npy"), numpy.ascontiguousarray(x))
        numpy.save(self.path("plain_y.npy"), numpy.ascontiguousarray(y))
        self.divide(self.path("plain_x.npy"), "--labels", self.path("plain_y.npy"), to="plain")
        self.assertEqual(self.shards(), self.shards("plain"))


class Hdf5(Source):
    def test_datasets_by_name_and_by_path(self):
        import h5py
        x = numpy.random.default_rng(1).integers(0, 99, (300, 4, 5)).astype(">i4")
        y = numpy.arange(300, dtype=numpy.uint8) % 7
        with h5py.File(self.path("d.h5"), "w") as file:
            file.create_dataset("train/x", data=x, chunks=(64, 4, 2), compression="gzip",
                                shuffle=True)
            file.create_dataset("train/y", data=y)
            file.create_dataset("names", data=["a", "b"], dtype=h5py.string_dtype())
        message = self.refuse(2, "divide", self.path("d.h5"), "--to", self.path("out"),
                              says=["train/x int32 (300, 4, 5)", "names", "--variable"])
        self.assertIn("not arrays of numbers", message)
        self.refuse(2, "divide", self.path("d.h5") + ":/train/z", "--to", self.path("out"),
                    says=["train/z", "train/x"])
        self.divide(self.path("d.h5") + ":/train/x", "--labels", self.path("d.h5") + ":/train/y")
        self.assert_same_as_npy(x.astype("<i4"), y)

    def test_truncated_file_is_named(self):
        import h5py
        with h5py.File(self.path("d.h5"), "w") as file:
            file["x"] = numpy.zeros((1000, 10))
        os.truncate(self.path("d.h5"), os.path.getsize(self.path("d.h5")) - 1)
        self.refuse(5, "divide", self.path("d.h5"), "--to", self.path("out"),
                    says=["d.h5", "truncated"])
        self.assertFalse(os.path.exists(self.path("out")))


class Matlab(Source):
    def test_format_5_in_the_layout_of_svhn(self):
        try:
            import scipy.io
        except ImportError:
            self.skipTest("scipy is not installed")
        x, y = svhn()
        for compressed in (False, True):
            scipy.io.savemat(self.path("svhn.mat"), {"X": x, "y": y}, do_compression=compressed)
            said = self.divide(self.path("svhn.mat"), to=f"out{compressed}")
            self.assertIn("X uint8 (23, 32, 32, 3), y uint8 (23,)", said)
        os.rename(self.path("outTrue"), self.path("out"))
        self.assertEqual(self.shards(), self.shards("outFalse"))
        self.assert_same_as_npy(x.transpose(3, 0, 1, 2), y[:, 0])

    def test_format_7_3_in_the_layout_of_svhn(self):
        import h5py
        x, y = svhn()
        with h5py.File(self.path("svhn.mat"), "w", userblock_size=512) as file:
            # MATLAB's axes lie in HDF5 in reverse.
            file.create_dataset("X", data=x.transpose(), compression="gzip")
            file["X"].attrs["MATLAB_class"] = numpy.bytes_("uint8")
            file.create_dataset("y", data=y.transpose())
            file["y"].attrs["MATLAB_class"] = numpy.bytes_("uint8")
        with open(self.path("svhn.mat"), "r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: a day"
                       .ljust(124) + b"\0\2IM")
        said = self.divide(self.path("svhn.mat"))
        self.assertIn("mat X uint8 (23, 32, 32, 3), y uint8 (23,)", said)
        self.assert_same_as_npy(x.transpose(3, 0, 1, 2), y[:, 0])


class Sqlite(Source):
    def test_a_query_gives_what_the_same_rows_as_csv_give(self):
        random = numpy.random.default_rng(3)
        rows = [(i, float(random.normal()), int(random.integers(0, 3))) for i in range(500)]
        database = sqlite3.connect(self.path("a.db"))
        database.execute("CREATE TABLE t(id INTEGER, value REAL, kind INTEGER)")
        database.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
        database.commit()
        database.close()
        with open(self.path("t.csv"), "w") as file:
            file.write("id,value,kind\n")
            file.writelines(f"{i},{value!r},{kind}\n" for i, value, kind in rows)
        self.divide(self.path("t.csv"), "--label-column", "kind", to="csv")
        query = "SELECT * FROM t ORDER BY id"
        for name, source, extra in (("file", self.path("a.db"), ["--query", query]),
                                    ("table", self.path("a.db"), ["--table", "t"]),
                                    ("url", f"sqlite:///{self.path('a.db')}?query={query}", [])):
            self.divide(source, "--label-column", "kind", *extra, to=name)
            self.assertEqual(self.shards(name), self.shards("csv"))
        self.refuse(2, "divide", self.path("a.db"), "--query", "DELETE FROM t", "--to",
                    self.path("out"), says=["a.db"])


class StandardInput(Source):
    def pipe(self, path):
        """`path` through a real pipe, which cannot be read at any place."""
        process = subprocess.Popen(["cat", path], stdout=subprocess.PIPE,
                                   preexec_fn=die_with_parent)
        self.addCleanup(process.wait)
        self.addCleanup(process.stdout.close)
        return process.stdout

    def divide_pipe(self, path, *arguments, to="out"):
        self.run_dnc("divide", "-", "--to", self.path(to), *arguments, stdin=self.pipe(path))
        self.run_dnc("verify", self.path(to))

    def test_csv_and_gzip(self):
        text = "a,b,kind\n" + "".join(f"{i},{i / 3!r},{'xy'[i % 2]}\n" for i in range(30_000))
        path = self.write("t.csv", text)
        with gzip.open(self.path("t.csv.gz"), "wt") as file:
            file.write(text)
        self.divide(path, "--label-column", "kind", to="file")
        self.divide_pipe(path, "--label-column", "kind")
        self.divide_pipe(self.path("t.csv.gz"), "--label-column", "kind", to="gz")
        self.assertEqual(self.shards(), self.shards("file"))
        self.assertEqual(self.shards("gz"), self.shards("file"))

    def test_npy_with_labels_from_a_file(self):
        x, y = self.save_images(500)
        self.divide(x, "--labels", y, to="file")
        self.divide_pipe(x, "--labels", y)
        self.assertEqual(self.shards(), self.shards("file"))

    def test_what_must_be_read_at_any_place_is_refused(self):
        numpy.savez(self.path("a.npz"), x=numpy.zeros((3, 2)))
        self.refuse(6, "divide", "-", "--to", self.path("out"), stdin=self.pipe(
            self.path("a.npz")), says=["standard input", "npz", "save it to a file"])
        sqlite3.connect(self.path("a.db")).executescript("CREATE TABLE t(a)").connection.close()
        self.refuse(6, "divide", "-", "--to", self.path("out"), stdin=self.pipe(
            self.path("a.db")), says=["standard input", "sqlite"])
        self.assertFalse(os.path.exists(self.path("out")))

    def test_an_empty_or_cut_pipe_leaves_nothing(self):
        self.refuse(2, "divide", "-", "--to", self.path("out"), stdin=subprocess.DEVNULL,
                    says=["standard input", "empty"])
        x, _ = self.save_images(500)
        os.truncate(x, os.path.getsize(x) - 100)
        self.refuse(5, "divide", "-", "--to", self.path("out"), stdin=self.pipe(x),
                    says=["standard input", "truncated"])
        self.assertFalse(os.path.exists(self.path("out")))
