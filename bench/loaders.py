"""The stream beside the loaders that people use: over the same samples, in the same run.

Each is pinned to one core, shuffles, and runs in turn with the others, since the speed of a
machine drifts; figures are medians of three. The peers come from the environment that
bench/peers/setup.sh makes; without it they are skipped, and only our own rows are shown.
"""

import dataclasses
import json
import os
import statistics

from measure import MIB, PYTHON, ROOT, RUNS, Row, Skip, run_once

PEERS_PROGRAM = os.path.join(ROOT, "bench", "peers", "peers.py")
PEERS = {
    "mosaicml": "MosaicML Streaming",
    "webdataset": "WebDataset",
    "huggingface": "Hugging Face datasets, streaming",
    "torch": "torch DataLoader",
}
ONE_CORE = ["taskset", "-c", "1"]
SECONDS = 2  # Of each run, after the first batch.


@dataclasses.dataclass
class Data:
    """A dataset in the form that the peers' versions are made of."""

    name: str
    kind: str  # Of peers.py.
    source: str  # Folder: of x.npy and y.npy, or of class folders.
    batch: int
    divide: list  # Arguments of dnc divide.
    compressions: tuple
    samples: int
    targets: dict  # By (compression, way): samples/s.


def fashion_mnist(context):
    folder = context.fashion_mnist
    return Data("Fashion-MNIST", "arrays", folder, 256,
                [f"{folder}/x.npy", "--labels", f"{folder}/y.npy"], ("balanced", "fast"),
                60_000, {("balanced", "C++"): 400_000, ("balanced", "Python"): 250_000})


def decoded_photos(context):
    folder = context.decoded_photos
    return Data("photos 198x198x3, decoded", "arrays", folder, 32,
                [f"{folder}/x.npy", "--labels", f"{folder}/y.npy"],
                ("balanced", "fast", "none"), 3068,
                {("balanced", "C++"): 2000, ("fast", "C++"): 15_000, ("none", "C++"): 15_000})


def encoded_photos(context):
    return Data("photos, JPEG decoded to 198x198", "jpeg", context.photos, 32,
                [context.photos], ("balanced",), 3068,
                {("balanced", "command"): 1200, ("balanced", "Python"): 1200})


def divided(context, data, compression):
    """Folder of its shards, made once in a run of the benchmarks."""
    folder = context.path("divided", data.name.replace(" ", "_").replace(",", ""), compression)
    if not os.path.isdir(folder):
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        run_once([context.dnc, "divide", *data.divide, "--to", folder, "--compression",
                  compression, "--json"])
    return folder


def peer_python():
    """The interpreter of the peers' environment. Raises Skip, with what to do."""
    venv = os.environ.get("DNC_PEERS", os.path.expanduser("~/.cache/dnc-peers"))
    python = os.path.join(venv, "bin", "python")
    if not os.path.exists(python):
        raise Skip(f"{venv} is not there: run bench/peers/setup.sh where the machine reaches "
                   "the Python registry")
    return python


def prepared(context, data, loader):
    """Folder of the data in the peer's own form, made once in a run of the benchmarks."""
    folder = context.path("peers", data.name.replace(" ", "_").replace(",", ""), loader)
    if not os.path.isdir(folder):
        run_once([peer_python(), PEERS_PROGRAM, "prepare", loader, data.kind, "--from",
                  data.source, "--to", folder])
    return folder


def json_of(run):
    """The object that a program printed, after whatever its libraries print first."""
    return json.loads(run.output[run.output.index("{"):])


def run_peer(python, loader, data, place, *more, seconds=SECONDS, prefix=(), **options):
    run = run_once([*prefix, *ONE_CORE, python, PEERS_PROGRAM, "run", loader, data.kind, "--from", place,
                    "--seconds", str(seconds), "--batch", str(data.batch), *more], **options)
    return json_of(run)


def run_package(data, place, *more, seconds=SECONDS, prefix=()):
    """The Python package, as a peer of its peers."""
    package = os.path.join(ROOT, "build", "python")
    if not os.path.isdir(os.path.join(package, "dividenconquer")):
        raise Skip("build/python is not there: run `make python`")
    run = run_once([*prefix, *ONE_CORE, PYTHON, PEERS_PROGRAM, "run", "dividenconquer", data.kind,
                    "--from", place, "--seconds", str(seconds), "--batch", str(data.batch), *more],
                   env=dict(os.environ, PYTHONPATH=package))
    return json_of(run)


