"""Prints the figures of src/trainer_torch/keras_figures.h: what real Keras computes.

Run with Keras 2.15 (TensorFlow 2.15):
    python tests/keras/make_compile_figures.py > src/trainer_torch/keras_figures.h
"""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import json
import textwrap

import keras
import numpy as np
import tensorflow as tf

WEIGHTS = [1.0, -0.5, 0.25]
GRADIENTS = [[0.5, -1.5, 0.0], [-0.25, 0.5, 0.01], [1.0, 2.0, 0.0], [0.1, -0.3, -2.0],
             [0.7, 0.0, 0.5]]
S = keras.optimizers.schedules
NEW = keras.optimizers
OLD = keras.optimizers.legacy

OPTIMIZERS = [
    NEW.SGD(0.1),
    NEW.SGD(0.1, momentum=0.9),
    NEW.SGD(0.1, momentum=0.9, nesterov=True),
    NEW.SGD(0.1, weight_decay=0.05),
    NEW.SGD(0.1, clipvalue=0.4),
    NEW.SGD(0.1, clipnorm=0.5),
    NEW.Adam(0.1),
    NEW.Adam(0.1, beta_2=0.5, epsilon=0.1, amsgrad=True),
    NEW.AdamW(0.1),
    NEW.AdamW(0.1, weight_decay=0.2, amsgrad=True),
    NEW.RMSprop(0.1, epsilon=0.1),
    NEW.RMSprop(0.1, epsilon=0.1, momentum=0.5),
    NEW.RMSprop(0.1, epsilon=0.1, centered=True),
    NEW.RMSprop(0.1, rho=0.7, epsilon=0.1, momentum=0.5, centered=True),
    NEW.Adagrad(0.1, epsilon=0.1),
    NEW.Adagrad(0.1, initial_accumulator_value=0.5),
    NEW.Adadelta(1.0),
    NEW.Adadelta(0.5, rho=0.8, epsilon=0.1),
    NEW.Adamax(0.1, epsilon=0.1),
    NEW.Nadam(0.1, epsilon=0.1),
    NEW.Ftrl(0.1),
    NEW.Ftrl(0.1, learning_rate_power=-0.7, l1_regularization_strength=0.1,
             l2_regularization_strength=0.2, l2_shrinkage_regularization_strength=0.3, beta=0.4),
    NEW.Lion(0.1),
    OLD.SGD(0.1, momentum=0.9, nesterov=True, decay=0.5),
    OLD.Adam(0.1, decay=0.1, epsilon=0.1),
    OLD.RMSprop(0.1, epsilon=0.1, decay=0.1),
    OLD.RMSprop(0.1, epsilon=0.1, momentum=0.5, centered=True),
    OLD.RMSprop(0.1, epsilon=0.1, centered=True),
    OLD.Adagrad(0.1, epsilon=0.1),
    OLD.Adadelta(1.0, rho=0.8, epsilon=0.1),
    OLD.Adamax(0.1, epsilon=0.1),
    OLD.Nadam(0.1, epsilon=0.1),
    OLD.Ftrl(0.1, l1_regularization_strength=0.1, l2_regularization_strength=0.2,
             l2_shrinkage_regularization_strength=0.3, beta=0.4),
]

SCHEDULES = [
    S.ExponentialDecay(0.1, 3, 0.5),
    S.ExponentialDecay(0.1, 3, 0.5, staircase=True),
    S.PiecewiseConstantDecay([2, 5], [0.3, 0.2, 0.1]),
    S.PolynomialDecay(0.1, 5, 0.01, power=2.0),
    S.PolynomialDecay(0.1, 3, 0.01, power=0.5, cycle=True),
    S.InverseTimeDecay(0.1, 2, 0.5),
    S.InverseTimeDecay(0.1, 2, 0.5, staircase=True),
    S.CosineDecay(0.1, 6, alpha=0.1),
    S.CosineDecay(0.01, 4, warmup_target=0.1, warmup_steps=3),
    S.CosineDecayRestarts(0.1, 2, t_mul=2.0, m_mul=0.9, alpha=0.05),
    S.CosineDecayRestarts(0.1, 3, t_mul=1.0, m_mul=0.5),
]
STEPS = [0, 1, 2, 3, 4, 5, 6, 9, 14, 30, 1000]

