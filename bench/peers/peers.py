#!/usr/bin/env python3
"""One loader over one dataset: how fast, in how much memory, and how soon the first batch.

    peers.py prepare LOADER KIND --from SOURCE --to FOLDER
    peers.py run LOADER KIND --from PLACE [--seconds 3] [--batch 256]

LOADER: mosaicml, webdataset, huggingface, torch, or dividenconquer (PYTHONPATH). The peers
need the environment that setup.sh makes. KIND: arrays (SOURCE has x.npy and y.npy) or jpeg
(SOURCE is a folder of class folders; each photo is decoded and resized to 198x198).

`prepare` writes the data in the loader's own form, without compression, which is the fastest
to read. `run` reads it shuffled, epoch after epoch, and prints one line of JSON:
samples_per_second after the first batch; first_batch_seconds since the process began, imports
counted; peak_bytes resident. The peers hand out samples one by one, which is their fastest
way; torch and ours hand out batches. PLACE may be a URL where the loader can read one.
"""

import argparse
import json
import os
import resource
import signal
import sys
import time

SIZE = 198
SHARD_BYTES = 8 << 20
SHARD_FILE_BYTES_MEAN = 25_000  # Of a photo, for the number of samples of a shard.


def seconds_since_start():
    """Since this process began, by the kernel's account (10 ms a tick)."""
    with open("/proc/self/stat") as file:
        ticks = int(file.read().rsplit(")", 1)[1].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def photos(folder):
    """Paths and classes of a folder of class folders, in a mixed but fixed order."""
    import random

    found = []
    for number, name in enumerate(sorted(os.listdir(folder))):
        inside = os.path.join(folder, name)
        found += [(os.path.join(inside, file), number) for file in sorted(os.listdir(inside))]
    random.Random(0).shuffle(found)
    return found


def pixels(source):
    """What the product's `--resize 198x198` gives: RGB of that size."""
    import io

    import numpy as np
    from PIL import Image

    image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
    return np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.BILINEAR))


def samples(kind, source):
    """Pairs of an array and a class, or of the bytes of a file and a class."""
    if kind == "arrays":
        import numpy as np

        x = np.load(os.path.join(source, "x.npy"), mmap_mode="r")
        y = np.load(os.path.join(source, "y.npy"), mmap_mode="r")
        for row, label in zip(x, y):
            yield np.array(row), int(label)
    else:
        for path, label in photos(source):
            with open(path, "rb") as file:
                yield file.read(), label


def sample_bytes(kind, source):
    if kind == "jpeg":
        return SHARD_FILE_BYTES_MEAN
    import numpy as np

    x = np.load(os.path.join(source, "x.npy"), mmap_mode="r")
    return x.nbytes // len(x)


# Each loader: a function that writes its form, and a generator of sizes of batches, for ever.


def prepare_mosaicml(kind, source, folder):
    import streaming

    x = "ndarray" if kind == "arrays" else "bytes"
    if kind == "arrays":
        first, _ = next(samples(kind, source))
        x = f"ndarray:{first.dtype}:{','.join(map(str, first.shape))}"
    with streaming.MDSWriter(out=folder, columns={"x": x, "y": "int64"},
                             size_limit=SHARD_BYTES) as writer:
        for image, label in samples(kind, source):
            writer.write({"x": image, "y": label})


def run_mosaicml(kind, place, arguments):
    import streaming

    streaming.base.util.clean_stale_shared_memory()
    where = {"local": place}
    if "://" in place:
        where = {"remote": place, "local": arguments.cache}  # s3://, of $S3_ENDPOINT_URL.
        if arguments.cache_bytes:
            where["cache_limit"] = arguments.cache_bytes
    dataset = streaming.StreamingDataset(**where, shuffle=True, batch_size=arguments.batch)
    while True:
        for sample in dataset:
            if kind == "jpeg":
                pixels(sample["x"])
            yield 1


