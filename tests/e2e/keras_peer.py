"""Run by a Python with Keras 3, onnx, onnxruntime and safetensors: makes models with it,
and checks what dnc makes of them.

    keras_peer.py make FOLDER      # FOLDER/<name>.keras, .x.npy, .y.npy of each model
    keras_peer.py check FOLDER     # the files that dnc converted each to
"""

import os
import sys

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras  # noqa: E402
import numpy  # noqa: E402
from keras import layers  # noqa: E402


def chain(shape, *parts):
    return keras.Sequential([keras.Input(shape), *parts])


def models():
    yield "dense", chain((5,), layers.Dense(7, "relu"), layers.Dropout(0.5),
                         layers.Dense(3, "softmax"))
    yield "image", chain((12, 11, 3), layers.Rescaling(1 / 3, offset=-0.1),
                         layers.Conv2D(4, 3, padding="same", strides=2, activation="relu"),
                         layers.BatchNormalization(), layers.MaxPooling2D(2, padding="same"),
                         layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"),
                         layers.SeparableConv2D(5, 2), layers.AveragePooling2D(2, padding="same"),
                         layers.Flatten(), layers.Dense(4, "gelu"), layers.Dense(2))
    yield "signal", chain((20, 3), layers.Conv1D(4, 3, padding="causal", dilation_rate=2),
                          layers.LeakyReLU(), layers.ZeroPadding1D(2), layers.Cropping1D((1, 2)),
                          layers.UpSampling1D(2), layers.MaxPooling1D(3),
                          layers.LayerNormalization(), layers.GlobalMaxPooling1D(),
                          layers.Dense(3, "selu"))
    yield "decoder", chain((4, 4, 2), layers.Conv2DTranspose(3, 3, strides=2, padding="same"),
                           layers.ELU(), layers.Conv2DTranspose(2, 2, strides=3), layers.PReLU(),
                           layers.Permute((3, 1, 2)), layers.Reshape((2, -1)),
                           layers.Dense(2, "swish"))
    inputs = keras.Input((6,), name="features")
    hidden = layers.Dense(8, "tanh", name="z_first")(inputs)
    hidden = layers.Dense(8, "softplus", name="a_second")(hidden)
    yield "functional", keras.Model(inputs, layers.Dense(2, "sigmoid")(hidden))
    inputs = keras.Input((4, 3))
    hidden = layers.Dense(3)(inputs)
    both = [inputs, hidden]
    yield "merges", keras.Model(inputs, layers.Concatenate(axis=1)([
        layers.Add()(both), layers.Subtract()(both), layers.Multiply()([*both, inputs]),
        layers.Average()(both), layers.Maximum()(both), layers.Minimum()(both)]))


def make(folder):
    random = numpy.random.default_rng(5)
    for name, model in models():
        for weight in model.weights:  # Also biases and moving statistics, which begin alike.
            if "seed" not in weight.path:
                weight.assign(random.uniform(0.1, 0.9, weight.shape))
        model.compile("adam", "mse", metrics=["accuracy"])
        x = random.normal(size=(9, *model.input_shape[1:])).astype(numpy.float32)
        model.save(os.path.join(folder, name + ".keras"))
        numpy.save(os.path.join(folder, name + ".x.npy"), x)
        numpy.save(os.path.join(folder, name + ".y.npy"), model.predict(x, verbose=0))


def check(folder):
    import onnx
    import onnxruntime
    import safetensors.numpy

    for name, original in models():
        def path(ending, name=name):
            return os.path.join(folder, name + ending)

        x, y = numpy.load(path(".x.npy")), numpy.load(path(".y.npy"))
        predicted = {}
        for ending in (".again.keras", ".h5"):
            model = keras.models.load_model(path(ending))
            assert model.optimizer is not None and model.optimizer.name.lower() == "adam", path(ending)
            predicted[ending] = model.predict(x, verbose=0)
        with open(path(".json")) as file:
            model = keras.models.model_from_json(file.read())
        model.load_weights(path(".h5"))
        predicted[".json"] = model.predict(x, verbose=0)
        onnx.checker.check_model(path(".onnx"), full_check=True)
        session = onnxruntime.InferenceSession(path(".onnx"), providers=["CPUExecutionProvider"])
        predicted[".onnx"] = session.run(None, {session.get_inputs()[0].name: x})[0]
        for ending, values in predicted.items():
            numpy.testing.assert_allclose(values, y, rtol=1e-5, atol=1e-5, err_msg=path(ending))

        tensors = safetensors.numpy.load_file(path(".safetensors"))
        arrays = numpy.load(path(".npz"))
        assert set(tensors) == set(arrays.files), name
        for key, value in tensors.items():
            numpy.testing.assert_array_equal(arrays[key], value)
        assert sum(value.size for value in tensors.values()) == original.count_params(), name
        safetensors.numpy.save_file(tensors, path(".peer.safetensors"))
        numpy.savez_compressed(path(".peer.npz"), **arrays)


if __name__ == "__main__":
    {"make": make, "check": check}[sys.argv[1]](sys.argv[2])
