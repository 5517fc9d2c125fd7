#!/usr/bin/env python3
"""Speed and memory, measured against a limit that was measured in the same run.

`make bench` runs it after a build and prints one table. Each row says what was
measured, the reference beside it, their ratio, the target, and whether it is met.

    run.py [--only WORDS] [--json]

To add a row, write a function that takes a Context and returns rows, and put it
into BENCHES. Times are medians of three runs. A miss is shown, not an error; the
exit code is 1 only if something could not be measured.
"""

import argparse
import dataclasses
import json
import os
import shutil
import sys
import tempfile

from loaders import loaders
from measure import (MIB, ROOT, RUNS, Context, Row, Skip, at_most, folder_bytes, median_run, mib_text,
                     run_once, seconds_text)
from photos import photo_pipelines
from remote import over_http, small_cache
from sizes import divide_against_zstd, sizes
from training import training_speed


def start(context):
    run = median_run([context.dnc, "--version"])
    return [at_most("dnc --version", run.seconds, 0.020, seconds_text)]


def divide_fashion_mnist(context):
    folder = context.path("divide")
    run = context.divide_fashion_mnist(folder)
    savez_bytes = os.path.getsize(os.path.join(context.fashion_mnist, "both.npz"))
    divided_bytes = folder_bytes(folder)
    what = "divide Fashion-MNIST (npy, 60,000)"
    return [
        at_most(f"{what}: time", run.seconds, 2, seconds_text,
                f"savez_compressed {seconds_text(context.savez_seconds)}",
                run.seconds / context.savez_seconds),
        Row(f"{what}: processor time", seconds_text(run.processor_seconds)),
        at_most(f"{what}: resident", run.peak_bytes, 64 * MIB, mib_text),
        at_most(f"{what}: size", divided_bytes, savez_bytes, mib_text,
                f"savez_compressed {mib_text(savez_bytes)}"),
    ]


def divide_photos(context):
    photos = context.photos
    folder = context.path("photos")
    run = median_run([context.dnc, "divide", photos, "--resize", "198x198", "--to", folder,
                      "--json"], before=lambda: shutil.rmtree(folder, ignore_errors=True))
    report = json.loads(run.output)
    raw = report["raw_bytes"]
    what = f"divide {report['samples']:,} photos to 198x198"
    return [
        at_most(f"{what}: time", run.seconds, 20, seconds_text,
                f"its processor time {seconds_text(run.processor_seconds)}"),
        at_most(f"{what}: resident", run.peak_bytes, 128 * MIB, mib_text),
        Row(f"{what}: size", mib_text(folder_bytes(folder)), f"raw {mib_text(raw)}",
            folder_bytes(folder) / raw),
    ]


def stream(context):
    rows = []
    for budget, window in ((64 * MIB, 1 << 14), (32 * MIB, 1 << 13)):
        run = run_once([context.program("stream_bench"), context.divided_fashion_mnist,
                        str(budget), str(window)])
        figures = json.loads(run.output)
        what = f"stream Fashion-MNIST in {budget // MIB} MiB, windows of {window:,}"
        decode = figures["samples"] / figures["decode_seconds"]
        required = budget == 64 * MIB  # The default; a tight budget fetches leaves again.
        rows += [
            Row(f"{what}: one core", f"{figures['samples_per_second']:,.0f} samples/s",
                f"decoding alone {decode:,.0f}", figures["ratio"], "at least 0.5" if required else "",
                figures["ratio"] >= 0.5 if required else None),
            at_most(f"{what}: held", figures["held_peak_bytes"], budget, mib_text),
            at_most(f"{what}: resident growth", figures["resident_growth_bytes"],
                    budget + 16 * MIB, mib_text),
        ]
    return rows


def trainer_loops(context, name, threads, batch=32):
    """samples/s of the plain libtorch loop and of dnc-trainer's engine, data in memory."""
    run = run_once([context.trainer, "--benchmark", name, "--threads", str(threads),
                    "--batch", str(batch), "--seconds", "8"])
    lines = [json.loads(line) for line in run.output.splitlines()]
    return {line["loop"]: line["samples_per_second"] for line in lines}


