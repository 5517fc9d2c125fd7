#include "trainer_torch/stage.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/assert.h"
#include "trainer_torch/layers.h"
#include "trainer_torch/matrix_products.h"

namespace dnc::trainer_torch {

namespace {

using model::Activation;

void AddBias(std::int64_t rows, std::int64_t width, const float* bias, float* values) {
  for (std::int64_t row = 0; row < rows; ++row) {
    float* const v = values + row * width;
    for (std::int64_t i = 0; i < width; ++i) v[i] += bias[i];
  }
}

// With relu, which most hidden layers have, in one pass.
void AddBiasAndRelu(std::int64_t rows, std::int64_t width, const float* bias, float* values) {
  for (std::int64_t row = 0; row < rows; ++row) {
    float* const v = values + row * width;
    for (std::int64_t i = 0; i < width; ++i) {
      const float sum = v[i] + bias[i];
      // Not max(): a NaN passes, as it does in Keras.
      v[i] = sum < 0 ? 0 : sum;
    }
  }
}

void SumRows(std::int64_t rows, std::int64_t width, const float* values, float* sums) {
  std::fill_n(sums, width, 0.0f);
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* const v = values + row * width;
    for (std::int64_t i = 0; i < width; ++i) sums[i] += v[i];
  }
}

class DenseStage final : public Stage {
 public:
  DenseStage(const model::Model& model, const model::Layer& layer, std::int64_t rows,
             Activation activation, const float* weights)
      : rows_(rows),
        inputs_(model.weights[static_cast<std::size_t>(layer.first_weight)].shape[0]),
        units_(layer.units),
        activation_(activation),
        kernel_index_(layer.first_weight),
        bias_index_(layer.use_bias ? layer.first_weight + 1 : -1) {
    const auto values = [&](int weight) {
      return weights + model.weights[static_cast<std::size_t>(weight)].offset;
    };
    kernel_ = values(kernel_index_);
    if (bias_index_ >= 0) bias_ = values(bias_index_);
  }

  void Forward(const Pass& pass, const float* input, float* output) override {
    const std::int64_t rows = pass.samples * rows_;
    Multiply(rows, units_, inputs_, 1, {input, inputs_}, {kernel_, units_}, 0, output);
    if (bias_ != nullptr && activation_ == Activation::kRelu) {
      AddBiasAndRelu(rows, units_, bias_, output);
      return;
    }
    if (bias_ != nullptr) AddBias(rows, units_, bias_, output);
    ActivateRows(activation_, rows, units_, output);
  }

  void Backward(const Pass& pass, const float* input, const float* output, float* gradient,
                float* input_gradient, WeightUpdates* updates) override {
    const std::int64_t rows = pass.samples * rows_;
    ActivationGradient(activation_, rows, units_, output, gradient);
    if (input_gradient != nullptr) {
      Multiply(rows, inputs_, units_, 1, {gradient, units_}, {kernel_, units_, true}, 0,
               input_gradient);
    }
    if (updates->trains(kernel_index_)) {
      const Matrix columns{input, inputs_, true};
      if (updates->adds_directly()) {
        Multiply(inputs_, units_, rows, -updates->rate(), columns, {gradient, units_}, 1,
                 updates->values(kernel_index_));
      } else {
        Multiply(inputs_, units_, rows, 1, columns, {gradient, units_}, 0,
                 updates->GradientOf(kernel_index_));
        updates->Apply(kernel_index_);
      }
    }
    if (bias_index_ >= 0 && updates->trains(bias_index_)) {
      SumRows(rows, units_, gradient, updates->GradientOf(bias_index_));
      updates->Apply(bias_index_);
    }
  }

 private:
  std::int64_t rows_;  // Of a sample.
  std::int64_t inputs_;
  std::int64_t units_;
  Activation activation_;
  int kernel_index_;
  int bias_index_;
  const float* kernel_;
  const float* bias_ = nullptr;
};

class ActivationStage final : public Stage {
 public:
  ActivationStage(Activation activation, std::int64_t rows, std::int64_t width)
      : activation_(activation), rows_(rows), width_(width) {}

  void Forward(const Pass& pass, const float* input, float* output) override {
    std::copy_n(input, pass.samples * rows_ * width_, output);
    ActivateRows(activation_, pass.samples * rows_, width_, output);
  }
  void Backward(const Pass& pass, const float* input, const float* output, float* gradient,
                float* input_gradient, WeightUpdates* updates) override {
    static_cast<void>(input);
    static_cast<void>(updates);
    if (input_gradient == nullptr) return;
    ActivationGradient(activation_, pass.samples * rows_, width_, output, gradient);
    std::copy_n(gradient, pass.samples * rows_ * width_, input_gradient);
  }

 private:
  Activation activation_;
  std::int64_t rows_;
  std::int64_t width_;
};

class DropoutStage final : public Stage {
 public:
  DropoutStage(double rate, std::int64_t count) : rate_(rate), count_(count) {}

