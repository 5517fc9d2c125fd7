#!/usr/bin/env python3
"""Writes metrics.jsonl: what real Keras 2 reports of losses, weights of losses and metrics, a model
a line, for src/trainer_torch/figure_sums_test.cc: after an epoch of three batches in order, and of
an evaluation behind it.

    pip install "tensorflow-cpu==2.15.*" && python tests/keras/make_metrics.py > metrics.jsonl
"""

import json
import os
import sys
import tempfile

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from make_training import flat_weights, numbers, shortened, weight
from small_models import L, keras

import h5py
import numpy as np

M = keras.metrics
SAMPLES, BATCH = 24, 8


def chain(*layers):
    return lambda: keras.Sequential(list(layers))


def two_inputs():
    a = L.Input((4,), name="a")
    b = L.Input((2, 3), name="b")
    x = L.Concatenate()([L.Dense(5, activation="tanh")(a), L.Flatten()(b)])
    kind = L.Dense(3, activation="softmax", name="kind", kernel_regularizer="l2")(x)
    size = L.Dense(2, name="size")(x)
    return keras.Model([a, b], [kind, size])


def output_in_the_middle():
    """The second output is computed from the first, as it is behind its softmax."""
    a = L.Input((4,), name="a")
    kind = L.Dense(3, activation="softmax", name="kind")(a)
    size = L.Dense(1, activation="sigmoid", name="size")(L.Dense(4, activation="tanh")(kind))
    return keras.Model(a, [kind, size])


def within():
    inner_x = L.Input((4,))
    inner = keras.Model(inner_x, L.Dense(2, name="last")(inner_x), name="encoder")
    a = L.Input((4,), name="a")
    return keras.Model(a, [inner(a), L.Dense(1, name="size")(a)])


CASES = {
    "one probability": (chain(L.Input((4,)), L.Dense(1, activation="sigmoid")), dict(
        loss="binary_crossentropy", metrics=[
            "accuracy", M.AUC(name="auc"), M.AUC(curve="PR", num_thresholds=50, name="pr"),
            M.Precision(name="precision"), M.Recall(thresholds=0.4, name="recall"),
            M.TruePositives(name="tp"), M.FalsePositives(name="fp"), M.TrueNegatives(name="tn"),
            M.FalseNegatives(name="fn"), "mae", M.BinaryAccuracy(threshold=0.3, name="low"),
            M.RootMeanSquaredError(name="rmse"), "hinge"])),
    "several probabilities": (chain(L.Input((4,)), L.Dense(3, activation="sigmoid")), dict(
        loss="binary_crossentropy", metrics=[
            "binary_accuracy", M.AUC(num_thresholds=20, name="auc"),
            M.Precision(thresholds=[0.6], name="precision"), M.Recall(name="recall"),
            M.BinaryCrossentropy(label_smoothing=0.1, name="smooth")])),
    "classes": (chain(L.Input((4,)), L.Dense(5, activation="tanh"), L.Dense(7, activation="softmax")),
                dict(loss="sparse_categorical_crossentropy", metrics=[
                    "accuracy", M.SparseTopKCategoricalAccuracy(k=3, name="top3"),
                    "sparse_categorical_crossentropy"])),
    "one-hot classes": (chain(L.Input((4,)), L.Dense(7, activation="softmax")), dict(
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.1), metrics=[
            "accuracy", M.TopKCategoricalAccuracy(k=2, name="top2"), "categorical_crossentropy",
            "mse", M.KLDivergence(name="kld"), M.AUC(name="auc"), "categorical_hinge"])),
    "logits": (chain(L.Input((4,)), L.Dense(7)), dict(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=[
            "sparse_categorical_accuracy",
            M.SparseCategoricalCrossentropy(from_logits=True, name="scce")])),
    "numbers": (chain(L.Input((4,)), L.Dense(2)), dict(loss="mse", metrics=[
        "mae", "mape", "msle", M.RootMeanSquaredError(), M.CosineSimilarity(), M.LogCoshError(),
        "squared_hinge"])),
    "a weight of one loss": (chain(L.Input((4,)), L.Dense(2)), dict(loss="mse", loss_weights=[2.5],
                                                                  metrics=["mae"])),
    "steps": (chain(L.Input((3, 4)), L.Masking(-1.0), L.SimpleRNN(3, return_sequences=True),
                    L.Dense(4, activation="softmax")), dict(
        loss="sparse_categorical_crossentropy", metrics=[
            "accuracy", M.SparseTopKCategoricalAccuracy(k=2, name="top2"),
            "sparse_categorical_crossentropy"])),
    "probabilities of steps": (
        chain(L.Input((3, 4)), L.Masking(-1.0), L.SimpleRNN(3, return_sequences=True),
              L.Dense(2, activation="sigmoid")), dict(
            loss="binary_crossentropy", metrics=[
                "mae", M.RootMeanSquaredError(name="rmse"), M.AUC(name="auc"),
                M.Precision(name="precision"), M.Recall(name="recall"),
                M.FalseNegatives(name="fn")])),
    "two inputs and outputs": (two_inputs, dict(
        loss=["sparse_categorical_crossentropy", "mae"], loss_weights=[0.3, 2],
        metrics=[["accuracy"], ["mse", M.RootMeanSquaredError(name="rmse")]])),
    "by name": (two_inputs, dict(
        loss={"size": "mse", "kind": keras.losses.SparseCategoricalCrossentropy()},
        loss_weights={"size": 0.5}, metrics={"kind": "sparse_categorical_accuracy"})),
    "one loss for all": (within, dict(loss="mse", metrics=["mae"])),
    "an output in the middle": (output_in_the_middle, dict(
        loss=["sparse_categorical_crossentropy", "binary_crossentropy"],
        metrics=[["acc"], ["accuracy", M.AUC(name="auc")]])),
    "an output that is not trained": (two_inputs, dict(loss={"size": "mse"},
                                                       metrics={"size": ["mae"]})),
}


