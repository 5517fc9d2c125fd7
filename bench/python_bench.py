#!/usr/bin/env python3
"""Fashion-MNIST as NumPy batches, on one core: the package's stream, shuffled and verified,
beside plain NumPy over a memory map in the same run.

    PYTHONPATH=build/python /usr/bin/python3 bench/python_bench.py [--json]

Each figure is the median of several epochs; "first batch" is from the start of the process
to the first batch, imports counted.
"""

import argparse
import glob
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

DATA = "/usr/share/dataset-fashion-mnist"
BATCH = 256
EPOCHS = 7

FIRST_BATCH = """
import time
begin = time.perf_counter()
import dividenconquer as dnc
x, y = next(dnc.stream({shards!r}, batch_size=256))
print(time.perf_counter() - begin, len(x))
"""

FIRST_BATCH_NUMPY = """
import time
begin = time.perf_counter()
import numpy as np
x = np.load({x!r}, mmap_mode="r")
order = np.random.default_rng(0).permutation(len(x))
print(time.perf_counter() - begin, len(x[np.sort(order[:256])]))
"""


def find_data():
    found = glob.glob(DATA + "*/**/train-images-idx3-ubyte.gz", recursive=True)
    if not found:
        found = glob.glob("/usr/share/**/train-images-idx3-ubyte.gz", recursive=True)
    if not found:
        sys.exit("python_bench: no Fashion-MNIST; install Debian's dataset-fashion-mnist")
    return found[0], found[0].replace("images-idx3", "labels-idx1")


def rate(epoch, samples):
    """Median samples/s of epochs, after one that warms up."""
    epoch(0)
    rates = []
    for number in range(1, EPOCHS + 1):
        begin = time.perf_counter()
        seen = epoch(number)
        rates.append(seen / (time.perf_counter() - begin))
        assert seen == samples, (seen, samples)
    return statistics.median(rates)


def first_batch(program):
    seconds = []
    for _ in range(5):
        out = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True,
                             text=True).stdout.split()
        assert out[1] == "256"
        seconds.append(float(out[0]))
    return statistics.median(seconds)


def measure(folder):
    import numpy as np

    import dividenconquer as dnc

    images, labels = find_data()
    shards = os.path.join(folder, "shards")
    dnc.upload(images, shards, labels=labels, progress=False)
    with gzip.open(images) as file:
        x = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(labels) as file:
        y = np.frombuffer(file.read(), np.uint8, offset=8)
    paths = {name: os.path.join(folder, name + ".npy") for name in "xy"}
    np.save(paths["x"], x)
    np.save(paths["y"], y)
    mapped_x = np.load(paths["x"], mmap_mode="r")
    mapped_y = np.load(paths["y"], mmap_mode="r")

    def streamed(shuffle):
        def epoch(number):
            batches = dnc.stream(shards, batch_size=BATCH, seed=number, shuffle=shuffle)
            return sum(len(labels) for _, labels in batches)
        return epoch

    def mapped(shuffle):
        def epoch(number):
            rng = np.random.default_rng(number)
            order = rng.permutation(len(x)) if shuffle else None
            seen = 0
            for begin in range(0, len(x), BATCH):
                if shuffle:
                    index = order[begin:begin + BATCH]
                    batch = mapped_x[index], mapped_y[index]
                else:
                    batch = (np.array(mapped_x[begin:begin + BATCH]),
                             np.array(mapped_y[begin:begin + BATCH]))
                seen += len(batch[1])
            return seen
        return epoch

    batches = dnc.stream(shards, batch_size=BATCH)
    for _ in batches:
        pass
    return {
        "samples_per_second_shuffled": rate(streamed(True), len(x)),
        "samples_per_second_in_order": rate(streamed(False), len(x)),
        "numpy_mapped_shuffled": rate(mapped(True), len(x)),
        "numpy_mapped_in_order": rate(mapped(False), len(x)),
        "first_batch_seconds": first_batch(FIRST_BATCH.format(shards=shards)),
        "numpy_first_batch_seconds": first_batch(FIRST_BATCH_NUMPY.format(x=paths["x"])),
        "stored_bytes": dnc.inspect(shards).bytes,
        "raw_bytes": x.nbytes + y.nbytes,
        "memory_peak_bytes": batches.statistics.memory_peak_bytes,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="dnc-python-bench-") as folder:
        figures = measure(folder)
    if arguments.json:
        print(json.dumps(figures))
        return
    shuffled = figures["samples_per_second_shuffled"]
    print(f"Fashion-MNIST as NumPy batches of {BATCH}, one core, median of {EPOCHS} epochs")
    print(f"  stream, shuffled and verified   {shuffled:12,.0f} samples/s")
    print(f"  stream, in order                {figures['samples_per_second_in_order']:12,.0f}")
    print(f"  NumPy over a map, shuffled      {figures['numpy_mapped_shuffled']:12,.0f}"
          f"   ratio {shuffled / figures['numpy_mapped_shuffled']:.3f}")
    print(f"  NumPy over a map, in order      {figures['numpy_mapped_in_order']:12,.0f}")
    print(f"  first batch, import counted     {figures['first_batch_seconds']:12.3f} s"
          f"   (NumPy {figures['numpy_first_batch_seconds']:.3f} s)")
    print(f"  bytes stored / raw              {figures['stored_bytes'] / figures['raw_bytes']:12.3f}")
    print(f"  memory of the stream, peak      {figures['memory_peak_bytes'] / 2**20:12.1f} MiB")


if __name__ == "__main__":
    main()
