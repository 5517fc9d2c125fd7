"""Small models of many kinds, for the scripts beside this: some only for Keras 2."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
try:
    import keras
except ImportError:
    raise SystemExit("skipped: there is no Keras here")

L = keras.layers


def chain(shape, *layers):
    return keras.Sequential([L.Input(shape), *layers])


def residual():
    x = L.Input((6, 6, 2))
    y = L.Conv2D(4, 1)(x)
    for _ in range(2):
        a = L.Conv2D(4, 3, padding="same", activation="relu")(y)
        a = L.Conv2D(4, 3, padding="same")(a)
        y = L.Activation("relu")(L.Add()([a, y]))
    return keras.Model(x, L.Dense(3, activation="softmax")(L.GlobalAveragePooling2D()(y)))


def inception():
    x = L.Input((6, 6, 2))
    a = L.Conv2D(2, 1, activation="relu")(x)
    b = L.Conv2D(3, 3, padding="same", activation="tanh")(x)
    c = L.MaxPooling2D(3, strides=1, padding="same")(x)
    y = L.Conv2D(4, 3, strides=2)(L.Concatenate()([a, b, c]))
    return keras.Model(x, L.Dense(3, activation="softmax")(L.Flatten()(y)))


def two_branches():
    x, y = L.Input((5,)), L.Input((4, 3))
    a = L.Dense(6, activation="tanh")(x)
    b = L.Dense(6, activation="sigmoid")(L.Flatten()(y))
    c = L.Concatenate()([L.Multiply()([a, b]), L.Subtract()([a, b]), L.Maximum()([a, b])])
    return keras.Model([x, y], L.Dense(2)(c))


def nested():
    u = L.Input((6,))
    inner = keras.Model(u, L.Dense(6)(L.Dense(8, activation="relu")(u)), name="inner")
    x = L.Input((6,))
    y = L.Average()([inner(x), inner(inner(x))])
    return keras.Model(x, keras.Sequential([L.Dense(4, activation="tanh", input_shape=(6,)),
                                            L.Dense(2)], name="head")(y))


def shared():
    x, y = L.Input((5,)), L.Input((5,))
    tower = L.Dense(6, activation="tanh")
    again = L.Dense(6, activation="swish")
    return keras.Model([x, y], L.Dot(axes=1, normalize=True)([again(tower(x)), again(tower(y))]))


def attention():
    x = L.Input((6, 4))
    h = L.Dense(8)(x)
    a = L.MultiHeadAttention(2, 4)(h, h)
    h = L.LayerNormalization()(L.Add()([h, a]))
    a = L.Dense(8)(L.Dense(12, activation="gelu")(h))
    h = L.LayerNormalization()(L.Add()([h, a]))
    a = L.MultiHeadAttention(1, 3, use_bias=False)(h, x, use_causal_mask=True)
    return keras.Model(x, L.Dense(3, activation="softmax")(L.Flatten()(L.Add()([h, a]))))


def regularized():
    r, c = keras.regularizers, keras.constraints
    return chain((6,),
                 L.Dense(8, activation="tanh", kernel_regularizer=r.L1L2(0.01, 0.02),
                         bias_regularizer=r.L2(0.1), kernel_constraint=c.MaxNorm(0.9)),
                 L.Dense(6, activation="softplus", activity_regularizer=r.L2(0.01),
                         kernel_constraint=c.NonNeg()),
                 L.Dense(2, kernel_constraint=c.UnitNorm()))


CLASSES, MSE, BINARY = "sparse_categorical_crossentropy", "mse", "binary_crossentropy"
MODELS = {
    "mlp": (CLASSES, lambda: chain((6,), L.Dense(10, "relu"), L.Dense(8, "relu"), L.Dense(3, "softmax"))),
    "activations": (MSE, lambda: chain((6,), L.Dense(8, "elu"), L.Dropout(0.0), L.Dense(8, "selu"),
                                       L.Dense(6, "softsign"), L.Dense(5, "hard_sigmoid"), L.Dense(2))),
    "convolutions": (CLASSES, lambda: chain((8, 8, 2), L.Conv2D(4, 3, activation="relu"), L.MaxPooling2D(2),
                                            L.Conv2D(5, 2, strides=2, padding="same"), L.Flatten(),
                                            L.Dense(3, "softmax"))),
    "lines": (MSE, lambda: chain((9, 3), L.Conv1D(5, 3, padding="causal", dilation_rate=2, activation="tanh"),
                                 L.Conv1D(6, 3, groups=1, padding="same"), L.AveragePooling1D(2),
                                 L.GlobalMaxPooling1D(), L.Dense(2))),
    "volumes": (CLASSES, lambda: chain((4, 5, 6, 1), L.Conv3D(3, 2, activation="relu"), L.AveragePooling3D(2),
                                       L.Conv3D(4, 1), L.Flatten(), L.Dense(3, "softmax"))),
    "separable": (CLASSES, lambda: chain((7, 7, 2), L.SeparableConv2D(5, 3, padding="same", activation="relu"),
                                         L.DepthwiseConv2D(3, depth_multiplier=2), L.ReLU(max_value=6.0),
                                         L.GlobalAveragePooling2D(), L.Dense(3, "softmax"))),
    "transposed": (MSE, lambda: chain((3, 3, 2), L.Conv2DTranspose(4, 3, strides=2, padding="same"), L.ELU(),
                                      L.Conv2DTranspose(1, 2, strides=2, activation="sigmoid"))),
    "autoencoder": (BINARY, lambda: chain((6, 6, 1), L.Conv2D(4, 3, padding="same", activation="relu"),
                                          L.MaxPooling2D(2), L.UpSampling2D(2), L.ZeroPadding2D(1),
                                          L.Conv2D(1, 3, activation="sigmoid"))),
    "batchnorm": (CLASSES, lambda: chain((6, 6, 2), L.Conv2D(4, 3, use_bias=False),
                                         L.BatchNormalization(momentum=0.9), L.Activation("relu"), L.Flatten(),
                                         L.Dense(6), L.BatchNormalization(), L.Activation("tanh"),
                                         L.Dense(3, "softmax"))),
    "layernorm": (MSE, lambda: chain((5, 4), L.Dense(8, "relu"), L.LayerNormalization(),
                                     L.GroupNormalization(4), L.Flatten(), L.Dense(2))),
    "lstm": (CLASSES, lambda: chain((7, 3), L.LSTM(5, return_sequences=True), L.LSTM(4), L.Dense(3, "softmax"))),
    "gru": (MSE, lambda: chain((7, 3), L.GRU(5, return_sequences=True), L.GRU(4, reset_after=False), L.Dense(2))),
    "rnn": (MSE, lambda: chain((6, 3), L.SimpleRNN(5, return_sequences=True, go_backwards=True),
                               L.TimeDistributed(L.Dense(4, "relu")), L.Flatten(), L.Dense(2))),
    "bidirectional": (BINARY, lambda: chain((6, 3), L.Bidirectional(L.LSTM(3, return_sequences=True)),
                                            L.Bidirectional(L.GRU(3), merge_mode="sum"), L.Dense(1, "sigmoid"))),
    "embedding": (BINARY, lambda: chain((8,), L.Embedding(11, 5), L.Conv1D(6, 3, activation="relu"),
                                        L.GlobalAveragePooling1D(), L.Dense(1, "sigmoid"))),
    "masked": (CLASSES, lambda: chain((8,), L.Embedding(11, 5, mask_zero=True), L.LSTM(6), L.Dense(3, "softmax"))),
    "residual": (CLASSES, residual),
    "inception": (CLASSES, inception),
    "two_branches": (MSE, two_branches),
    "nested": (MSE, nested),
    "shared": (MSE, shared),
    "attention": (CLASSES, attention),
    "prelu": (MSE, lambda: chain((6, 4), L.Conv1D(5, 3), L.PReLU(shared_axes=[1]), L.Conv1D(4, 2),
                                 L.LeakyReLU(0.2), L.Flatten(), L.Dense(4), L.PReLU(), L.Dense(2))),
    "regularized": (MSE, regularized),
    "local": (CLASSES, lambda: chain((6, 6, 1), L.LocallyConnected2D(3, 3, activation="tanh"), L.Cropping2D(1),
                                     L.SpatialDropout2D(0.0), L.Flatten(), L.Dense(3, "softmax"))),
}
ONLY_KERAS_2 = ["local"]
if not keras.__version__.startswith("2."):
    for name in ONLY_KERAS_2:
        del MODELS[name]
