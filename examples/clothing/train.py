#!/usr/bin/env python3
"""Two ways to tell ten kinds of clothing apart, from photos to a report, on this machine.

    examples/clothing/train.py cnn   # a convolutional network on the colour images
    examples/clothing/train.py hog   # histograms of oriented gradients, and an MLP

The photos are those of github.com/alexeygrigorev/clothing-dataset-small (3,068 to train
on, 341 to validate with), in folders train/CLASS/*.jpg and validation/CLASS/*.jpg; --data
says where they lie. Everything that is made lies in build/clothing/PIPELINE: the shards,
model.h5, the curves, and report.html with accuracy, confusion matrix, time and memory.
"""

import argparse
import html
import json
import os
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.dirname(os.path.abspath(__file__))
DNC = os.path.join(os.environ.get("DNC_BIN", os.path.join(ROOT, "build", "bin")), "dnc")
DATA = os.path.join(os.path.dirname(ROOT), "shared", "data", "clothing")

PIPELINES = {
    "cnn": {"title": "A convolutional network on colour photos of 198x198",
            "model": "cnn.json", "epochs": 5, "divide": [], "train": []},
    "hog": {"title": "Histograms of oriented gradients of 198x198, and an MLP",
            "model": "hog_mlp.json", "epochs": 30,
            "divide": ["--grayscale", "--features", "hog:pixels_per_cell=16,cells_per_block=2"],
            "train": ["--patience", "5", "--restore-best"]},
}


class Failed(Exception):
    pass


def dnc(*arguments, capture=False):
    """Runs one command to its end; returns what it printed if `capture`."""
    print("$ dnc " + " ".join(os.path.relpath(a) if os.path.isabs(a) else a for a in arguments),
          flush=True)
    done = subprocess.run([DNC, *arguments], text=True,
                          stdout=subprocess.PIPE if capture else None)
    if done.returncode == 130:
        raise KeyboardInterrupt
    if done.returncode != 0:
        raise Failed(f"dnc {arguments[0]} ended with exit code {done.returncode}")
    return done.stdout


def divide(pipeline, data, work):
    """Shards of both splits, under one manifest; seconds taken."""
    started = time.monotonic()
    for split in ("train", "validation"):
        dnc("divide", os.path.join(data, split), "--resize", "198x198", *pipeline["divide"],
            "--split", split + "=1", "--to", os.path.join(work, split))
    dnc("merge", os.path.join(work, "train"), os.path.join(work, "validation"),
        "--to", os.path.join(work, "manifest.json"))
    return time.monotonic() - started


def train(name, pipeline, work, epochs):
    project = {"name": "clothing-" + name, "model": os.path.join(HERE, pipeline["model"]),
               "data": os.path.join(work, "manifest.json"),
               "fit": {"epochs": epochs, "batch_size": 32, "seed": 1}}
    path = os.path.join(work, "project.json")
    with open(path, "w") as file:
        json.dump(project, file, indent=2)
    model = os.path.join(work, "model.h5")
    figures = json.loads(dnc("train", path, "--out", model, "--restart", "--json", "--plot",
                             os.path.join(work, "curves.svg"), *pipeline["train"], capture=True))
    return model, figures


def table(rows, header):
    cells = ["<tr>" + "".join(f"<th>{html.escape(str(c))}</th>" for c in header) + "</tr>"]
    for row in rows:
        cells.append("<tr>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in row) + "</tr>")
    return "<table>\n" + "\n".join(cells) + "\n</table>"


def matrix(confusion):
    names = [row["class"] for row in confusion["classes"]]
    rows = []
    for name, counts in zip(names, confusion["matrix"]):
        total = max(1, sum(counts))
        cells = "".join(
            f'<td style="background:rgba(0,114,178,{count / total:.2f})">{count}</td>'
            for count in counts)
        rows.append(f"<tr><th>{html.escape(name)}</th>{cells}</tr>")
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    return ("<table class='matrix'>\n<tr><th>is, taken for</th>" + head + "</tr>\n" +
            "\n".join(rows) + "\n</table>")


def write_report(path, title, summary, result, curves):
    confusion = result["confusion"]
    classes = table([[row["class"], row["samples"], f"{row['precision']:.3f}",
                      f"{row['recall']:.3f}", f"{row['f1']:.3f}"] for row in confusion["classes"]],
                    ["class", "photos", "precision", "recall", "f1"])
    with open(curves) as file:
        picture = file.read()
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title><style>
body {{ font-family: sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; margin: 1rem 0; }}
th, td {{ padding: .25rem .6rem; border: 1px solid #ddd; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }}
.matrix {{ font-size: .8rem; }} svg {{ max-width: 100%; }}
</style></head><body>
<h1>{html.escape(title)}</h1>
{table([[key, value] for key, value in summary.items()], ["figure", "value"])}
<h2>Curves</h2>
{picture}
<h2>Classes</h2>
{classes}
<h2>Confusion of the validation photos</h2>
{matrix(confusion)}
</body></html>
"""
    with open(path, "w") as file:
        file.write(page)


def run(name, data, work, epochs):
    pipeline = PIPELINES[name]
    if not os.path.isdir(os.path.join(data, "train")):
        raise Failed(f"{data} has no folder train; --data says where the photos lie")
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    epochs = epochs or pipeline["epochs"]
    divide_seconds = divide(pipeline, data, work)
    model, trained = train(name, pipeline, work, epochs)
    result = json.loads(dnc("evaluate", model, "--data", os.path.join(work, "manifest.json"),
                            "--split", "validation", "--json", capture=True))
    seconds = sorted(epoch["seconds"] for epoch in trained["epochs"])
    figures = {"accuracy": result["accuracy"], "divide_seconds": divide_seconds,
               "train_seconds": trained["seconds"], "epochs": len(seconds),
               "epoch_seconds": seconds[len(seconds) // 2],
               "memory_peak_bytes": trained["memory_peak_bytes"]}
    summary = {"accuracy on the validation photos": f"{result['accuracy']:.4f}",
               "photos": result["samples"],
               "time to divide": f"{divide_seconds:.1f} s",
               "time to train": f"{trained['seconds']:.1f} s",
               "epochs": len(seconds),
               "an epoch (median)": f"{figures['epoch_seconds']:.2f} s",
               "peak memory of the training": f"{trained['memory_peak_bytes'] / 2**20:.0f} MiB"}
    report = os.path.join(work, "report.html")
    write_report(report, pipeline["title"], summary, result, os.path.join(work, "curves.svg"))
    with open(os.path.join(work, "summary.json"), "w") as file:
        json.dump({"figures": figures, "shown": summary}, file, indent=2)
    print()
    for key, value in summary.items():
        print(f"{key:<36}{value}")
    print(f"{'the trained model':<36}{os.path.relpath(model)}")
    print(f"{'the report':<36}{os.path.relpath(report)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline", choices=sorted(PIPELINES))
    parser.add_argument("--data", default=DATA, help="the folder of the photos [%(default)s]")
    parser.add_argument("--work", help="where results go [build/clothing/PIPELINE]")
    parser.add_argument("--epochs", type=int, help="instead of the pipeline's own number")
    arguments = parser.parse_args()
    work = arguments.work or os.path.join(ROOT, "build", "clothing", arguments.pipeline)
    try:
        run(arguments.pipeline, os.path.abspath(arguments.data), os.path.abspath(work),
            arguments.epochs)
    except Failed as error:
        print(f"clothing: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nclothing: stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