  void Reserve(std::int64_t samples) override {
    mask_.resize(static_cast<std::size_t>(samples * count_));
  }
  void Forward(const Pass& pass, const float* input, float* output) override {
    const std::int64_t count = pass.samples * count_;
    if (!pass.training || rate_ <= 0) {
      std::copy_n(input, count, output);
      return;
    }
    FillDropMask(rate_, static_cast<float>(1 / (1 - rate_)), pass.seed,
                 std::span(mask_).first(static_cast<std::size_t>(count)));
    const float* const mask = mask_.data();
    for (std::int64_t i = 0; i < count; ++i) output[i] = input[i] * mask[i];
  }
  void Backward(const Pass& pass, const float* input, const float* output, float* gradient,
                float* input_gradient, WeightUpdates* updates) override {
    static_cast<void>(input);
    static_cast<void>(output);
    static_cast<void>(updates);
    if (input_gradient == nullptr) return;
    const std::int64_t count = pass.samples * count_;
    if (rate_ <= 0) {
      std::copy_n(gradient, count, input_gradient);
      return;
    }
    const float* const mask = mask_.data();
    for (std::int64_t i = 0; i < count; ++i) input_gradient[i] = gradient[i] * mask[i];
  }

 private:
  double rate_;
  std::int64_t count_;  // Of a sample.
  std::vector<float> mask_;
};

class RescalingStage final : public Stage {
 public:
  RescalingStage(double scale, double offset, std::int64_t count)
      : scale_(static_cast<float>(scale)), offset_(static_cast<float>(offset)), count_(count) {}

  void Forward(const Pass& pass, const float* input, float* output) override {
    const std::int64_t count = pass.samples * count_;
    const float scale = scale_;
    const float offset = offset_;
    for (std::int64_t i = 0; i < count; ++i) output[i] = input[i] * scale + offset;
  }
  void Backward(const Pass& pass, const float* input, const float* output, float* gradient,
                float* input_gradient, WeightUpdates* updates) override {
    static_cast<void>(input);
    static_cast<void>(output);
    static_cast<void>(updates);
    if (input_gradient == nullptr) return;
    const std::int64_t count = pass.samples * count_;
    for (std::int64_t i = 0; i < count; ++i) input_gradient[i] = gradient[i] * scale_;
  }

 private:
  float scale_;
  float offset_;
  std::int64_t count_;
};

void SoftmaxGradient(std::int64_t rows, std::int64_t width, const float* output, float* gradient) {
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* const p = output + row * width;
    float* const g = gradient + row * width;
    float sum = 0;
    for (std::int64_t i = 0; i < width; ++i) sum += p[i] * g[i];
    for (std::int64_t i = 0; i < width; ++i) g[i] = p[i] * (g[i] - sum);
  }
}

}  // namespace

bool TakesActivation(Activation activation) {
  return activation == Activation::kLinear || activation == Activation::kRelu ||
         activation == Activation::kSigmoid || activation == Activation::kTanh ||
         activation == Activation::kSoftmax;
}

void ActivateRows(Activation activation, std::int64_t rows, std::int64_t width, float* values) {
  DNC_ASSERT(TakesActivation(activation));
  if (activation == Activation::kLinear) return;
  const at::NoGradGuard no_grad;
  at::Tensor tensor = at::from_blob(values, {rows, width}, at::kFloat);
  if (activation == Activation::kSoftmax) {
    at::softmax_out(tensor, tensor, 1);
  } else {
    Activate(activation, tensor, 1, /*in_place=*/true);
  }
}

void ActivationGradient(Activation activation, std::int64_t rows, std::int64_t width,
                        const float* output, float* gradient) {
  const std::int64_t count = rows * width;
  switch (activation) {
    case Activation::kLinear:
      return;
    case Activation::kRelu:
      for (std::int64_t i = 0; i < count; ++i) gradient[i] = output[i] > 0 ? gradient[i] : 0;
      return;
    case Activation::kSigmoid:
      for (std::int64_t i = 0; i < count; ++i) gradient[i] *= output[i] * (1 - output[i]);
      return;
    case Activation::kTanh:
      for (std::int64_t i = 0; i < count; ++i) gradient[i] *= 1 - output[i] * output[i];
      return;
    case Activation::kSoftmax:
      return SoftmaxGradient(rows, width, output, gradient);
    default:
      DNC_ASSERT(false);
  }
}

std::unique_ptr<Stage> MakeDenseStage(const model::Model& model, const model::Layer& layer,
                                      std::int64_t rows, Activation activation,
                                      const float* weights) {
  return std::make_unique<DenseStage>(model, layer, rows, activation, weights);
}

std::unique_ptr<Stage> MakeActivationStage(Activation activation, std::int64_t rows,
                                           std::int64_t width) {
  return std::make_unique<ActivationStage>(activation, rows, width);
}

std::unique_ptr<Stage> MakeDropoutStage(double rate, std::int64_t count) {
  return std::make_unique<DropoutStage>(rate, count);
}

std::unique_ptr<Stage> MakeRescalingStage(double scale, double offset, std::int64_t count) {
  return std::make_unique<RescalingStage>(scale, offset, count);
}

}  // namespace dnc::trainer_torch