L = keras.losses
P = [[0.2, 0.5, 0.3], [0.9, 0.05, 0.05]]  # As probabilities.
R = [[1.5, -2.0, 0.3], [-0.7, 3.0, 0.1]]  # As any numbers.
Y = [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
Z = [[1.0, -1.0, 0.5], [2.0, 0.0, -3.0]]
SUM = "sum"
UNUSED = ("name", "use_ema", "ema_momentum", "ema_overwrite_frequency", "jit_compile")
LOSSES = [
    (L.CategoricalCrossentropy(), P, Y),
    (L.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1), R, Y),
    (L.CategoricalCrossentropy(label_smoothing=0.2, reduction=SUM), P, Y),
    (L.BinaryCrossentropy(), P, Y),
    (L.BinaryCrossentropy(from_logits=True, label_smoothing=0.1), R, Y),
    (L.BinaryCrossentropy(label_smoothing=0.3, reduction=SUM), P, Y),
    (L.MeanSquaredError(), R, Z),
    (L.MeanSquaredError(reduction=SUM), R, Z),
    (L.MeanAbsoluteError(), R, Z),
    (L.MeanAbsolutePercentageError(), R, [[1.0, -1.0, 0.5], [2.0, 4.0, -3.0]]),
    (L.MeanSquaredLogarithmicError(), R, Z),
    (L.Hinge(), R, Y),
    (L.Hinge(), R, Z),
    (L.SquaredHinge(), R, Y),
    (L.CategoricalHinge(), R, Y),
    (L.Huber(), R, Z),
    (L.Huber(delta=2.0, reduction=SUM), R, Z),
    (L.LogCosh(), R, Z),
    (L.Poisson(), P, Y),
    (L.KLDivergence(), P, [[0.1, 0.8, 0.1], [0.0, 0.0, 1.0]]),
    (L.CosineSimilarity(), R, Z),
]


def number(value):
    return str(np.float32(value)) + "f"


def wrapped(line):
    return textwrap.fill(line, 94, subsequent_indent="      ", break_long_words=False,
                         break_on_hyphens=False)


def numbers(values):
    return wrapped("{" + ", ".join(number(v) for v in np.ravel(values)) + "}")


def text(value):
    kept = {k: v for k, v in value["config"].items() if v is not None and k not in UNUSED}
    value = {"class_name": value["class_name"], "config": kept}
    return wrapped('R"(' + json.dumps(value, default=float) + ')"')


def optimizer_steps(optimizer):
    variable = tf.Variable(WEIGHTS)
    steps = []
    for gradient in GRADIENTS:
        optimizer.apply_gradients([(tf.constant(gradient), variable)])
        steps.append(variable.numpy())
    return steps


def main():
    print("// What Keras", keras.__version__, "computes;",
          "made by tests/keras/make_compile_figures.py.")
    print("\n#pragma once\n\n#include <vector>\n\nnamespace dnc::trainer_torch {\n")
    print("// clang-format off")
    print("inline const std::vector<float> kFigureWeights =", numbers(WEIGHTS) + ";")
    print("inline const std::vector<float> kFigureGradients =\n   ", numbers(GRADIENTS) + ";\n")
    print("struct OptimizerFigure {\n  const char* optimizer;\n  std::vector<float> weights;\n};\n")
    print("inline const OptimizerFigure kOptimizerFigures[] = {")
    for optimizer in OPTIMIZERS:
        config = {"class_name": type(optimizer).__name__, "config": optimizer.get_config()}
        print("    {" + text(config) + ",\n     " + numbers(optimizer_steps(optimizer)) + "},")
    print("};\n")
    print("struct ScheduleFigure {\n  const char* schedule;\n  std::vector<float> rates;\n};\n")
    print("inline const std::vector<int> kFigureSteps =", "{" + ", ".join(map(str, STEPS)) + "};")
    print("inline const ScheduleFigure kScheduleFigures[] = {")
    for schedule in SCHEDULES:
        config = {"class_name": type(schedule).__name__, "config": schedule.get_config()}
        rates = [schedule(tf.constant(step, tf.int64)).numpy() for step in STEPS]
        print("    {" + text(config) + ",\n     " + numbers(rates) + "},")
    print("};\n")
    print("struct LossFigure {\n  const char* loss;\n  std::vector<float> output, target;")
    print("  float value;\n  std::vector<float> gradient;\n};\n")
    print("inline const LossFigure kLossFigures[] = {")
    for loss, output, target in LOSSES:
        config = {"class_name": type(loss).__name__, "config": loss.get_config()}
        config["config"].pop("fn", None)
        p = tf.Variable(output)
        with tf.GradientTape() as tape:
            value = loss(tf.constant(target), p)
        print("    {" + text(config) + ",\n     " + numbers(output) + ",\n     " + numbers(target)
              + ",\n     " + number(value) + ",\n     " + numbers(tape.gradient(value, p)) + "},")
    print("};\n// clang-format on\n\n}  // namespace dnc::trainer_torch")


main()
