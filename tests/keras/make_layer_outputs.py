#!/usr/bin/env python3
"""Writes layer_outputs.jsonl: what real Keras 2 makes of small inputs, a layer a line, for
src/trainer_torch/keras_layers_test.cc, which fills input and weights by the same formulas.

    pip install "tensorflow-cpu==2.15.*" && python tests/keras/make_layer_outputs.py
"""

import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

L = tf.keras.layers
LINE, IMAGE, VOLUME = (7, 3), (6, 5, 3), (4, 5, 6, 2)

CASES = [
    (LINE, lambda: L.Conv1D(4, 3, padding="causal", dilation_rate=2)),
    (LINE, lambda: L.Conv1D(4, 2, strides=2, padding="same", activation="tanh")),
    ((8, 4), lambda: L.Conv1D(6, 3, groups=2)),
    (IMAGE, lambda: L.Conv2D(4, 3, strides=2, padding="same", activation="softmax")),
    (IMAGE, lambda: L.Conv2D(4, (2, 3), dilation_rate=2, use_bias=False)),
    (VOLUME, lambda: L.Conv3D(3, (2, 3, 2), padding="same", activation="relu")),
    (VOLUME, lambda: L.Conv3D(3, 2, strides=(1, 2, 2))),
    (LINE, lambda: L.Conv1DTranspose(4, 3, strides=2, padding="same")),
    (LINE, lambda: L.Conv1DTranspose(4, 2, strides=3)),
    ((3, 4, 3), lambda: L.Conv2DTranspose(4, 3, strides=2, padding="same")),
    ((3, 4, 3), lambda: L.Conv2DTranspose(4, 3, strides=2)),
    ((3, 4, 3), lambda: L.Conv2DTranspose(2, (3, 2), strides=(2, 3), padding="same", use_bias=False)),
    ((3, 4, 3), lambda: L.Conv2DTranspose(4, 3, strides=2, padding="same", output_padding=1)),
    ((3, 4, 3), lambda: L.Conv2DTranspose(4, 4, strides=2, padding="valid", output_padding=0)),
    ((2, 3, 4, 2), lambda: L.Conv3DTranspose(2, 3, strides=2, padding="same")),
    (IMAGE, lambda: L.DepthwiseConv2D(3, depth_multiplier=2, padding="same")),
    (IMAGE, lambda: L.DepthwiseConv2D((2, 3), strides=2, activation="elu")),
    (LINE, lambda: L.DepthwiseConv1D(3, depth_multiplier=2)),
    (LINE, lambda: L.SeparableConv1D(4, 3, padding="same")),
    (IMAGE, lambda: L.SeparableConv2D(4, 3, depth_multiplier=2, strides=2, padding="same")),
    (IMAGE, lambda: L.SeparableConv2D(4, 2, activation="relu", use_bias=False)),
    (LINE, lambda: L.LocallyConnected1D(4, 3, strides=2, activation="tanh")),
    (IMAGE, lambda: L.LocallyConnected2D(4, (3, 2))),
    ((3, 6, 5), lambda: L.LocallyConnected2D(4, 3, data_format="channels_first")),
    (LINE, lambda: L.MaxPooling1D(3, padding="same")),
    (LINE, lambda: L.AveragePooling1D(3, strides=2, padding="same")),
    (IMAGE, lambda: L.MaxPooling2D((2, 3), strides=1, padding="same")),
    (IMAGE, lambda: L.AveragePooling2D(3, strides=2, padding="same")),
    (VOLUME, lambda: L.MaxPooling3D(2, padding="same")),
    (VOLUME, lambda: L.AveragePooling3D((2, 3, 3), strides=2, padding="same")),
    (LINE, lambda: L.GlobalMaxPooling1D()),
    (LINE, lambda: L.GlobalAveragePooling1D(keepdims=True)),
    (IMAGE, lambda: L.GlobalMaxPooling2D(keepdims=True)),
    (VOLUME, lambda: L.GlobalAveragePooling3D()),
    (VOLUME, lambda: L.GlobalMaxPooling3D()),
    (LINE, lambda: L.ZeroPadding1D((1, 2))),
    (IMAGE, lambda: L.ZeroPadding2D(((1, 0), (2, 3)))),
    ((2, 3, 2, 2), lambda: L.ZeroPadding3D((1, 0, 2))),
    (LINE, lambda: L.Cropping1D((2, 1))),
    (IMAGE, lambda: L.Cropping2D(((1, 2), (0, 1)))),
    ((2, 6, 5), lambda: L.Cropping2D((2, 1), data_format="channels_first")),
    (VOLUME, lambda: L.Cropping3D(1)),
    (LINE, lambda: L.UpSampling1D(3)),
    (IMAGE, lambda: L.UpSampling2D((2, 3))),
    (IMAGE, lambda: L.UpSampling2D(2, interpolation="bilinear")),
    (VOLUME, lambda: L.UpSampling3D((1, 2, 2))),
    (IMAGE, lambda: L.Resizing(9, 4)),
    (IMAGE, lambda: L.Resizing(4, 9, interpolation="nearest")),
    (IMAGE, lambda: L.Permute((3, 1, 2))),
    (IMAGE, lambda: L.BatchNormalization()),
    ((3, 6, 5), lambda: L.BatchNormalization(axis=1, scale=False)),
    (IMAGE, lambda: L.LayerNormalization()),
    (IMAGE, lambda: L.LayerNormalization(axis=[1, 2], epsilon=1e-5)),
    ((6, 5, 4), lambda: L.GroupNormalization(groups=2)),
    ((6, 5, 4), lambda: L.GroupNormalization(groups=-1, axis=1, center=False)),
    (LINE, lambda: L.UnitNormalization(axis=[1, 2])),
    (LINE, lambda: L.LeakyReLU(0.2)),
    (LINE, lambda: L.ELU(0.7)),
    (LINE, lambda: L.ThresholdedReLU(0.4)),
    (LINE, lambda: L.ReLU(max_value=0.6, negative_slope=0.1, threshold=0.2)),
    (LINE, lambda: L.PReLU()),
    (IMAGE, lambda: L.PReLU(shared_axes=[1, 2])),
    (IMAGE, lambda: L.Softmax(axis=1)),
    (LINE, lambda: L.Rescaling(0.5, offset=-1)),
    (LINE, lambda: L.GaussianNoise(0.5)),
    (LINE, lambda: L.GaussianDropout(0.5)),
    (LINE, lambda: L.AlphaDropout(0.5)),
    (IMAGE, lambda: L.SpatialDropout2D(0.5)),
    (LINE, lambda: L.ActivityRegularization(0.5, 0.25)),
    (IMAGE, lambda: L.RandomFlip("horizontal")),
    (IMAGE, lambda: L.RandomRotation(0.2)),
    (IMAGE, lambda: L.RandomCrop(3, 4)),
] + [
    (LINE, lambda name=name: L.Dense(4, activation=name))
    for name in ("relu", "sigmoid", "tanh", "softmax", "elu", "selu", "softplus", "softsign",
                 "swish", "exponential", "hard_sigmoid", "gelu", "linear")
]


