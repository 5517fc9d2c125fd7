#include "trainer_torch/layers.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "base/assert.h"
#include "base/prng.h"
#include "trainer_torch/pooling.h"

namespace dnc::trainer_torch {

namespace {

using model::Activation;
using model::Layer;
using model::LayerKind;

at::Tensor Dense(const LayerCall& call, const at::Tensor& input) {
  const Layer& layer = *call.layer;
  const at::Tensor& kernel = call.weights[0];
  const at::Tensor rows = input.reshape({-1, kernel.size(0)});
  at::Tensor out = layer.use_bias ? at::addmm(call.weights[1], rows, kernel) : at::mm(rows, kernel);
  if (input.dim() != 2) {
    std::vector<std::int64_t> sizes = input.sizes().vec();
    sizes.back() = kernel.size(1);
    out = out.reshape(sizes);
  }
  return call.skip_activation ? out : Activate(layer.activation, out, -1, true);
}

at::Tensor Conv2D(const LayerCall& call, const at::Tensor& input) {
  const Layer& layer = *call.layer;
  at::Tensor image = ToNchw(input, layer.channels_last);
  const std::array<PadPair, 2> pads = PadsOf(layer, image.size(2), image.size(3));
  std::array<std::int64_t, 2> symmetric{pads[0].before, pads[1].before};
  if (!pads[0].symmetric() || !pads[1].symmetric()) {
    image = Pad(image, pads, 0);
    symmetric = {0, 0};
  }
  // Kernels are (height, width, in, out) in Keras, (out, in, height, width) here.
  const at::Tensor kernel = call.weights[0].permute({3, 2, 0, 1});
  const at::Tensor bias = layer.use_bias ? call.weights[1] : at::Tensor();
  at::Tensor out =
      at::conv2d(image, kernel, bias, layer.strides, symmetric, layer.dilation_rate, layer.groups);
  const bool softmax = layer.activation == Activation::kSoftmax;
  // Elementwise activations come before the view, so that they can work in place.
  if (!call.skip_activation && !softmax) out = Activate(layer.activation, out, 1, true);
  out = FromNchw(out, layer.channels_last);
  if (!call.skip_activation && softmax) out = at::softmax(out, -1);
  return out;
}

at::Tensor Flatten(const Layer& layer, const at::Tensor& input) {
  // As Keras does: channels_first data is flattened in channels_last order.
  if (!layer.channels_last && input.dim() > 2) {
    return input.movedim(1, -1).reshape({input.size(0), -1});
  }
  return input.reshape({input.size(0), -1});
}

at::Tensor Reshape(const Layer& layer, const at::Tensor& input) {
  std::vector<std::int64_t> sizes{input.size(0)};
  sizes.insert(sizes.end(), layer.output_shape.begin(), layer.output_shape.end());
  return input.reshape(sizes);
}

// Our own generator, whose numbers are the same with every libtorch and any number
// of threads, and which is faster than libtorch's for this.
at::Tensor Dropout(const LayerCall& call, const at::Tensor& input) {
  const double rate = call.layer->rate;
  if (!call.training || rate <= 0) return input;
  if (rate >= 1) return at::zeros_like(input);
  const auto threshold = static_cast<std::uint64_t>(rate * 0x1p32);
  const auto kept = static_cast<float>(1 / (1 - rate));
  at::Tensor mask = at::empty(input.sizes(), at::kFloat);
  float* const values = mask.data_ptr<float>();
  const std::int64_t count = mask.numel();
  Prng prng(call.seed);
  for (std::int64_t i = 0; i < count; i += 2) {
    const std::uint64_t bits = prng.Next();
    values[i] = (bits >> 32) < threshold ? 0.0f : kept;
    if (i + 1 < count) values[i + 1] = (bits & 0xffffffffu) < threshold ? 0.0f : kept;
  }
  return input * mask;
}

// Normalizes over axis 1 of (N, C) or (N, C, ...). Keras's moving variance takes
// Bessel's correction where TensorFlow uses its fused kernel, which is for images
// (rank 4 with the batch), and the plain variance elsewhere; so it is here.
at::Tensor NormalizeAxis1(const LayerCall& call, const at::Tensor& input) {
  const Layer& layer = *call.layer;
  std::size_t next = 0;
  const at::Tensor gamma = layer.scale ? call.weights[next++] : at::Tensor();
  const at::Tensor beta = layer.center ? call.weights[next++] : at::Tensor();
  at::Tensor moving_mean = call.weights[next];
  at::Tensor moving_variance = call.weights[next + 1];
  const double keep = layer.momentum;
  const std::int64_t count = input.numel() / std::max<std::int64_t>(input.size(1), 1);
  if (!call.training || !layer.trainable) {
    return at::batch_norm(input, gamma, beta, moving_mean, moving_variance, false, 0, layer.epsilon,
                          false);
  }
  if (input.dim() == 4 && count > 1) {  // libtorch's rule is the fused one.
    return at::batch_norm(input, gamma, beta, moving_mean, moving_variance, true, 1 - keep,
                          layer.epsilon, false);
  }
  {
    const at::NoGradGuard no_grad;
    std::vector<std::int64_t> axes{0};
    for (std::int64_t axis = 2; axis < input.dim(); ++axis) axes.push_back(axis);
    const auto [variance, mean] = at::var_mean(input, axes, /*unbiased=*/false);
    moving_mean.mul_(keep).add_(mean, 1 - keep);
    moving_variance.mul_(keep).add_(variance, 1 - keep);
  }
  return at::batch_norm(input, gamma, beta, {}, {}, true, 0, layer.epsilon, false);
}

at::Tensor BatchNormalization(const LayerCall& call, const at::Tensor& input) {
  if (!call.layer->channels_last || input.dim() == 2) return NormalizeAxis1(call, input);
  return NormalizeAxis1(call, input.movedim(-1, 1)).movedim(1, -1);
}

at::Tensor ReluLayer(const Layer& layer, const at::Tensor& input) {
  const double threshold = layer.relu_threshold;
  const double slope = layer.relu_negative_slope;
  at::Tensor out;
  if (threshold == 0) {
    out = slope == 0 ? at::relu(input) : at::leaky_relu(input, slope);
  } else {
    out = at::where(input >= threshold, input, slope * (input - threshold));
  }
  return layer.relu_max_value > 0 ? at::clamp_max(out, layer.relu_max_value) : out;
}

}  // namespace

at::Tensor Activate(Activation activation, const at::Tensor& input, std::int64_t axis,
                    bool in_place) {
  switch (activation) {
    case Activation::kLinear:
      return input;
    case Activation::kRelu:
      return in_place ? input.relu_() : at::relu(input);
    case Activation::kSigmoid:
      return in_place ? input.sigmoid_() : at::sigmoid(input);
    case Activation::kTanh:
      return in_place ? input.tanh_() : at::tanh(input);
    case Activation::kSoftmax:
      return at::softmax(input, axis);
    case Activation::kElu:
      return at::elu(input);
    case Activation::kSelu:
      return at::selu(input);
    case Activation::kSoftplus:
      return at::softplus(input);
    case Activation::kSoftsign:
      return input / (at::abs(input) + 1);
    case Activation::kSwish:
      return at::silu(input);
    case Activation::kExponential:
      return at::exp(input);
    case Activation::kHardSigmoid:  // Keras 2's, not libtorch's x / 6 + 0.5.
      return at::clamp(input * 0.2 + 0.5, 0, 1);
    case Activation::kGelu:
      return at::gelu(input);
  }
  return input;
}

at::Tensor Forward(const LayerCall& call, const at::Tensor& input) {
  const Layer& layer = *call.layer;
  switch (layer.kind) {
    case LayerKind::kInput:
      return input;
    case LayerKind::kDense:
      return Dense(call, input);
    case LayerKind::kConv2D:
      return Conv2D(call, input);
    case LayerKind::kMaxPooling2D:
      return MaxPool(layer, input);
    case LayerKind::kAveragePooling2D:
      return AveragePool(layer, input);
    case LayerKind::kGlobalAveragePooling2D: {
      const std::array<std::int64_t, 2> axes = {layer.channels_last ? 1 : 2,
                                                layer.channels_last ? 2 : 3};
      const bool keep_axes = layer.output_shape.size() == 3;
      return at::mean(input, axes, keep_axes);
    }
    case LayerKind::kFlatten:
      return Flatten(layer, input);
    case LayerKind::kReshape:
      return Reshape(layer, input);
    case LayerKind::kDropout:
      return Dropout(call, input);
    case LayerKind::kBatchNormalization:
      return BatchNormalization(call, input);
    case LayerKind::kActivation:
      if (call.skip_activation) return input;
      if (layer.activation == Activation::kRelu) return ReluLayer(layer, input);
      return Activate(layer.activation, input, layer.softmax_axis, false);
    case LayerKind::kRescaling:
      return input * layer.rescale + layer.offset;
  }
  return input;
}

}  // namespace dnc::trainer_torch
