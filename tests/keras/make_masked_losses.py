#!/usr/bin/env python3
"""Writes masked_losses.jsonl: what real Keras 2 makes of masks that reach the model's output, a
model a line, for src/trainer_torch/recurrent_test.cc: loss and accuracy of a batch, and all
weights after one step of SGD on it. Weights come from a formula that the test knows too.

    pip install "tensorflow-cpu==2.15.*" && python tests/keras/make_masked_losses.py
"""

import json
import os

from make_recurrent_outputs import LEARNING_RATE, layers, numbers, padded, plain, rounded, tf

import numpy as np

SAMPLES, STEPS = 3, 5
losses = tf.keras.losses


def cases():
    masked = [layers.Masking(), layers.LSTM(3, return_sequences=True)]
    yield "classes", masked + [layers.Dense(4, activation="softmax")], \
        losses.SparseCategoricalCrossentropy(), "accuracy"
    yield "one-hot classes, smoothed", masked + [layers.Dense(4, activation="softmax")], \
        losses.CategoricalCrossentropy(label_smoothing=0.1), "accuracy"
    yield "a sum", masked + [layers.Dense(4, activation="softmax")], \
        losses.SparseCategoricalCrossentropy(reduction="sum"), "accuracy"
    yield "squares", masked + [layers.TimeDistributed(layers.Dense(2))], \
        losses.MeanSquaredError(), None
    yield "sum of squares", masked + [layers.Dense(2)], losses.MeanSquaredError(reduction="sum"), None
    yield "yes or no", masked + [layers.Dense(1, activation="sigmoid")], \
        losses.BinaryCrossentropy(), "accuracy"
    yield "several times yes or no", masked + [layers.Dense(3, activation="sigmoid")], \
        losses.BinaryCrossentropy(), "binary_accuracy"
    yield "rows", masked + [layers.Dense(3)], losses.CosineSimilarity(), None
    yield "penalties", masked + [layers.Dense(2, kernel_regularizer="l2", activity_regularizer="l2")], \
        losses.MeanAbsoluteError(), None
    yield "embedded", [layers.Embedding(6, 3, mask_zero=True),
                       layers.Bidirectional(layers.GRU(2, return_sequences=True)),
                       layers.BatchNormalization(), layers.Dense(4, activation="softmax")], \
        losses.SparseCategoricalCrossentropy(), "accuracy"


def labels(shape, loss, activation):
    values = np.reshape(np.float32(numbers(int(np.prod(shape)), 53)), shape)
    if "Categorical" in type(loss).__name__:
        classes = values.argmax(-1)
        return classes if "Sparse" in type(loss).__name__ else np.eye(shape[-1])[classes]
    return np.float32(values > 0) if activation == "sigmoid" else values


def record(name, stack, loss, metric):
    tf.keras.backend.clear_session()
    embedded = isinstance(stack[0], layers.Embedding)
    shape = (STEPS,) if embedded else (STEPS, 2)
    model = tf.keras.Sequential([layers.InputLayer(shape)] + stack)
    # Layer after layer: model.weights has moving statistics last.
    weights = [weight for layer in model.layers for weight in layer.weights]
    for index, weight in enumerate(weights):
        size = int(np.prod(weight.shape))
        weight.assign(np.reshape(np.float32(numbers(size, 37 + index)), weight.shape))
    count = SAMPLES * int(np.prod(shape))
    x = np.reshape(np.float32(numbers(count, 29)), (SAMPLES,) + shape)
    if embedded:
        x = np.float32(np.reshape([(i * 7 + 3) % 6 for i in range(count)], x.shape))
    x = padded(x)
    last = model.layers[-1]
    activation = last.get_config().get("activation")
    y = labels((SAMPLES,) + model.output_shape[1:], loss, activation)
    model.compile(tf.keras.optimizers.SGD(LEARNING_RATE), loss, metrics=[metric] if metric else [])
    told = model.train_on_batch(x, y)
    told = told if isinstance(told, list) else [told]
    listed = [{"class_name": layer.__class__.__name__, "config": plain(layer.get_config())}
              for layer in model.layers]
    listed.insert(0, {"class_name": "InputLayer",
                      "config": {"batch_input_shape": [None, *shape], "name": "in"}})
    options = {k: v for k, v in loss.get_config().items() if k not in ("name", "fn")}
    return {"name": name, "loss": told[0], "accuracy": told[1] if metric else None,
            "model": {"model_config": {"class_name": "Sequential",
                                       "config": {"name": "m", "layers": listed}},
                      "compile": {"optimizer": {"class_name": "SGD",
                                                "config": {"learning_rate": LEARNING_RATE}},
                                  "loss": {"class_name": type(loss).__name__, "config": options},
                                  "metrics": [metric] if metric else []}},
            "x": rounded(x.ravel()), "y": rounded(np.ravel(y)),
            "weights_after": rounded(np.concatenate([w.ravel() for w in [weight.numpy() for weight in weights]]))}


path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "masked_losses.jsonl")
with open(path, "w") as file:
    for case in cases():
        file.write(json.dumps(record(*case), separators=(",", ":"), default=float) + "\n")
