#!/usr/bin/env python3
"""Writes graphs.json: small models that are more than a chain, with what Keras computes.

    make_graphs.py > graphs.json        (TensorFlow 2.15)

Each entry has the architecture, the weights one behind the other (of every layer in
order, those of a model within the model in its place), samples in which the inputs lie
one behind the other, and the outputs likewise. Entries of one output also have targets,
and loss and weights after one step of SGD on the mean squared error.
"""

import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf

keras = tf.keras
L = keras.layers
SAMPLES = 3


def residual():
    x = L.Input((6, 6, 2))
    a = L.Conv2D(2, 3, padding="same", activation="relu")(x)
    a = L.Conv2D(2, 3, padding="same")(a)
    y = L.Activation("relu")(L.Add()([a, x]))
    return keras.Model(x, L.Dense(2)(L.Flatten()(y)))


def inception():
    x = L.Input((6, 6, 2))
    a = L.Conv2D(2, 1, activation="relu")(x)
    b = L.Conv2D(3, 3, padding="same", activation="relu")(x)
    c = L.MaxPooling2D(3, strides=1, padding="same")(b)
    y = L.Concatenate()([a, b, c])
    z = L.Concatenate(axis=1)([y, y])
    return keras.Model(x, L.GlobalAveragePooling2D()(z))


def arithmetic():
    x = L.Input((4, 3))
    y = L.Input((3,))
    a = L.Dense(3)(x)
    parts = [L.Subtract()([a, x]), L.Multiply()([a, y]), L.Average()([a, x, y]),
             L.Maximum()([a, x]), L.Minimum()([a, y])]
    return keras.Model([x, y], L.Concatenate(axis=-1)(parts))


def dots():
    x = L.Input((4, 3))
    y = L.Input((5, 3))
    a = L.Dot(axes=2)([x, y])
    b = L.Dot(axes=(-1, 2), normalize=True)([x, y])
    u = L.Flatten()(a)
    v = L.Flatten()(b)
    return keras.Model([x, y], L.Concatenate()([L.Dot(axes=1)([u, v]), u, v]))


def shared():
    x = L.Input((4,))
    y = L.Input((4,))
    dense = L.Dense(3, activation="tanh")
    again = L.Dense(3, activation="sigmoid")
    a, b = dense(x), dense(y)
    return keras.Model([x, y], L.Multiply()([again(a), again(again(b))]))


def two_outputs():
    x = L.Input((4,))
    y = L.Input((2, 2))
    a = L.Dense(3, activation="relu")(x)
    b = L.Add()([a, L.Dense(3)(L.Flatten()(y))])
    return keras.Model([y, x], [b, L.Dense(2, activation="softmax")(b), a])


def nested():
    u = L.Input((4,))
    v = L.Input((4,))
    hidden = L.Dense(5, activation="relu")(u)
    inner = keras.Model([u, v], [L.Dense(3)(hidden), L.Subtract()([u, v])], name="inner")
    head = keras.Sequential([L.Dense(4, input_shape=(3,), activation="tanh"), L.Dense(4)],
                            name="head")
    x = L.Input((4,))
    a, b = inner([x, x])
    c = head(a)
    d, e = inner([c, b])
    return keras.Model(x, L.Concatenate()([d, e, head(d)]))


def sequential_within():
    first = keras.Sequential([L.Conv2D(3, 3, input_shape=(6, 6, 2)), L.BatchNormalization()],
                             name="first")
    return keras.Sequential([first, keras.Sequential([L.Flatten(), L.Dense(3)], name="second"),
                             L.Dense(2)])


def any_size():
    x = L.Input((None, None, 3))
    a = L.Conv2D(4, 3, padding="same", activation="relu")(x)
    return keras.Model(x, L.GlobalAveragePooling2D()(L.Concatenate()([a, x])))


def self_attention():
    x = L.Input((5, 6))
    a = L.MultiHeadAttention(2, 3, value_dim=4)(x, x, use_causal_mask=True)
    return keras.Model(x, L.Add()([x, a]))


def cross_attention():
    q, v, k = L.Input((5, 6)), L.Input((4, 3)), L.Input((4, 2))
    a = L.MultiHeadAttention(3, 2, output_shape=4, use_bias=False)(q, v, key=k)
    b = L.MultiHeadAttention(1, 3)(q, v)
    return keras.Model([q, v, k], L.Concatenate()([a, b]))


def transformer():
    x = L.Input((6,), dtype="int32")
    h = L.Embedding(9, 8, mask_zero=True)(x)
    for _ in range(2):
        a = L.MultiHeadAttention(2, 4)(h, h)
        h = L.LayerNormalization()(L.Add()([h, a]))
        a = L.Dense(8)(L.Dense(6, activation="gelu")(h))
        h = L.LayerNormalization(epsilon=1e-6)(L.Add()([h, a]))
    return keras.Model(x, L.Dense(3, activation="softmax")(L.GlobalAveragePooling1D()(h)))


def flat_layers(model):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from flat_layers(layer)
        else:
            yield layer


def flat_weights(model):
    return np.concatenate([w.ravel() for layer in flat_layers(model) for w in layer.get_weights()]
                          or [np.zeros(0)])


def numbers(array):
    return [float("%.9g" % v) for v in np.asarray(array, np.float32).ravel()]


def joined(arrays):
    return np.concatenate([np.asarray(a).reshape(SAMPLES, -1) for a in arrays], axis=1)


def entry(build):
    keras.backend.clear_session()
    random = np.random.RandomState(7)
    model = build()
    for layer in flat_layers(model):
        layer.set_weights([random.uniform(0.2 if "variance" in w.name else -0.7, 0.7,
                                          w.shape).astype("float32") for w in layer.weights])
    shapes = [[5 if axis is None else axis for axis in t.shape[1:]] for t in model.inputs]
    xs = [random.randint(0, 9, [SAMPLES] + shape) if t.dtype == "int32" else
          random.uniform(-1, 1, [SAMPLES] + shape).astype("float32")
          for t, shape in zip(model.inputs, shapes)]
    outputs = model.predict(xs if len(xs) > 1 else xs[0], verbose=0)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    result = {"name": build.__name__, "architecture": json.loads(model.to_json()),
              "input_shapes": shapes, "samples": SAMPLES, "weights": numbers(flat_weights(model)),
              "x": numbers(joined(xs)), "outputs": numbers(joined(outputs))}
    if len(outputs) == 1:
        y = random.uniform(-1, 1, outputs[0].shape).astype("float32")
        model.compile(keras.optimizers.SGD(0.1), "mse")
        loss = model.train_on_batch(xs if len(xs) > 1 else xs[0], y)
        result.update(y=numbers(y), loss=float(loss), trained=numbers(flat_weights(model)))
    return result


BUILDERS = [residual, inception, arithmetic, dots, shared, two_outputs, nested,
            sequential_within, any_size, self_attention, cross_attention, transformer]
json.dump([entry(build) for build in BUILDERS], sys.stdout, separators=(",", ":"))
sys.stdout.write("\n")
