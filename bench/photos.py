"""The photo pipelines of examples/clothing beside the same in memory, as they are usually
written (bench/peers/photos.py): time to prepare, time of an epoch, resident memory."""

import json
import os
import sys

from measure import PYTHON, ROOT, Row, at_most, mib_text, run_once, seconds_text

EXAMPLE = os.path.join(ROOT, "examples", "clothing", "train.py")
PEERS = os.path.join(ROOT, "bench", "peers", "photos.py")
EPOCHS = {"hog": 15, "cnn": 5}
PEER_NAMES = {"hog": "scikit-image and scikit-learn", "cnn": "PyTorch eager, in memory"}


def pipeline_rows(context, name):
    folder = os.path.dirname(context.photos)
    work = context.path("clothing-" + name)
    run_once([sys.executable, EXAMPLE, name, "--data", folder, "--work", work, "--epochs",
              str(EPOCHS[name])])
    with open(os.path.join(work, "summary.json")) as file:
        ours = json.load(file)["figures"]
    theirs_run = run_once([PYTHON, PEERS, name, folder, "--epochs", str(EPOCHS[name])])
    theirs = json.loads(theirs_run.output)
    peer = PEER_NAMES[name]
    what = f"photos, {name}"
    return [
        at_most(f"{what}: from photos to numbers", ours["divide_seconds"],
                theirs["prepare_seconds"], seconds_text,
                f"{peer} {seconds_text(theirs['prepare_seconds'])}",
                ours["divide_seconds"] / theirs["prepare_seconds"]),
        at_most(f"{what}: an epoch", ours["epoch_seconds"], theirs["epoch_seconds"], seconds_text,
                f"{peer} {seconds_text(theirs['epoch_seconds'])}",
                ours["epoch_seconds"] / theirs["epoch_seconds"]),
        at_most(f"{what}: resident, all processes", ours["memory_peak_bytes"],
                theirs_run.peak_bytes, mib_text, f"{peer} {mib_text(theirs_run.peak_bytes)}",
                ours["memory_peak_bytes"] / theirs_run.peak_bytes),
        Row(f"{what}: accuracy on the validation photos", f"{ours['accuracy']:.4f}",
            f"{peer} {theirs['accuracy']:.4f}"),
    ]


def photo_pipelines(context):
    return pipeline_rows(context, "hog") + pipeline_rows(context, "cnn")
