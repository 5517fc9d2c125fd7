#!/usr/bin/env python3
"""Writes training.json: the losses of real Keras 2 over 50 steps of training, of small models of
every kind with each optimizer, for src/trainer_torch/keras_training_test.cc, which fills weights
and data by the same formulas and takes the same batches in the same order.

    pip install "tensorflow-cpu==2.15.*" && python tests/keras/make_training.py > training.json
"""

import json
import sys

from small_models import BINARY, CLASSES, MODELS, L, keras

import numpy as np
import tensorflow as tf

O = keras.optimizers
STEPS, BATCH, SAMPLES = 50, 8, 24
KEPT_STEPS = [1, 2, 5, 10, 25, 50]


def optimizers():
    return {
        "SGD": O.SGD(0.05),
        "momentum": O.SGD(0.02, momentum=0.9),
        "nesterov": O.SGD(0.02, momentum=0.9, nesterov=True),
        "Adam": O.Adam(0.005),
        "amsgrad": O.Adam(0.005, amsgrad=True),
        "AdamW": O.AdamW(0.005, weight_decay=0.02),
        "RMSprop": O.RMSprop(0.003),
        "centered": O.RMSprop(0.002, momentum=0.5, centered=True),
        "Adagrad": O.Adagrad(0.05),
        "Adadelta": O.Adadelta(1.0),
        "Adamax": O.Adamax(0.005),
        "Nadam": O.Nadam(0.005),
        "Ftrl": O.Ftrl(0.05, l2_regularization_strength=0.001),
        "Lion": O.Lion(0.001),
        "clipped": O.Adam(0.005, clipnorm=0.1),
    }


def numbers(count, factor):
    """Of [-1, 1), the same in C++."""
    i = np.arange(count, dtype=np.uint64)
    return ((i * np.uint64(factor) + np.uint64(13)) % np.uint64(1009)).astype(np.float64) / 1009 * 2 - 1


def weight(index, name, shape):
    """The size follows the number of inputs, roughly."""
    count = int(np.prod(shape))
    values = numbers(count, 7919 + 2 * index)
    if "gamma" in name or "variance" in name:
        return (1 + values / 2).reshape(shape).astype(np.float32)
    return (values * np.sqrt(1.5 * shape[-1] / max(count, 1))).reshape(shape).astype(np.float32)


def flat_weights(model):
    """Layer after layer, those of models within in their place: the order of the C++ side."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from flat_weights(layer)
        else:
            yield from layer.weights


def data(model, loss):
    xs = []
    for i, tensor in enumerate(model.inputs):
        shape = [SAMPLES] + list(tensor.shape[1:])
        values = numbers(int(np.prod(shape)), 7919 + 10 * i)
        if any(isinstance(layer, L.Embedding) for layer in model.layers):
            values = np.floor((values + 1) / 2 * 11)
        xs.append(values.reshape(shape).astype(np.float32))
    shape = [SAMPLES] + list(model.output_shape[1:])
    values = (numbers(int(np.prod(shape)), 104729) + 1) / 2
    if loss == CLASSES:
        return xs, np.floor((numbers(SAMPLES, 104729) + 1) / 2 * shape[-1]).astype(np.float32)
    return xs, (np.round(values) if loss == BINARY else values).reshape(shape).astype(np.float32)


def shortened(value):
    """Without what says nothing here: the weights are given, and defaults are."""
    if isinstance(value, list):
        return [shortened(element) for element in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, element in value.items():
        if key.endswith("_initializer") or key in ("module", "registered_name", "build_config"):
            continue
        if element is None and key.endswith(("_regularizer", "_constraint")):
            continue
        kept[key] = shortened(element)
    return kept


def steps_of(model, loss):
    """Keras's train_step and test_step, made once for all optimizers."""
    model.compile(loss=loss)

    @tf.function
    def gradients(xs, y):
        with tf.GradientTape() as tape:
            output = model(xs if len(xs) > 1 else xs[0], training=True)
            value = model.compiled_loss(y, output, regularization_losses=model.losses)
        return value, tape.gradient(value, model.trainable_variables)

    @tf.function
    def evaluate(xs, y):
        output = model(xs if len(xs) > 1 else xs[0], training=False)
        return model.compiled_loss(y, output, regularization_losses=model.losses)

    return gradients, evaluate


def losses_of(model, steps, optimizer, xs, y):
    gradients, evaluate = steps
    kept = []
    for step in range(STEPS):
        at = step % (SAMPLES // BATCH) * BATCH
        value, slopes = gradients([tf.constant(x[at:at + BATCH]) for x in xs],
                                  tf.constant(y[at:at + BATCH]))
        optimizer.apply_gradients(zip(slopes, model.trainable_variables))
        if step + 1 in KEPT_STEPS:
            kept.append(float("%.7g" % value))
    return kept + [float("%.7g" % evaluate([tf.constant(x) for x in xs], tf.constant(y)))]


def main():
    entries = []
    for name in sys.argv[1:] or MODELS:
        loss, build = MODELS[name]
        keras.backend.clear_session()
        model = build()
        weights = list(flat_weights(model))
        xs, y = data(model, loss)
        entry = {"name": name, "loss": loss, "losses": {},
                 "model": shortened(json.loads(model.to_json()))}
        entry["model"].pop("backend", None)
        steps = steps_of(model, loss)
        for label, optimizer in optimizers().items():
            for i, w in enumerate(weights):
                w.assign(weight(i, w.name, w.shape.as_list()))
            entry["losses"][label] = losses_of(model, steps, optimizer, xs, y)
        entries.append(entry)
        print(name, entry["losses"]["Adam"], file=sys.stderr)
    unused = ("name", "use_ema", "ema_momentum", "ema_overwrite_frequency", "jit_compile",
              "is_legacy_optimizer")
    configs = {}
    for label, optimizer in optimizers().items():
        config = {k: v for k, v in optimizer.get_config().items() if v is not None and k not in unused}
        configs[label] = {"class_name": type(optimizer).__name__, "config": config}
    document = {"steps": STEPS, "batch": BATCH, "samples": SAMPLES, "kept_steps": KEPT_STEPS,
                "optimizers": configs}
    print(json.dumps(document, default=float)[:-1] + ', "models": [')
    print(",\n".join(json.dumps(entry, separators=(",", ":"), default=float) for entry in entries))
    print("]}")


if __name__ == "__main__":
    main()