def inputs(model):
    for i, tensor in enumerate(model.inputs):
        shape = [SAMPLES] + list(tensor.shape[1:])
        x = numbers(int(np.prod(shape)), 7919 + 10 * i).reshape(shape).astype(np.float32)
        if len(shape) == 3 and any(isinstance(layer, L.Masking) for layer in model.layers):
            x[::2, 2] = -1  # Masked.
            x[::5, 1] = -1
        yield x


def labels(model, losses):
    for i, (tensor, loss) in enumerate(zip(model.outputs, losses)):
        shape = [SAMPLES] + list(tensor.shape[1:])
        y = (numbers(int(np.prod(shape)), 104729 + 2 * i) + 1) / 2
        if "sparse" in loss:
            count = int(np.prod(shape[:-1]))
            y = np.floor((numbers(count, 104729) + 1) / 2 * shape[-1]).reshape(shape[:-1])
        elif "categorical" in loss:
            y = np.eye(shape[-1])[np.floor((numbers(SAMPLES, 104729) + 1) / 2 * shape[-1]).astype(int)]
        elif "binary" in loss:
            y = np.round(y)
        yield y.reshape(shape if "sparse" not in loss else shape[:-1]).astype(np.float32)


def name_of(loss):
    return loss if isinstance(loss, str) else loss.name


def losses_of(model, loss):
    """The name of each output's loss, "" for none."""
    if isinstance(loss, dict):
        return [name_of(loss.get(name, "")) for name in model.output_names]
    if not isinstance(loss, list):
        return [name_of(loss)] * len(model.outputs)
    return [name_of(each) for each in loss]


def rounded(array):
    return [float("%.9g" % v) for v in np.asarray(array, dtype=np.float32).ravel()]


def training_config(model):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.h5")
        model.save(path)
        with h5py.File(path) as f:
            return json.loads(f.attrs["training_config"])


def main():
    for name in sys.argv[1:] or CASES:
        build, settings = CASES[name]
        keras.backend.clear_session()
        model = build()
        model.compile(optimizer=keras.optimizers.SGD(0.1), **settings)
        weights = list(flat_weights(model))
        for i, w in enumerate(weights):
            w.assign(weight(i, w.name, w.shape.as_list()))
        before = np.concatenate([w.numpy().ravel() for w in weights])
        names = losses_of(model, settings["loss"])
        xs = list(inputs(model))
        ys = list(labels(model, names))
        fed_y = {n: y for n, y, loss in zip(model.output_names, ys, names) if loss}
        if len(model.outputs) == 1:
            fed_y = ys[0]
        fed_x = xs if len(xs) > 1 else xs[0]
        history = model.fit(fed_x, fed_y, batch_size=BATCH, shuffle=False, verbose=0).history
        evaluated = model.evaluate(fed_x, fed_y, batch_size=BATCH, verbose=0, return_dict=True)
        entry = {
            "name": name,
            "model": shortened(json.loads(model.to_json())),
            "training_config": training_config(model),
            "weights": rounded(before),
            "x": [rounded(x) for x in xs],
            "y": [rounded(y) if loss else [] for y, loss in zip(ys, names)],
            "trained": {k: v[0] for k, v in history.items()},
            "evaluated": evaluated,
            "weights_after": rounded(np.concatenate([w.numpy().ravel() for w in weights])),
        }
        print(json.dumps(entry, separators=(",", ":"), default=float))
        print(name, entry["trained"], file=sys.stderr)


if __name__ == "__main__":
    main()
