#!/usr/bin/env python3
"""Checks with real Keras what `dnc convert` writes: its files load there and predict what the
model that they were made of predicts, and training goes on from them as it would have.

    python3 tests/keras/check_saved.py [--dnc build/bin/dnc] [--keras2 PYTHON] [--keras3 PYTHON]

The Pythons are those of environments with tensorflow-cpu==2.15.* and with Keras 3; one that is
not there is skipped, which is said.
"""

import argparse
import glob
import os
import subprocess
import sys
import tempfile

TOLERANCE = 1e-5
STEPS_BEFORE, STEPS_AFTER = 10, 5


# ---- Within a Python with Keras

def numbers(shape, seed):
    import numpy as np
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32")


def inputs_of(model):
    from small_models import L
    xs = []
    for i, tensor in enumerate(model.inputs):
        x = numbers([16] + list(tensor.shape[1:]), i)
        if any(isinstance(layer, L.Embedding) for layer in model.layers):
            x = ((x + 1) / 2 * 10).round()
        xs.append(x)
    return xs if len(xs) > 1 else xs[0]


def labels_of(model, loss):
    import small_models
    shape = [16] + list(model.output_shape[1:])
    y = (numbers(shape, 77) + 1) / 2
    if loss == small_models.CLASSES:
        return y.argmax(-1)
    return y.round() if loss == small_models.BINARY else y


def optimizers():
    from small_models import keras
    O = keras.optimizers
    decay = O.schedules.ExponentialDecay(0.01, 5, 0.8)
    return {"sgd": O.SGD(0.05), "momentum": O.SGD(0.02, momentum=0.9),
            "nesterov": O.SGD(0.02, momentum=0.9, nesterov=True), "adam": O.Adam(0.01),
            "amsgrad": O.Adam(0.01, amsgrad=True), "adamw": O.AdamW(0.01),
            "rmsprop": O.RMSprop(0.005),
            "centered": O.RMSprop(0.005, momentum=0.5, centered=True),
            "adagrad": O.Adagrad(0.05), "adadelta": O.Adadelta(1.0), "adamax": O.Adamax(0.01),
            "nadam": O.Nadam(0.01), "ftrl": O.Ftrl(0.05), "lion": O.Lion(0.002),
            "scheduled": O.Adam(decay)}


# Saving an .h5 takes the optimizer off what Keras 3 writes of the compile section next.
SUFFIXES = [".keras", ".h5"]


def is_keras2():
    from small_models import keras
    return keras.__version__.startswith("2.")


def compiled_models():
    """Models with several losses, and metrics: {name: (model, settings)}."""
    from small_models import L, keras
    M = keras.metrics
    a = L.Input((4,), name="a")
    b = L.Input((2, 3), name="b")
    x = L.Concatenate()([L.Dense(5, activation="tanh")(a), L.Flatten()(b)])
    outputs = [L.Dense(3, activation="softmax", name="kind")(x), L.Dense(2, name="size")(x)]
    one = keras.Sequential([L.Input((4,)), L.Dense(1, activation="sigmoid")])
    # Keras 2 takes "accuracy" of an .h5 for that of one-hot classes.
    return {
        "compiled_list": (keras.Model([a, b], outputs), dict(
            loss=["sparse_categorical_crossentropy", "mae"], loss_weights=[0.3, 2],
            metrics=[["sparse_categorical_accuracy"],
                     ["mse", M.RootMeanSquaredError(name="rmse")]])),
        "compiled_by_name": (keras.Model([a, b], outputs), dict(
            loss={"size": "mse", "kind": keras.losses.SparseCategoricalCrossentropy()},
            loss_weights={"size": 0.5, "kind": 1.0},
            metrics={"kind": "sparse_categorical_accuracy"})),
        "compiled_metrics": (one, dict(
            loss=keras.losses.BinaryCrossentropy(label_smoothing=0.1),
            metrics=["accuracy", M.AUC(name="auc"), M.Precision(name="precision"), "mae"])),
    }