def prepare_webdataset(kind, source, folder):
    import webdataset

    count = max(1, SHARD_BYTES // sample_bytes(kind, source))
    name = "x.npy" if kind == "arrays" else "jpg"
    with webdataset.ShardWriter(os.path.join(folder, "%05d.tar"), maxcount=count,
                                verbose=0) as writer:
        for number, (image, label) in enumerate(samples(kind, source)):
            writer.write({"__key__": f"{number:08d}", name: image, "cls": label})
    write_names(folder, ".tar")


def run_webdataset(kind, place, arguments):
    import webdataset

    urls = [f"{place}/{name}" for name in read_names(place)]
    dataset = webdataset.WebDataset(urls, shardshuffle=len(urls)).shuffle(1000)
    if kind == "arrays":
        dataset = dataset.decode().to_tuple("x.npy", "cls")
    else:
        dataset = dataset.to_tuple("jpg", "cls")
    while True:
        for x, _ in dataset:
            if kind == "jpeg":
                pixels(x)
            yield 1


def prepare_huggingface(kind, source, folder):
    import pyarrow
    import pyarrow.parquet

    count = max(1, SHARD_BYTES // sample_bytes(kind, source))
    rows = []

    def write(number):
        table = pyarrow.table({"x": pyarrow.array([row for row, _ in rows], pyarrow.binary()),
                               "y": pyarrow.array([label for _, label in rows])})
        pyarrow.parquet.write_table(table, os.path.join(folder, f"{number:05d}.parquet"),
                                    compression="none", use_dictionary=False)
        rows.clear()

    number = 0
    for image, label in samples(kind, source):
        rows.append((image if kind == "jpeg" else image.tobytes(), label))
        if len(rows) == count:
            write(number)
            number += 1
    if rows:
        write(number)
    write_names(folder, ".parquet")


def run_huggingface(kind, place, arguments):
    import datasets
    import numpy as np

    files = [f"{place}/{name}" for name in read_names(place)]
    dataset = datasets.load_dataset("parquet", data_files=files, streaming=True, split="train")
    dataset = dataset.shuffle(seed=0, buffer_size=1000)
    while True:
        for sample in dataset:
            if kind == "jpeg":
                pixels(sample["x"])
            else:
                np.frombuffer(sample["x"], np.uint8)
            yield 1


def prepare_torch(kind, source, folder):
    with open(os.path.join(folder, "source"), "w") as file:
        file.write(source)


def run_torch(kind, place, arguments):
    import numpy as np
    import torch.utils.data

    with open(os.path.join(place, "source")) as file:
        source = file.read()

    class Arrays(torch.utils.data.Dataset):
        x = y = None

        def __len__(self):
            return len(self.x)

        def __getitem__(self, index):
            return self.x[index], self.y[index]

    class Photos(torch.utils.data.Dataset):
        found = ()

        def __len__(self):
            return len(self.found)

        def __getitem__(self, index):
            path, label = self.found[index]
            return pixels(path), label

    if kind == "arrays":
        dataset = Arrays()
        dataset.x = np.load(os.path.join(source, "x.npy"), mmap_mode="c")
        dataset.y = np.load(os.path.join(source, "y.npy"))
    else:
        dataset = Photos()
        dataset.found = photos(source)
    loader = torch.utils.data.DataLoader(dataset, batch_size=arguments.batch, shuffle=True)
    while True:
        for x, _ in loader:
            yield len(x)


def run_dividenconquer(kind, place, arguments):
    import dividenconquer as dnc

    options = {"resize": (SIZE, SIZE)} if kind == "jpeg" else {}
    for seed in range(1 << 30):  # A stream an epoch: one of many would keep decoded samples.
        for x, _ in dnc.stream(place, batch_size=arguments.batch, seed=seed, disk=arguments.disk,
                               **options):
            yield len(x)


def write_names(folder, ending):
    """A list of the files, for those who read over HTTP, where no folder can be listed."""
    names = sorted(name for name in os.listdir(folder) if name.endswith(ending))
    with open(os.path.join(folder, "names.json"), "w") as file:
        json.dump(names, file)


def read_names(place):
    if "://" in place:
        import urllib.request

        with urllib.request.urlopen(f"{place}/names.json") as response:
            return json.load(response)
    with open(os.path.join(place, "names.json")) as file:
        return json.load(file)


class Figures:
    """Counts samples as they come; can be read at any time, also by an alarm."""

    def __init__(self):
        self.first_batch_seconds = None
        self.samples = 0
        self.begin = self.end = 0.0

    def add(self, count):
        now = time.monotonic()
        if self.first_batch_seconds is None:
            self.first_batch_seconds = seconds_since_start()
            self.begin = now
        else:
            self.samples += count
        self.end = now

    def print(self, stalled):
        seconds = (time.monotonic() if stalled else self.end) - self.begin
        rate = self.samples / seconds if self.samples else 0.0
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        print(json.dumps({"samples_per_second": rate, "samples": self.samples, "stalled": stalled,
                          "first_batch_seconds": self.first_batch_seconds, "peak_bytes": peak}),
              flush=True)


def run(arguments):
    figures = Figures()

    def stall(*_):
        figures.print(stalled=True)
        os._exit(0)  # Its threads would not end.

    signal.signal(signal.SIGALRM, stall)
    signal.alarm(int(arguments.seconds) + arguments.patience)
    batch = 0
    for count in globals()[f"run_{arguments.loader}"](arguments.kind, arguments.source, arguments):
        batch += count
        if batch < arguments.batch and figures.first_batch_seconds is None:
            continue  # One sample is no batch.
        figures.add(count)
        if figures.end - figures.begin > arguments.seconds or batch >= arguments.samples:
            break
        if arguments.rate:
            time.sleep(max(0.0, figures.begin + figures.samples / arguments.rate - figures.end))
    signal.alarm(0)
    figures.print(stalled=False)
    sys.stdout.flush()
    os._exit(0)  # Without waiting for threads that fetch ahead.


def main():
    loaders = ["mosaicml", "webdataset", "huggingface", "torch", "dividenconquer"]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=["prepare", "run"])
    parser.add_argument("loader", choices=loaders)
    parser.add_argument("kind", choices=["arrays", "jpeg"])
    parser.add_argument("--from", dest="source", required=True, metavar="PLACE")
    parser.add_argument("--to", metavar="FOLDER")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--samples", type=float, default=float("inf"), help="stop after so many")
    parser.add_argument("--rate", type=float, help="take so many a second, as training would")
    parser.add_argument("--patience", type=int, default=60, help="seconds until it is stalled")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--cache", metavar="FOLDER", help="of mosaicml, where it reads a URL")
    parser.add_argument("--cache-bytes", type=int, default=0, help="limit of that folder")
    parser.add_argument("--disk", default="256MiB", help="disk budget of dividenconquer")
    arguments = parser.parse_args()
    if arguments.command == "prepare":
        os.makedirs(arguments.to, exist_ok=True)
        globals()[f"prepare_{arguments.loader}"](arguments.kind, arguments.source, arguments.to)
    else:
        run(arguments)


if __name__ == "__main__":
    main()
