#!/usr/bin/env python3
"""Writes recurrent_outputs.jsonl: what real Keras 2 computes with layers of sequences, a
model a line, for src/trainer_torch/recurrent_test.cc.

    pip install "tensorflow-cpu==2.15.*" && python tests/keras/make_recurrent_outputs.py

Weights come from a formula that the test knows too. Written down are the input, the
outputs, and all weights after one step of SGD on the mean squared error against zeros.
"""

import json
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

layers = tf.keras.layers

SAMPLES = 3
LEARNING_RATE = 0.5


def numbers(count, factor):
    """As Numbers() in recurrent_test.cc: from -0.5 to 0.5."""
    return [((i * factor + 11) % 101 - 50) / 100 for i in range(count)]


def padded(x):
    """The last steps of every second sample are zeros, and one in the middle."""
    x = x.copy()
    x[0, -2:] = 0
    x[2, 1] = 0
    return x


def cases():
    units = dict(units=3)
    yield "SimpleRNN", (4, 2), [layers.SimpleRNN(3)]
    yield "SimpleRNN of relu, backwards, all steps", (4, 2), [
        layers.SimpleRNN(3, activation="relu", go_backwards=True, return_sequences=True)]
    yield "LSTM", (4, 2), [layers.LSTM(**units)]
    yield "LSTM with hard_sigmoid, all steps, without bias", (4, 2), [
        layers.LSTM(recurrent_activation="hard_sigmoid", return_sequences=True, use_bias=False,
                    implementation=1, **units)]
    yield "GRU", (4, 2), [layers.GRU(**units)]
    yield "GRU that resets before, backwards", (4, 2), [
        layers.GRU(reset_after=False, go_backwards=True, **units)]
    yield "GRU without bias, all steps", (4, 2), [
        layers.GRU(use_bias=False, return_sequences=True, recurrent_activation="relu", **units)]
    for mode in ["concat", "sum", "mul", "ave"]:
        yield f"Bidirectional LSTM, {mode}", (4, 2), [
            layers.Bidirectional(layers.LSTM(**units), merge_mode=mode)]
        yield f"Bidirectional GRU, {mode}, all steps", (4, 2), [
            layers.Bidirectional(layers.GRU(return_sequences=True, **units), merge_mode=mode)]
    yield "Bidirectional of two kinds", (4, 2), [
        layers.Bidirectional(layers.SimpleRNN(3, return_sequences=True),
                             backward_layer=layers.LSTM(3, return_sequences=True,
                                                        go_backwards=True))]
    yield "TimeDistributed", (4, 2), [
        layers.TimeDistributed(layers.Dense(3, activation="softmax")),
        layers.SimpleRNN(2)]
    yield "TimeDistributed recurrent layers", (2, 3, 2), [
        layers.TimeDistributed(layers.GRU(2)), layers.TimeDistributed(layers.Dense(2))]
    yield "RepeatVector", (5,), [layers.RepeatVector(3), layers.LSTM(2)]
    yield "Masking, SimpleRNN", (4, 2), [layers.Masking(), layers.SimpleRNN(3)]
    yield "Masking, LSTM backwards", (4, 2), [layers.Masking(), layers.LSTM(3, go_backwards=True)]
    yield "Masking, GRU twice", (4, 2), [
        layers.Masking(), layers.GRU(3, return_sequences=True), layers.GRU(2)]
    yield "Masking, Bidirectional twice", (4, 2), [
        layers.Masking(), layers.Bidirectional(layers.LSTM(2, return_sequences=True)),
        layers.Bidirectional(layers.GRU(2))]
    yield "Masking through Dense, Dropout and TimeDistributed", (4, 2), [
        layers.Masking(), layers.Dense(2), layers.Activation("tanh"),
        layers.TimeDistributed(layers.Dense(3)), layers.LSTM(2)]
    yield "Masking that a Reshape ends", (4, 2), [
        layers.Masking(mask_value=0.25), layers.Reshape((2, 4)), layers.LSTM(2)]
    yield "Embedding", (4,), [layers.Embedding(6, 2, input_length=4), layers.LSTM(2)]
    yield "Embedding that masks", (4,), [
        layers.Embedding(6, 2, mask_zero=True), layers.Bidirectional(layers.GRU(2))]
    yield "Embedding in TimeDistributed", (2, 3), [
        layers.TimeDistributed(layers.Embedding(6, 2, mask_zero=True)),
        layers.TimeDistributed(layers.LSTM(2)), layers.SimpleRNN(2)]
    yield "ConvLSTM2D", (3, 4, 5, 2), [layers.ConvLSTM2D(2, 3), layers.Flatten()]
    yield "ConvLSTM2D, strides, same padding, all steps", (2, 5, 4, 1), [
        layers.ConvLSTM2D(2, (2, 3), strides=2, padding="same", return_sequences=True,
                          recurrent_activation="sigmoid")]
    yield "ConvLSTM2D, dilated, backwards, Bidirectional", (2, 5, 5, 1), [
        layers.Bidirectional(layers.ConvLSTM2D(2, 2, dilation_rate=2, go_backwards=False,
                                               return_sequences=True))]


def is_said(key, value):
    """Whether an option says more than that a layer is as most are."""
    return (value is not None and not key.endswith("_initializer") and
            key not in ("trainable", "dtype", "module", "build_config", "stateful", "unroll",
                        "time_major", "return_state"))


def plain(value):
    """A record without Keras's own containers."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if is_said(key, item)}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def record(name, shape, stack):
    tf.keras.backend.clear_session()
    model = tf.keras.Sequential([layers.InputLayer(shape)] + stack)
    weights = []
    for index, weight in enumerate(model.get_weights()):
        weights.append(np.reshape(np.float32(numbers(weight.size, 37 + index)), weight.shape))
    model.set_weights(weights)
    count = SAMPLES * int(np.prod(shape))
    x = np.reshape(np.float32(numbers(count, 29)), (SAMPLES,) + shape)
    if "Embedding" in name:
        x = np.float32(np.reshape([(i * 7 + 3) % 6 for i in range(count)], x.shape))
    if "Masking" in name:
        x = padded(x)
    outputs = model.predict(x, verbose=0)
    model.compile(tf.keras.optimizers.SGD(LEARNING_RATE), "mean_squared_error")
    loss = model.train_on_batch(x, np.zeros_like(outputs))
    after = np.concatenate([weight.ravel() for weight in model.get_weights()])
    listed = [{"class_name": layer.__class__.__name__, "config": plain(layer.get_config())}
              for layer in model.layers]
    listed.insert(0, {"class_name": "InputLayer",
                      "config": {"batch_input_shape": [None, *shape], "name": "in"}})
    config = {"class_name": "Sequential", "config": {"name": "m", "layers": listed}}
    return name, config, x.ravel(), outputs.ravel(), loss, after


def rounded(values):
    return [float(f"{value:.9g}") for value in np.float64(values)]


def main():
    path = os.path.join(os.path.dirname(__file__), "recurrent_outputs.jsonl")
    with open(path, "w") as file:
        for case in cases():
            name, config, x, outputs, loss, after = record(*case)
            line = {"name": name, "model": config, "x": rounded(x), "y": rounded(outputs),
                    "loss": float(loss), "weights_after": rounded(after)}
            file.write(json.dumps(line, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