def numbers(count, factor, modulus):
    """As Numbers() in keras_layers_test.cc: within [-1, 1)."""
    return (np.arange(count, dtype=np.int64) * factor % modulus).astype(np.float64) / modulus * 2 - 1


def weight(variable, start):
    values = numbers(start + int(np.prod(variable.shape)), 104729, 997)[start:]
    if "variance" in variable.name:
        values = np.abs(values) + 0.5
    return values.astype(np.float32).reshape(variable.shape)


def main():
    path = os.path.join(os.path.dirname(__file__), "layer_outputs.jsonl")
    with open(path, "w") as file:
        for shape, make in CASES:
            tf.keras.backend.clear_session()
            model = tf.keras.Sequential([tf.keras.Input(shape, name="in"), make()])
            start, values = 0, []
            for variable in model.weights:
                values.append(weight(variable, start))
                start += int(np.prod(variable.shape))
            model.set_weights(values)
            x = numbers(2 * int(np.prod(shape)), 7919, 1009).astype(np.float32)
            # Not predict(): oneDNN and graphs round in other ways.
            y = np.asarray(model(x.reshape((2, *shape)), training=False))
            if y.size > 2000:
                raise SystemExit(f"{model.layers[-1].name}: {y.size} numbers; make it smaller")
            line = {"model": json.loads(model.to_json()), "shape": list(y.shape[1:]),
                    "y": [float(f"{v:.9g}") for v in y.astype(np.float64).ravel()]}
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
    print(f"{len(CASES)} layers in {path}, {os.path.getsize(path):,} bytes")


if __name__ == "__main__":
    main()