def run_command(context, data, place, *more, prefix=()):
    """An epoch of `dnc stream`; and, by a process that stops there, its first batch."""
    command = [*prefix, *ONE_CORE, context.dnc, "stream", place, "--benchmark", "--json",
               "--batch-size", str(data.batch), *more]
    if data.kind == "jpeg":
        command += ["--resize", "198x198"]
    report = json_of(run_once(command))
    first = run_once([*command, "--samples", str(data.batch)])
    return {"samples_per_second": report["samples_per_second"],
            "first_batch_seconds": first.seconds, "report": report,
            "peak_bytes": report["memory"]["resident_peak_bytes"]}


def run_library(context, place):
    """C++, by processor time, against decoding alone."""
    figures = json_of(run_once([context.program("stream_bench"), place]))
    return {"samples_per_second": figures["samples_per_second"], "first_batch_seconds": None,
            "peak_bytes": None, "ratio": figures["ratio"]}


def medians(runs):
    """Of the runs of one loader: medians of its figures, the largest of its peaks."""
    found = dict(runs[0])
    for name in ("samples_per_second", "first_batch_seconds", "ratio"):
        if found.get(name) is not None:
            found[name] = statistics.median(run[name] for run in runs)
    if found["peak_bytes"] is not None:
        found["peak_bytes"] = max(run["peak_bytes"] for run in runs)
    return found


def figures_text(figures):
    text = f"{figures['samples_per_second']:,.0f} samples/s"
    if figures["first_batch_seconds"] is not None:
        text += (f", first batch {figures['first_batch_seconds']:.2f} s, "
                 f"{figures['peak_bytes'] / MIB:.0f} MiB")
    return text


def our_runs(context, data):
    """Functions that measure ours once, by (compression, way)."""
    runs = {}
    for compression in data.compressions:
        place = divided(context, data, compression)
        if data.kind == "arrays":
            runs[compression, "C++"] = lambda place=place: run_library(context, place)
        runs[compression, "command"] = lambda place=place: run_command(context, data, place)
        runs[compression, "Python"] = lambda place=place: run_package(data, place)
    return runs


def peer_runs(context, data):
    python = peer_python()
    runs = {}
    for loader in PEERS:
        place = prepared(context, data, loader)
        runs[loader] = lambda loader=loader, place=place: run_peer(python, loader, data, place)
    return runs


def in_turns(runs):
    """Medians of RUNS rounds in which every one has its turn."""
    found = {key: [] for key in runs}
    for _ in range(RUNS):
        for key, run in runs.items():
            found[key].append(run())
    return {key: medians(values) for key, values in found.items()}


def rows_of(data, figures):
    """A row a loader; ratios are to MosaicML's speed, those of first batches to the
    soonest peer's."""
    rows = []
    mosaicml = figures.get("mosaicml", {}).get("samples_per_second")
    for key, found in figures.items():
        ours = isinstance(key, tuple)
        name = f"ours, {key[0]}, {key[1]}" if ours else PEERS[key]
        if data.kind == "jpeg" and ours:
            name = f"ours, {key[1]}"  # Photos stay JPEG.
        target = data.targets.get(key) if ours else None
        rate = found["samples_per_second"]
        reference = "MosaicML's speed" if mosaicml else ""
        if found.get("ratio") is not None:
            reference += f"{'; ' if reference else ''}{found['ratio']:.2f} of decoding alone"
        rows.append(Row(f"{data.name}: {name}", figures_text(found), reference,
                        rate / mosaicml if mosaicml else None,
                        f"at least {target:,}/s" if target else "",
                        rate >= target if target else None))
    peers = [found["first_batch_seconds"] for key, found in figures.items() if key in PEERS]
    first = figures["balanced", "Python"]["first_batch_seconds"]
    if peers:
        rows.append(Row(f"{data.name}: first batch in Python, imports counted", f"{first:.2f} s",
                        f"soonest peer {min(peers):.2f} s", first / min(peers),
                        "at most 0.333", first <= min(peers) / 3))
    return rows


def loaders(context):
    """From disk: page cache warm, one core, shuffled; ours verifies every byte."""
    rows = []
    for make in (fashion_mnist, decoded_photos, encoded_photos):
        try:
            data = make(context)
        except Skip as reason:
            rows.append(Row(f"loaders: {make.__name__}", "skipped", str(reason)))
            continue
        runs = our_runs(context, data)
        try:
            runs.update(peer_runs(context, data))
        except Skip as reason:
            rows.append(Row(f"{data.name}: peers", "skipped", str(reason)))
        rows += rows_of(data, in_turns(runs))
    return rows