def evaluated(model):
    x = inputs_of(model)
    kinds = numbers([16], 3).round().astype(int) % 3
    y = [kinds, numbers([16, 2], 4)] if len(model.outputs) == 2 else numbers([16, 1], 5).round() % 2
    return model.evaluate(x, y, batch_size=8, verbose=0)


def train(model, x, y, steps):
    return [float(model.train_on_batch(x, y)) for _ in range(steps)]


def make(folder):
    import numpy as np
    from small_models import MODELS, keras
    for name, (loss, build) in MODELS.items():
        model = build()
        for i, weight in enumerate(model.weights):  # Also those that begin alike.
            if "seed" not in weight.name:
                weight.assign(weight + np.abs(numbers(weight.shape, i)) * 0.3)
        model.compile("adam", loss)
        for suffix in SUFFIXES:
            model.save(os.path.join(folder, name + suffix))
        np.save(os.path.join(folder, name + ".npy"), model.predict(inputs_of(model), verbose=0))
        keras.backend.clear_session()
    for name, (model, settings) in compiled_models().items():
        model.compile("adam", **settings)
        np.save(os.path.join(folder, name + ".npy"), evaluated(model))
        for suffix in SUFFIXES:
            model.save(os.path.join(folder, name + suffix))
        keras.backend.clear_session()
    loss, build = MODELS["batchnorm"]
    for name, optimizer in optimizers().items():
        model = build()
        model.compile(optimizer, loss)
        x, y = inputs_of(model), labels_of(model, loss)
        train(model, x, y, STEPS_BEFORE)
        for suffix in SUFFIXES:
            model.save(os.path.join(folder, "state_" + name + suffix))
        keras.backend.clear_session()


def load(path):
    """Keras 3 does not read the compile section of every .h5 that it wrote."""
    from small_models import keras
    compiles = os.path.basename(path).startswith(("state_", "compiled_"))
    return keras.models.load_model(path, compile=compiles)


def read_own(folder):
    """What Keras makes of its own files, as it may not read them all: {name: what it says}."""
    from small_models import MODELS, keras
    told = {}
    for path in sorted(glob.glob(os.path.join(folder, "*"))):
        name, suffix = os.path.splitext(os.path.basename(path))
        if ".dnc" in name or suffix not in SUFFIXES:
            continue
        try:
            model = load(path)
            told[name + suffix] = evaluated(model) if name.startswith("compiled_") else None
            if name.startswith("state_"):
                loss = MODELS["batchnorm"][0]
                told[name + suffix] = train(model, inputs_of(model), labels_of(model, loss),
                                            STEPS_AFTER)
        except Exception as error:
            told[name + suffix] = f"{type(error).__name__}: {str(error)[:100]}"
        keras.backend.clear_session()
    return told


def difference(a, b):
    import numpy as np
    return float(np.max(np.abs(np.asarray(a) - np.asarray(b))) / max(np.max(np.abs(b)), 1e-30))


