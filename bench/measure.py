"""What the benchmarks share: rows of the table, runs of programs, data made once.

Times are medians of three runs. Nothing here runs anything by itself; run.py does.
"""

import dataclasses
import functools
import os
import shutil
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RUNS = 3
MIB = 1 << 20
FASHION_MNIST = "/usr/share/datasets/fashion-mnist"
# Debian's Python, for which the package list installs NumPy.
PYTHON = "/usr/bin/python3"


@dataclasses.dataclass
class Row:
    what: str
    measured: str
    reference: str = ""
    ratio: float = None
    target: str = ""
    ok: bool = None  # None: for information, or skipped.


class Skip(Exception):
    """Why a benchmark cannot run here."""


@dataclasses.dataclass
class Run:
    seconds: float
    processor_seconds: float  # Of all its threads.
    peak_bytes: int
    output: str


def run_once(command, **options):
    """Runs a command to its end: its times, peak resident memory, stdout."""
    with tempfile.TemporaryFile() as out:
        begin = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, **options)
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stderr.close()
        out.seek(0)
        output = out.read().decode()
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}: "
                           f"{errors.decode(errors='replace').strip()[-500:]}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10, output)


def median_run(command, before=lambda: None, **options):
    """Of RUNS runs: the one of median time, with the largest peak of all."""
    runs = []
    for _ in range(RUNS):
        before()
        runs.append(run_once(command, **options))
    median = sorted(runs, key=lambda run: run.seconds)[RUNS // 2]
    return dataclasses.replace(median, peak_bytes=max(run.peak_bytes for run in runs))


def at_most(what, measured, limit, show, reference="", ratio=None):
    """A row whose figure must not be above the limit."""
    return Row(what, show(measured), reference, measured / limit if ratio is None else ratio,
               f"at most {show(limit)}", measured <= limit)


def seconds_text(seconds):
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds:.2f} s"


def mib_text(count):
    return f"{count / MIB:.1f} MiB"


class Context:
    """What several benchmarks share: the programs, a folder, data made once."""

    def __init__(self, folder):
        self.folder = folder
        self.dnc = os.path.join(ROOT, "build", "bin", "dnc")
        self.trainer = os.path.join(ROOT, "build", "bin", "dnc-trainer")
        self.shared = os.environ.get("DNC_SHARED_DATA",
                                     os.path.join(ROOT, os.pardir, "shared", "data"))

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def place(self, path):
        """A path of the folder as a server of the folder names it."""
        return os.path.relpath(path, self.folder)

    def program(self, name):
        return os.path.join(ROOT, "build", "release", "bench", name)

    @functools.cached_property
    def fashion_mnist(self):
        """Folder with x.npy and y.npy of the training set, and what NumPy makes of it."""
        if not os.path.isdir(FASHION_MNIST):
            raise Skip("the Debian package dataset-fashion-mnist is not installed")
        folder = self.path("fashion_mnist")
        os.makedirs(folder)
        script = f"""
import gzip, numpy, time
read = lambda name: gzip.open({FASHION_MNIST!r} + "/" + name).read()
x = numpy.frombuffer(read("train-images-idx3-ubyte.gz"), numpy.uint8, offset=16)
x = x.reshape(-1, 28, 28)
y = numpy.frombuffer(read("train-labels-idx1-ubyte.gz"), numpy.uint8, offset=8)
numpy.save("x.npy", x)
numpy.save("y.npy", y)
begin = time.monotonic()
numpy.savez_compressed("both.npz", x=x, y=y)
print(time.monotonic() - begin)
"""
        self.savez_seconds = float(run_once([PYTHON, "-c", script], cwd=folder).output)
        return folder

    @functools.cached_property
    def photos(self):
        """Folder of class folders of JPEG."""
        photos = os.path.join(self.shared, "clothing", "train")
        if not os.path.isdir(photos):
            raise Skip(f"{os.path.relpath(photos, ROOT)} is not there")
        return photos

    @functools.cached_property
    def decoded_photos(self):
        """Folder with x.npy, the photos as 198x198x3, and y.npy, their classes."""
        folder = self.path("decoded_photos")
        os.makedirs(folder)
        script = f"""
import sys
sys.path.insert(0, {os.path.join(ROOT, "bench", "peers")!r})
import numpy, peers
found = peers.photos({self.photos!r})
x = numpy.lib.format.open_memmap("x.npy", "w+", numpy.uint8, (len(found), 198, 198, 3))
for i, (path, _) in enumerate(found):
    x[i] = peers.pixels(path)
numpy.save("y.npy", numpy.array([label for _, label in found], numpy.uint8))
"""
        run_once([PYTHON, "-c", script], cwd=folder)
        return folder

    @functools.cached_property
    def divided_fashion_mnist(self):
        """Folder of shards of the training set."""
        folder = self.path("fashion_mnist_shards")
        self.divide_fashion_mnist(folder)
        return folder

    def divide_fashion_mnist(self, folder):
        data = self.fashion_mnist
        return median_run([self.dnc, "divide", f"{data}/x.npy", "--labels", f"{data}/y.npy",
                           "--to", folder, "--name", "Fashion-MNIST"],
                          before=lambda: shutil.rmtree(folder, ignore_errors=True))


def folder_bytes(folder):
    return sum(entry.stat().st_size for entry in os.scandir(folder))
