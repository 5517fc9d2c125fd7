"""How small divided data are, how fast they decode, and how fast dividing is."""

import dataclasses
import json
import os
import shutil
import statistics

from loaders import ONE_CORE, PEERS_PROGRAM, decoded_photos, divided, fashion_mnist, peer_python
from measure import MIB, PYTHON, RUNS, Row, Skip, folder_bytes, mib_text, run_once

CROPS = 73_257  # As many as SVHN has, of its shape.

# Tiles in a mixed order, so that no tile has its neighbour in the photo beside it.
CUT_CROPS = """
import numpy
x = numpy.load({source!r} + "/x.npy", mmap_mode="r")
y = numpy.load({source!r} + "/y.npy")
side = x.shape[1] // 32
tiles = numpy.random.default_rng(0).permutation(len(x) * side * side)[:{count}]
crops = numpy.lib.format.open_memmap("x.npy", "w+", numpy.uint8, ({count}, 32, 32, 3))
for i, tile in enumerate(tiles):
    row, column = divmod(tile % (side * side), side)
    crops[i] = x[tile // (side * side), row * 32:row * 32 + 32, column * 32:column * 32 + 32]
numpy.save("y.npy", y[tiles // (side * side)])
"""

SAVEZ = """
import numpy, sys
numpy.savez_compressed("x.npz", x=numpy.load("x.npy"))
"""

# What a table of measurements is like: columns of few digits around means of their own.
MAKE_TABLE = """
import numpy
random = numpy.random.default_rng(0)
table = random.normal(random.normal(size=100), 1, (200_000, 100))
numpy.save("x.npy", table.round(2).astype(numpy.float32))
"""


def crops(context):
    """The photos cut into tiles, as Data."""
    photos = decoded_photos(context)
    folder = context.path("crops")
    if not os.path.isdir(folder):
        os.makedirs(folder)
        run_once([PYTHON, "-c", CUT_CROPS.format(source=photos.source, count=CROPS)], cwd=folder)
    return dataclasses.replace(photos, name=f"{CROPS:,} crops of 32x32x3", source=folder,
                               divide=[f"{folder}/x.npy"], samples=CROPS)


def decoding_speed(context, folder, runs):
    """Raw bytes a second of processor time, of the decoder alone."""
    figures = [json.loads(run_once([context.program("stream_bench"), folder, "0"]).output)
               for _ in range(runs)]
    return statistics.median(run["raw_bytes"] / run["decode_seconds"] for run in figures)


def size_rows(context, data):
    data = dataclasses.replace(data, name=f"{data.name}, x alone", divide=[f"{data.source}/x.npy"])
    run_once([PYTHON, "-c", SAVEZ], cwd=data.source)
    raw = os.path.getsize(os.path.join(data.source, "x.npy"))
    savez = os.path.getsize(os.path.join(data.source, "x.npz"))
    rows = [Row(f"{data.name}: np.savez_compressed", f"{savez / raw:.3f} of the npy")]
    for compression, target in (("balanced", 0.72), ("smallest", 0.50)):
        folder = divided(context, data, compression)
        stored = folder_bytes(folder)
        speed = decoding_speed(context, folder, 1 if compression == "smallest" else RUNS)
        rows.append(Row(f"{data.name}: {compression}", f"{stored / raw:.3f} of the npy",
                        "np.savez_compressed", stored / savez, f"at most {target:.2f}",
                        stored <= target * savez))
        required = compression == "balanced"
        rows.append(Row(f"{data.name}: {compression}, decoding alone, one core",
                        f"{speed / 1e6:,.0f} MB/s", "", None, "at least 250 MB/s" if required else "",
                        speed >= 250e6 if required else None))
    return rows


def sizes(context):
    rows = []
    for make in (decoded_photos, crops):
        try:
            rows += size_rows(context, make(context))
        except Skip as reason:
            rows.append(Row(f"sizes: {make.__name__}", "skipped", str(reason)))
    return rows


def table(context):
    folder = context.path("table")
    os.makedirs(folder)
    run_once([PYTHON, "-c", MAKE_TABLE], cwd=folder)
    return folder


def divide_against_zstd(context):
    """One core for both, on the same bytes; in turns."""
    sources = [("Fashion-MNIST", lambda: fashion_mnist(context).source),
               ("200,000 x 100 float32", lambda: table(context)),
               ("decoded photos", lambda: decoded_photos(context).source)]
    rows = []
    for name, make in sources:
        try:
            source = os.path.join(make(), "x.npy")
        except Skip as reason:
            rows.append(Row(f"dividing {name}", "skipped", str(reason)))
            continue
        raw = os.path.getsize(source)
        runs = {"zstd": [], "balanced": [], "fast": []}
        folder = context.path("divide-speed")
        for _ in range(RUNS):
            runs["zstd"].append(run_once([*ONE_CORE, "zstd", "-3", "-T1", "-q", "-f", source, "-o",
                                          context.path("zstd-3")]))
            for compression in ("balanced", "fast"):
                shutil.rmtree(folder, ignore_errors=True)
                runs[compression].append(run_once(
                    [*ONE_CORE, context.dnc, "divide", source, "--to", folder, "--compression",
                     compression, "--json"]))
        seconds = {key: statistics.median(run.seconds for run in found)
                   for key, found in runs.items()}
        for compression in ("balanced", "fast"):
            ratio = seconds["zstd"] / seconds[compression]
            required = name != "decoded photos"  # Pictures: for information.
            peak = max(run.peak_bytes for run in runs[compression])
            rows.append(Row(f"dividing {name}, {compression}",
                            f"{raw / seconds[compression] / 1e6:,.0f} MB/s",
                            f"zstd -3 -T1 {raw / seconds['zstd'] / 1e6:,.0f} MB/s", ratio,
                            "at least 1" if required else "", ratio >= 1 if required else None))
            rows.append(Row(f"dividing {name}, {compression}: resident", mib_text(peak), "",
                            peak / (64 * MIB), "at most 64.0 MiB", peak <= 64 * MIB))
    rows += mosaicml_writing(context)
    return rows


def mosaicml_writing(context):
    """How long MosaicML's writer takes for Fashion-MNIST, imports and all."""
    try:
        data = fashion_mnist(context)
        folder = context.path("mosaicml-writing")
        run = run_once([*ONE_CORE, peer_python(), PEERS_PROGRAM, "prepare", "mosaicml", data.kind,
                        "--from", data.source, "--to", folder])
    except Skip as reason:
        return [Row("writing Fashion-MNIST by MosaicML", "skipped", str(reason))]
    return [Row("writing Fashion-MNIST by MosaicML, stored",
                f"{data.samples / run.seconds:,.0f} samples/s")]