def check(folder):
    import numpy as np
    from small_models import MODELS, keras
    wrong, skipped, count, largest = [], [], 0, 0.0
    own = read_own(folder)
    for path in sorted(glob.glob(os.path.join(folder, "*.dnc.*"))):
        name, suffix = os.path.basename(path).split(".")[0], os.path.splitext(path)[1]
        source = name + (suffix if ".from" not in path else "." + path.split(".from")[1].split(".")[0])
        if isinstance(own[source], str):
            skipped.append(f"{os.path.basename(path)}: Keras does not read {source} either: "
                           + own[source])
            continue
        if "attention" in name and suffix == ".h5" and ".from" in path and not is_keras2():
            skipped.append(f"{os.path.basename(path)}: attention is written anew as Keras 2 reads it")
            continue
        # Of a .keras that is as Keras 3 has it Keras 2 reads weights and losses, but not these.
        if suffix == ".keras" and is_keras2() and name.startswith(("attention", "prelu", "state_")):
            skipped.append(f"{os.path.basename(path)}: is as Keras 3 reads it")
            continue
        try:
            model = load(path)
            if name.startswith("state_"):
                loss = MODELS["batchnorm"][0]
                found = train(model, inputs_of(model), labels_of(model, loss), STEPS_AFTER)
                expected = own[source]
            elif name.startswith("compiled_"):
                found, expected = evaluated(model), np.load(os.path.join(folder, name + ".npy"))
            else:
                found = model.predict(inputs_of(model), verbose=0)
                expected = np.load(os.path.join(folder, name + ".npy"))
            relative = difference(found, expected)
            largest = max(largest, relative)
            if not relative <= TOLERANCE:
                wrong.append(f"{os.path.basename(path)}: differs by {relative:.3g}")
        except Exception as error:  # Whatever Keras throws is the finding.
            wrong.append(f"{os.path.basename(path)}: {type(error).__name__}: {str(error)[:300]}")
        count += 1
        keras.backend.clear_session()
    print(f"Keras {keras.__version__}: {count - len(wrong)} of {count} files as expected, the "
          f"largest difference {largest:.2g}")
    for line in wrong:
        print("  wrong: " + line)
    for line in skipped:
        print("  skipped: " + line)
    sys.exit(1 if wrong or count == 0 else 0)


# ---- Around it

def convert_all(dnc, folder):
    """Each file in its own format and in others, the architecture as it came and written anew."""
    failed = []

    def convert(*arguments):
        done = subprocess.run([dnc, "convert", *arguments], capture_output=True, text=True)
        if done.returncode != 0 or done.stderr.strip():
            failed.append(" ".join(map(os.path.basename, arguments)) + ": " + done.stderr.strip())

    for path in sorted(glob.glob(os.path.join(folder, "*.h5")) +
                       glob.glob(os.path.join(folder, "*.keras"))):
        stem, suffix = os.path.splitext(path)
        convert(path, f"{stem}.dnc{suffix}")
        if os.path.basename(stem).startswith(("state_", "compiled_")):
            for ending in SUFFIXES:
                convert(path, f"{stem}.dnc.from{suffix[1:]}{ending}")
            continue
        convert(path, f"{stem}.architecture.json")
        for ending in SUFFIXES:
            convert(f"{stem}.architecture.json", f"{stem}.dnc.from{suffix[1:]}{ending}",
                    "--weights", path)
    return failed


def main():
    if len(sys.argv) == 3 and sys.argv[1] in ("make", "check"):
        {"make": make, "check": check}[sys.argv[1]](sys.argv[2])
        return
    parser = argparse.ArgumentParser()
    here = os.path.dirname(os.path.abspath(__file__))
    cache = os.path.expanduser("~/.cache")
    parser.add_argument("--dnc", default=os.path.join(here, "../../build/bin/dnc"))
    parser.add_argument("--keras2", default=os.path.join(cache, "dnc-keras2/bin/python"))
    parser.add_argument("--keras3", default=os.path.join(cache, "dnc-keras3/bin/python"))
    parser.add_argument("--keep", help="a folder for the files, which stay")
    options = parser.parse_args()
    if not os.path.exists(options.dnc):
        sys.exit(f"there is no {options.dnc}; build it, or say with --dnc where it is")
    failures = 0
    for label, python in (("Keras 2", options.keras2), ("Keras 3", options.keras3)):
        if not os.path.exists(python):
            print(f"{label}: skipped, there is no {python}")
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = os.path.join(options.keep, label[-1]) if options.keep else temporary
            os.makedirs(folder, exist_ok=True)
            subprocess.run([python, __file__, "make", folder], check=True,
                           stderr=subprocess.DEVNULL)
            failed = convert_all(options.dnc, folder)
            for line in failed:
                print("  " + line)
            done = subprocess.run([python, __file__, "check", folder], stderr=subprocess.DEVNULL)
            failures += len(failed) + done.returncode
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
