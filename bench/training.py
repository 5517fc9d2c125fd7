"""Training speed and memory of dnc-trainer's engine beside PyTorch and scikit-learn, all in
turns, on data in memory, one and two threads."""

import json
import os
import statistics

from measure import (PYTHON, ROOT, RUNS, Row, at_most, median_run, mib_text, run_once,
                     seconds_text)

PEERS = os.path.join(ROOT, "bench", "peers", "training.py")
# What `bench/peers/setup.sh newest` makes.
NEWEST = os.path.join(os.environ.get("DNC_PEERS_NEWEST",
                                     os.path.expanduser("~/.cache/dnc-peers-newest")),
                      "bin", "python")
# Model, batch, threads, and how many times as fast as each peer it must be.
CASES = [
    ("cnn", 32, 2, {"torch": 1.8, "torch newest": 1.2}),
    ("cnn", 32, 1, {"torch": 1.8, "torch newest": 1.2}),
    ("mlp", 32, 2, {"torch": 4, "torch newest": None, "sklearn": 5}),
    ("mlp", 32, 1, {"torch": 4, "torch newest": None, "sklearn": 5}),
    ("mlp", 256, 2, {"torch": 1.5, "torch newest": None}),
    ("mlp", 256, 1, {"torch": 1.5, "torch newest": None}),
    ("linear", 32, 2, {"sklearn": 10, "torch": None}),
    ("linear", 32, 1, {"sklearn": 10, "torch": None}),
]
SECONDS = {"cnn": "5", "mlp": "1.5", "linear": "1.5"}


def has_newest():
    return os.access(NEWEST, os.X_OK) and os.system(f"{NEWEST} -c 'import torch' 2>/dev/null") == 0


def ours(context, model, batch, threads):
    run = run_once([context.trainer, "--benchmark", model, "--loop", "engine", "--threads",
                    str(threads), "--batch", str(batch), "--seconds", SECONDS[model]])
    figures = json.loads(run.output)
    return figures["samples_per_second"], run.peak_bytes


def theirs(peer, model, batch, threads):
    """The faster of one thread and of so many: on small models two can be slower."""
    python = NEWEST if peer == "torch newest" else PYTHON
    best = 0
    for count in sorted({1, threads}):
        run = run_once([python, PEERS, peer.split()[0], model, "--threads", str(count), "--batch",
                        str(batch), "--seconds", SECONDS[model]])
        figures = json.loads(run.output)
        best = max(best, figures["samples_per_second"])
    name = peer.split()[0] + " " + figures["version"].split("+")[0]
    return best, run.peak_bytes, name


def matrix_gflops(context, threads):
    run = run_once([context.trainer, "--doctor", "--threads", str(threads)])
    return json.loads(run.output)["matrix_gflops"]


def case_rows(context, model, batch, threads, targets):
    what = f"{model}, batch {batch}, {threads} thread{'s' if threads > 1 else ''}"
    found = {peer: [] for peer in targets}  # Rounds of (ours, theirs), side by side.
    names, peaks, products = {}, {}, []
    for _ in range(RUNS):
        speed, peak = ours(context, model, batch, threads)
        peaks["ours"] = max(peak, peaks.get("ours", 0))
        for peer in targets:
            rate, peak, names[peer] = theirs(peer, model, batch, threads)
            peaks[peer] = max(peak, peaks.get(peer, 0))
            found[peer].append((speed, rate))
        if model == "cnn":  # 1.21 GFLOP an image, forward and backward.
            products.append(speed * 1.21 / matrix_gflops(context, threads))
    rows = []
    for peer, target in targets.items():
        ratio = statistics.median(speed / rate for speed, rate in found[peer])
        rows.append(Row(what, f"{statistics.median(s for s, _ in found[peer]):,.0f} samples/s",
                        f"{names[peer]} {statistics.median(r for _, r in found[peer]):,.0f}", ratio,
                        f"at least {target}" if target else "",
                        ratio >= target if target else None))
    if products:
        ratio = statistics.median(products)
        rows.append(Row(f"{what}: of the speed of its products", "", "a product of 1,024 cubed",
                        ratio, "at least 0.5", ratio >= 0.5))
    if model == "cnn" and "torch" in peaks and threads == 2:
        ratio = peaks["ours"] / peaks["torch"]
        rows.append(Row(f"{what}: peak memory", mib_text(peaks["ours"]),
                        f"{names['torch']} {mib_text(peaks['torch'])}", ratio, "at most 0.6",
                        ratio <= 0.6))
    return rows


def start(context):
    """From the start of the program to the end of the first steps."""
    run = median_run([context.trainer, "--benchmark", "mlp", "--loop", "engine", "--threads", "1",
                      "--seconds", "0"])
    return at_most("dnc-trainer: start to first steps", run.seconds, 0.6, seconds_text,
                   f"its processor time {seconds_text(run.processor_seconds)}")


def training_speed(context):
    newest = has_newest()
    rows = [start(context)]
    for model, batch, threads, targets in CASES:
        known = {peer: target for peer, target in targets.items()
                 if newest or peer != "torch newest"}
        rows += case_rows(context, model, batch, threads, known)
    return rows