def train_from_stream(context):
    """An epoch of the demo's CNN by dnc train, against the faster of a plain loop and of
    dnc-trainer's own on data that are in memory already."""
    project = context.path("project.json")
    with open(project, "w") as file:
        json.dump({"name": "bench", "model": os.path.join(ROOT, "examples", "fashion_mnist",
                                                          "model.json"),
                   "data": os.path.join(context.divided_fashion_mnist, "manifest.json"),
                   "fit": {"epochs": 1, "batch_size": 32}}, file)
    out = context.path("model.h5")
    pairs = []
    for _ in range(RUNS):  # In pairs, since the machine's speed drifts.
        memory = max(trainer_loops(context, "demo", 2).values())
        run = run_once([context.dnc, "train", project, "--out", out, "--threads", "2", "--json"])
        report = json.loads(run.output)
        pairs.append((report["samples"] / report["seconds"] / memory, memory, report))
    ratio, memory, report = sorted(pairs, key=lambda pair: pair[0])[RUNS // 2]
    return [
        Row("train from the stream (demo's CNN, 2 threads)",
            f"{report['samples'] / report['seconds']:,.0f} samples/s",
            f"in memory {memory:,.0f}", ratio, "at least 0.95", ratio >= 0.95),
        Row("train from the stream: waited for data", seconds_text(report["waited_seconds"]),
            f"of {seconds_text(report['seconds'])}",
            report["waited_seconds"] / report["seconds"]),
    ]


def train_cnn(context):
    """The CNN of 198x198x3 images, batch 32, in dnc-trainer."""
    rows = []
    for threads, target in ((2, 80), (1, None)):
        loops = [trainer_loops(context, "cnn", threads) for _ in range(RUNS)]
        loop = sorted(loops, key=lambda found: found["engine"])[RUNS // 2]
        rows.append(Row(f"CNN 198x198x3, {threads} threads", f"{loop['engine']:.1f} images/s",
                        f"plain libtorch {loop['plain']:.1f}", loop["engine"] / loop["plain"],
                        f"at least {target} images/s" if target else "",
                        loop["engine"] >= target if target else None))
    return rows


def demo(context):
    """make demo, after the build."""
    run = run_once([sys.executable, os.path.join(ROOT, "examples", "fashion_mnist", "demo.py")])
    with open(os.path.join(ROOT, "build", "demo", "summary.json")) as file:
        summary = json.load(file)
    peaks = summary["peak_memory_kib"]
    daemons = [kib for name, kib in peaks.items()
               if name.startswith("provider") and "trainer" not in name]
    return [
        at_most("demo: wall time", run.seconds, 120, seconds_text,
                f"training {seconds_text(summary['training_seconds'])}"),
        Row("demo: accuracy on the test images", f"{summary['accuracy']:.4f}", "", None,
            "at least 0.88", summary["accuracy"] >= 0.88),
        at_most("demo: server resident", peaks["server"] << 10, 64 * MIB, mib_text),
        at_most("demo: provider daemon resident", max(daemons) << 10, 96 * MIB, mib_text),
    ]


BENCHES = [start, divide_fashion_mnist, divide_photos, stream, train_from_stream, train_cnn, demo,
           loaders, over_http, small_cache, sizes, divide_against_zstd, training_speed,
           photo_pipelines]


def print_table(rows):
    head = ["what", "measured", "reference", "ratio", "target", ""]
    lines = [[row.what, row.measured, row.reference,
              "" if row.ratio is None else f"{row.ratio:.3f}", row.target,
              {True: "ok", False: "MISS", None: ""}[row.ok]] for row in rows]
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]
    for line in [head, ["-" * width for width in widths], *lines]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def main():
    parser = argparse.ArgumentParser(description="Speed and memory against their limits.")
    parser.add_argument("--only", default="", help="run the benchmarks whose name holds this")
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    arguments = parser.parse_args()
    rows = []
    failed = False
    with tempfile.TemporaryDirectory(prefix="dnc-bench-") as folder:
        context = Context(folder)
        if not os.path.exists(context.dnc) and not os.path.exists(context.trainer):
            sys.exit("neither build/bin/dnc nor dnc-trainer is there; run `make build` first")
        for bench in BENCHES:
            if arguments.only not in bench.__name__:
                continue
            print(f"{bench.__name__} ...", file=sys.stderr, flush=True)
            try:
                rows += bench(context)
            except Skip as reason:
                rows.append(Row(bench.__name__, "skipped", str(reason)))
            except (RuntimeError, OSError, ValueError, KeyError) as error:
                rows.append(Row(bench.__name__, "failed", str(error)))
                failed = True
    if arguments.json:
        for row in rows:
            print(json.dumps(dataclasses.asdict(row)))
    else:
        print_table(rows)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
