"""What dnc export writes, read by the programs that it is for, and the other way."""

import json
import os
import subprocess
import unittest

import numpy

from harness import Case, images, shared_data

# Made by bench/peers/setup.sh, with MosaicML's and WebDataset's own readers in it.
PEERS = os.path.join(os.environ.get("DNC_PEERS") or os.path.expanduser("~/.cache/dnc-peers"),
                     "bin", "python")


def run_peer(case, script, *arguments):
    """Runs a script in the peers' environment; its last line is JSON."""
    if not os.access(PEERS, os.X_OK):
        case.skipTest("no environment with the peers' readers; run bench/peers/setup.sh")
    done = subprocess.run([PEERS, "-c", script, *arguments], capture_output=True, text=True,
                          timeout=120)
    case.assertEqual(done.returncode, 0, done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


class Exports(Case):
    def divide_rows(self):
        self.x, self.y = images(300)
        numpy.save(self.path("x.npy"), self.x)
        numpy.save(self.path("y.npy"), self.y)
        self.run_dnc("divide", self.path("x.npy"), "--labels", self.path("y.npy"), "--to",
                     self.path("shards"))

    def test_numpy_reads_npy_and_npz(self):
        self.divide_rows()
        self.run_dnc("export", self.path("shards"), "--to", "npy", self.path("npy"))
        self.run_dnc("export", self.path("shards"), "--to", "npz", self.path("a.npz"))
        both = numpy.load(self.path("a.npz"))
        for name, expected in (("x", self.x), ("y", self.y)):
            numpy.testing.assert_array_equal(numpy.load(self.path("npy", name + ".npy")), expected)
            numpy.testing.assert_array_equal(both[name], expected)

    def test_a_csv_comes_back_as_the_table_it_was(self):
        self.write("t.csv", "a,b,kind\n1.5,2,cat\n-3,1e9,\"dog, big\"\n0.1,7,cat\n")
        self.run_dnc("divide", self.path("t.csv"), "--label-column", "kind", "--to",
                     self.path("one"))
        self.run_dnc("export", self.path("one"), "--to", "csv", self.path("u.csv"))
        self.run_dnc("divide", self.path("u.csv"), "--label-column", "y", "--to", self.path("two"))
        for name in ("one", "two"):
            self.run_dnc("export", self.path(name), "--to", "npz", self.path(name + ".npz"))
        one, two = (numpy.load(self.path(name + ".npz")) for name in ("one", "two"))
        for name in ("x", "y"):
            numpy.testing.assert_array_equal(one[name], two[name])

    def test_webdataset_reads_its_tars(self):
        self.divide_rows()
        self.run_dnc("export", self.path("shards"), "--to", "webdataset", self.path("tars"),
                     "--shard-bytes", "100KiB")
        found = run_peer(self, """
import glob, json, sys, webdataset
tars = sorted(glob.glob(sys.argv[1] + "/*.tar"))
rows = [(r["x.npy"].tolist(), int(r["cls"]))
        for r in webdataset.WebDataset(tars, shardshuffle=False).decode()]
print(json.dumps({"tars": len(tars), "rows": rows}))
""", self.path("tars"))
        self.assertGreater(found["tars"], 1)
        numpy.testing.assert_array_equal([row[0] for row in found["rows"]], self.x)
        numpy.testing.assert_array_equal([row[1] for row in found["rows"]], self.y)

    def test_mosaicml_reads_its_shards(self):
        self.divide_rows()
        self.run_dnc("export", self.path("shards"), "--to", "mds", self.path("mds"),
                     "--shard-bytes", "10KiB")
        found = run_peer(self, """
import json, sys
from streaming import LocalDataset
data = LocalDataset(sys.argv[1])
print(json.dumps([(data[i]["x"].tolist(), int(data[i]["y"])) for i in range(len(data))]))
""", self.path("mds"))
        numpy.testing.assert_array_equal([row[0] for row in found], self.x)
        numpy.testing.assert_array_equal([row[1] for row in found], self.y)

    def test_photos_stay_the_files_they_are(self):
        photos = shared_data("clothing", "validation")
        if photos is None:
            self.skipTest("no photos; set DNC_SHARED_DATA")
        self.run_dnc("divide", photos, "--to", self.path("shards"))
        self.run_dnc("export", self.path("shards"), "--to", "mds", self.path("mds"))
        found = run_peer(self, """
import hashlib, io, json, sys
from streaming.base.format.mds.encodings import mds_decode
from streaming import LocalDataset
data = LocalDataset(sys.argv[1])
sizes = {data[i]["x"].size for i in range(20)}
shard = data.shards[0]
print(json.dumps({"samples": len(data), "sizes": len(sizes), "encodings": shard.column_encodings}))
""", self.path("mds"))
        self.assertEqual(found["samples"], 341)
        self.assertIn("jpeg", found["encodings"])

    def test_what_the_peers_wrote_is_divided(self):
        run_peer(self, """
import json, sys
import numpy as np
import webdataset
from streaming import MDSWriter
x = np.arange(300 * 6, dtype=np.float32).reshape(300, 2, 3)
with webdataset.ShardWriter(sys.argv[1] + "-%03d.tar", maxcount=100, verbose=0) as writer:
    for i in range(300):
        writer.write({"__key__": "%06d" % i, "x.npy": x[i], "cls": i % 7, "json": {"i": i}})
columns = {"x": "ndarray", "y": "int", "json": "json"}
with MDSWriter(out=sys.argv[1] + "-mds", columns=columns, compression="zstd:3",
               hashes=["sha1", "xxh64"], size_limit=4096) as writer:
    for i in range(300):
        writer.write({"x": x[i], "y": i % 7, "json": {"i": i}})
print(json.dumps(True))
""", self.path("peer"))
        expected = numpy.arange(300 * 6, dtype=numpy.float32).reshape(300, 2, 3)
        for name, location in (("tar", "peer-{000..002}.tar"), ("mds", "peer-mds")):
            self.run_dnc("divide", self.path(location), "--to", self.path(name))
            self.run_dnc("verify", self.path(name))
            self.run_dnc("export", self.path(name), "--to", "csv", self.path(name + ".csv"))
            with open(self.path(name + ".csv")) as file:
                rows = [line.split(",") for line in file.read().splitlines()]
            self.assertEqual(rows[0], [f"x_{i}" for i in range(6)] + ["json", "y"])
            numpy.testing.assert_array_equal(
                numpy.array([row[:6] for row in rows[1:]], numpy.float32),
                expected.reshape(300, 6))
            self.assertEqual([int(row[-1]) for row in rows[1:]], [i % 7 for i in range(300)])

    def test_says_what_cannot_be(self):
        self.divide_rows()
        self.refuse(3, "export", self.path("shards"), "--to", "npz", self.path("a.npz"), "--split",
                    "test", says=["test", "train"])
        self.run_dnc("export", self.path("shards"), "--to", "hdf5", self.path("a.h5"), expect=2)


if __name__ == "__main__":
    unittest.main()
