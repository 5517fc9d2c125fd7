#!/usr/bin/env python3
"""One peer training one model on data in memory: how fast, and in how much memory.

    training.py PEER MODEL [--threads 2] [--batch 32] [--seconds 5]

PEER: torch (eager, of the Python that runs this) or sklearn. MODEL: cnn, mlp or linear, as
`dnc-trainer --benchmark` has them; sklearn has the last two, as MLPClassifier and as
SGDClassifier.partial_fit. Prints one line of JSON: samples_per_second, the median of five
parts, and peak_bytes resident.

Data are float32 already, and torch's are in channels_last, its fast layout. The BLAS is told
what the processor is (OPENBLAS_CORETYPE), which Debian's does not find out by itself on newer
ones, so that it is as fast as it can be.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time
import warnings

PARTS = 5


def measure(step, samples, seconds):
    """Median samples/s of `step`, which takes `samples` a call."""
    step()
    step()
    rates = []
    for _ in range(PARTS):
        begin = time.perf_counter()
        count = 0
        elapsed = 0.0
        while elapsed < seconds / PARTS:
            step()
            count += samples
            elapsed = time.perf_counter() - begin
        rates.append(count / elapsed)
    return statistics.median(rates)


def torch_model(name):
    from torch import nn

    if name == "linear":
        return nn.Linear(784, 10)
    if name == "mlp":
        return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    return nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * 48 * 48, 64), nn.ReLU(), nn.Linear(64, 1))


def train_torch(arguments):
    import torch

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    model = torch_model(arguments.model)
    batch = arguments.batch
    if arguments.model == "cnn":
        model = model.to(memory_format=torch.channels_last)
        x = torch.rand(batch, 3, 198, 198).to(memory_format=torch.channels_last)
        y = torch.ones(batch, 1)
        loss = torch.nn.functional.binary_cross_entropy_with_logits
    else:
        x = torch.rand(batch, 784)
        y = torch.arange(batch) % 10
        loss = torch.nn.functional.cross_entropy
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def step():
        optimizer.zero_grad(set_to_none=True)
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        value.item()

    return measure(step, batch, arguments.seconds), torch.__version__


def train_sklearn(arguments):
    import numpy
    import sklearn
    from sklearn.linear_model import SGDClassifier
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore")  # One epoch does not converge.
    batch = arguments.batch
    random = numpy.random.default_rng(1)
    if arguments.model == "linear":
        count = 60 * batch  # It steps sample by sample, however many a call brings.
        x = random.random((count, 784), dtype=numpy.float32)
        y = numpy.arange(count) % 10
        model = SGDClassifier(loss="log_loss")
        classes = numpy.arange(10)
        rate = measure(lambda: model.partial_fit(x, y, classes=classes), count,
                       arguments.seconds)
        return rate, sklearn.__version__
    count = 200 * batch  # One call is an epoch of so many; it shuffles and batches itself.
    x = random.random((count, 784), dtype=numpy.float32)
    y = numpy.arange(count) % 10
    model = MLPClassifier((128,), solver="sgd", batch_size=batch, learning_rate_init=0.01,
                          momentum=0, nesterovs_momentum=False, alpha=0, max_iter=1,
                          warm_start=True)
    return measure(lambda: model.fit(x, y), count, arguments.seconds), sklearn.__version__


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("peer", choices=["torch", "sklearn"])
    parser.add_argument("model", choices=["cnn", "mlp", "linear"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5)
    arguments = parser.parse_args()
    if arguments.peer == "sklearn" and arguments.model == "cnn":
        sys.exit("training.py: scikit-learn has no convolutions")
    threads = str(arguments.threads)
    wanted = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    with open("/proc/cpuinfo") as file:
        if "avx512f" in file.read():
            wanted["OPENBLAS_CORETYPE"] = "SkylakeX"
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        # Libraries read them as they load.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **wanted})
    rate, version = globals()[f"train_{arguments.peer}"](arguments)
    print(json.dumps({"samples_per_second": rate, "version": version,
                      "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10}))


if __name__ == "__main__":
    main()
