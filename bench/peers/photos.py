#!/usr/bin/env python3
"""The two photo pipelines of examples/clothing as they are usually written, all in memory.

    photos.py hog FOLDER     # scikit-image's HOG, scikit-learn's MLPClassifier
    photos.py cnn FOLDER     # PyTorch, eager

FOLDER has train/CLASS/*.jpg and validation/CLASS/*.jpg. Sizes, features, layers, optimizer and
batches are those of the example. Prints one line of JSON: seconds to prepare, seconds of an
epoch, and the accuracy on the validation photos after `--epochs`.
"""

import argparse
import glob
import json
import os
import time

os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")

import numpy
from PIL import Image

SIDE = 198


def photos(folder):
    paths = sorted(glob.glob(os.path.join(folder, "*", "*.jpg")))
    names = sorted({os.path.basename(os.path.dirname(path)) for path in paths})
    labels = [names.index(os.path.basename(os.path.dirname(path))) for path in paths]
    return paths, numpy.array(labels)


def pixels(path, mode):
    with Image.open(path) as image:
        return numpy.asarray(image.convert(mode).resize((SIDE, SIDE), Image.BILINEAR))


def run_hog(folder, epochs):
    from skimage.feature import hog
    from sklearn.neural_network import MLPClassifier

    def features(split):
        paths, labels = photos(os.path.join(folder, split))
        rows = [hog(pixels(path, "L"), pixels_per_cell=(16, 16), cells_per_block=(2, 2))
                for path in paths]
        return numpy.array(rows, numpy.float32), labels

    begin = time.perf_counter()
    x, y = features("train")
    vx, vy = features("validation")
    prepared = time.perf_counter() - begin
    model = MLPClassifier((128,), batch_size=32, random_state=1)
    order = numpy.random.default_rng(1)
    begin = time.perf_counter()
    for _ in range(epochs):
        shuffled = order.permutation(len(x))
        # One call an epoch would make one batch of all: partial_fit takes batches.
        for first in range(0, len(x), 32):
            part = shuffled[first:first + 32]
            model.partial_fit(x[part], y[part], classes=numpy.arange(10))
    return prepared, (time.perf_counter() - begin) / epochs, model.score(vx, vy)


def run_cnn(folder, epochs):
    import torch
    from torch import nn

    torch.manual_seed(1)

    def split(name):
        paths, labels = photos(os.path.join(folder, name))
        x = numpy.stack([pixels(path, "RGB") for path in paths])
        return torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(labels)

    begin = time.perf_counter()
    x, y = split("train")
    vx, vy = split("validation")
    prepared = time.perf_counter() - begin
    layers = []
    channels = 3
    for filters in (32, 64, 64):
        layers += [nn.Conv2d(channels, filters, 3), nn.ReLU(), nn.MaxPool2d(2)]
        channels = filters
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 22 * 22, 64), nn.ReLU(),
                          nn.Linear(64, 10)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), eps=1e-7)
    loss = nn.CrossEntropyLoss()

    def floats(batch):
        return (batch.float() / 255).contiguous(memory_format=torch.channels_last)

    begin = time.perf_counter()
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for first in range(0, len(x), 32):
            part = order[first:first + 32]
            optimizer.zero_grad()
            loss(model(floats(x[part])), y[part]).backward()
            optimizer.step()
    seconds = (time.perf_counter() - begin) / epochs
    with torch.no_grad():
        right = sum(int((model(floats(vx[i:i + 32])).argmax(1) == vy[i:i + 32]).sum())
                    for i in range(0, len(vx), 32))
    return prepared, seconds, right / len(vx)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline", choices=("hog", "cnn"))
    parser.add_argument("folder")
    parser.add_argument("--epochs", type=int, default=1)
    arguments = parser.parse_args()
    run = run_hog if arguments.pipeline == "hog" else run_cnn
    prepared, epoch, accuracy = run(arguments.folder, arguments.epochs)
    print(json.dumps({"prepare_seconds": prepared, "epoch_seconds": epoch, "accuracy": accuracy}))


if __name__ == "__main__":
    main()
