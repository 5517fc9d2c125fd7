#include "trainer_torch/layers.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "base/assert.h"
#include "base/prng.h"
#include "trainer_torch/attention.h"
#include "trainer_torch/augmentation.h"
#include "trainer_torch/convolution.h"
#include "trainer_torch/device_random.h"
#include "trainer_torch/merge.h"
#include "trainer_torch/pooling.h"
#include "trainer_torch/recurrent.h"

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

// A convolution of any kind, with its activation. Elementwise ones come before the view
// goes back, so that they can work in place.
at::Tensor Convolution(const LayerCall& call, const at::Tensor& input) {
  const Layer& layer = *call.layer;
  const auto sums = [&] {
    switch (layer.kind) {
      case LayerKind::kConvTranspose:
        return ConvTranspose(layer, call.weights, input);
      case LayerKind::kDepthwiseConv:
        return DepthwiseConv(layer, call.weights, input);
      case LayerKind::kSeparableConv:
        return SeparableConv(layer, call.weights, input);
      default:
        return Conv(layer, call.weights, input);
    }
  };
  at::Tensor out = sums();
  const bool softmax = layer.activation == Activation::kSoftmax;
  if (!call.skip_activation && !softmax) out = Activate(layer.activation, out, 1, true);
  out = FromView(layer, out);
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

// Our own generators, whose numbers are the same with every libtorch and any number of
// threads, and which are faster than libtorch's for this.

// Normal numbers of mean 0 and deviation 1, by Box and Muller's method.
at::Tensor NormalNoise(const std::vector<std::int64_t>& sizes, std::uint64_t seed,
                       at::Device device) {
  if (!device.is_cpu()) return DeviceNormal(sizes, seed, device);
  at::Tensor noise = at::empty(sizes, at::kFloat);
  float* const values = noise.data_ptr<float>();
  const std::int64_t count = noise.numel();
  Prng prng(seed);
  for (std::int64_t i = 0; i < count; i += 2) {
    const std::uint64_t bits = prng.Next();
    const float radius = std::sqrt(-2 * std::log((static_cast<float>(bits >> 40) + 1) * 0x1p-24f));
    const float angle = static_cast<float>(bits & 0xffffffu) * (0x1p-24f * 6.28318531f);
    values[i] = radius * std::cos(angle);
    if (i + 1 < count) values[i + 1] = radius * std::sin(angle);
  }
  return noise;
}

// Of all elements, or with a SpatialDropout of whole channels.
at::Tensor Dropout(const LayerCall& call, const at::Tensor& input) {
  const Layer& layer = *call.layer;
  if (!call.training || layer.rate <= 0) return input;
  std::vector<std::int64_t> sizes = input.sizes().vec();
  if (layer.kind == LayerKind::kSpatialDropout) {
    const std::int64_t first = layer.channels_last ? 1 : 2;
    for (int i = 0; i < layer.rank; ++i) sizes[static_cast<std::size_t>(first + i)] = 1;
  }
  return input * DropMask(sizes, layer.rate, static_cast<float>(1 / (1 - layer.rate)), call.seed,
                          input.device());
}

at::Tensor Noise(const LayerCall& call, const at::Tensor& input) {
  const Layer& layer = *call.layer;
  if (!call.training || layer.rate <= 0) return input;
  const std::vector<std::int64_t> sizes = input.sizes().vec();
  if (layer.kind == LayerKind::kGaussianNoise) {
    return input + NormalNoise(sizes, call.seed, input.device()) * layer.rate;
  }
  if (layer.kind == LayerKind::kGaussianDropout) {
    const double deviation = std::sqrt(layer.rate / (1 - layer.rate));
    return input * (NormalNoise(sizes, call.seed, input.device()) * deviation + 1);
  }
  // AlphaDropout keeps mean and variance of what a SELU gives (Klambauer et al. 2017).
  constexpr double kSaturation = -1.6732632423543772 * 1.0507009873554805;
  const at::Tensor kept = DropMask(sizes, layer.rate, 1, call.seed, input.device());
  const double a = 1 / std::sqrt((1 - layer.rate) * (1 + layer.rate * kSaturation * kSaturation));
  const double b = -a * kSaturation * layer.rate;
  return (input * kept + (1 - kept) * kSaturation) * a + b;
}

// Normalizes over axis 1 of (N, C) or (N, C, ...). Keras's moving variance takes
// Bessel's correction where TensorFlow uses its fused kernel, which is for images and
// volumes (rank 4 and 5 with the batch), and the plain variance elsewhere; so it is here.
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
  if ((input.dim() == 4 || input.dim() == 5) && count > 1) {  // libtorch's rule is the fused one.
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

// A weight of some axes, to be spread over an input.
at::Tensor Spread(const at::Tensor& weight, const Layer& layer, std::int64_t dimensions) {
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(dimensions), 1);
  for (std::size_t i = 0; i < layer.axes.size(); ++i) {
    sizes[static_cast<std::size_t>(layer.axes[i])] = weight.size(static_cast<std::int64_t>(i));
  }
  return weight.reshape(sizes);
}

at::Tensor ScaledAndCentred(const LayerCall& call, at::Tensor normalized) {
  const Layer& layer = *call.layer;
  std::size_t next = 0;
  if (layer.scale) normalized = normalized * Spread(call.weights[next++], layer, normalized.dim());
  if (layer.center) normalized = normalized + Spread(call.weights[next], layer, normalized.dim());
  return normalized;
}

// Of sequences (samples, steps, channels) with a mask: the statistics are those of the
// steps that count, and all are normalised.
at::Tensor NormalizeMasked(const LayerCall& call, const at::Tensor& input) {
  const Layer& layer = *call.layer;
  const std::int64_t channel = layer.channels_last ? 2 : 1;
  const std::vector<std::int64_t> others{0, layer.channels_last ? 1 : 2};
  const at::Tensor counts = call.mask.to(at::kFloat).unsqueeze(channel);
  const at::Tensor total = counts.sum();
  const at::Tensor mean = (input * counts).sum(others, /*keepdim=*/true) / total;
  const at::Tensor variance =
      (at::square(input - mean) * counts).sum(others, /*keepdim=*/true) / total;
  if (total.item<float>() > 0) {  // Else the loss will be no number, and the step is refused.
    const at::NoGradGuard no_grad;
    const std::size_t first = (layer.scale ? 1u : 0u) + (layer.center ? 1u : 0u);
    const double keep = layer.momentum;
    at::Tensor moving_mean = call.weights[first];
    at::Tensor moving_variance = call.weights[first + 1];
    moving_mean.mul_(keep).add_(mean.reshape({-1}), 1 - keep);
    moving_variance.mul_(keep).add_(variance.reshape({-1}), 1 - keep);
  }
  return ScaledAndCentred(call, (input - mean) * at::rsqrt(variance + layer.epsilon));
}

at::Tensor BatchNormalization(const LayerCall& call, const at::Tensor& input) {
  const bool is_masked_sequence =
      call.mask.defined() && input.dim() == 3 && call.mask.dim() == 2 &&
      call.mask.size(1) == input.size(call.layer->channels_last ? 1 : 2);
  if (call.training && call.layer->trainable && is_masked_sequence) {
    return NormalizeMasked(call, input);
  }
  if (!call.layer->channels_last || input.dim() == 2) return NormalizeAxis1(call, input);
  return NormalizeAxis1(call, input.movedim(-1, 1)).movedim(1, -1);
}

at::Tensor LayerNormalization(const LayerCall& call, const at::Tensor& input) {
  const std::vector<std::int64_t> axes(call.layer->axes.begin(), call.layer->axes.end());
  const auto [variance, mean] = at::var_mean(input, axes, /*unbiased=*/false, /*keepdim=*/true);
  return ScaledAndCentred(call, (input - mean) * at::rsqrt(variance + call.layer->epsilon));
}

at::Tensor GroupNormalization(const LayerCall& call, const at::Tensor& input) {
  const Layer& layer = *call.layer;
  const std::int64_t axis = layer.axes[0];
  // (N, groups, all else), for the statistics.
  const at::Tensor first = input.movedim(axis, 1);
  const at::Tensor groups = first.reshape({input.size(0), layer.groups, -1});
  const auto [variance, mean] =
      at::var_mean(groups, at::IntArrayRef({2}), /*unbiased=*/false, /*keepdim=*/true);
  const at::Tensor normalized = (groups - mean) * at::rsqrt(variance + layer.epsilon);
  return ScaledAndCentred(call, normalized.reshape(first.sizes()).movedim(1, axis));
}

at::Tensor UnitNormalization(const Layer& layer, const at::Tensor& input) {
  const std::vector<std::int64_t> axes(layer.axes.begin(), layer.axes.end());
  return input * at::rsqrt(at::clamp_min(at::sum(input * input, axes, true), 1e-12));
}

// By the mean and variance that adapt() found.
at::Tensor Normalization(const LayerCall& call, const at::Tensor& input) {
  const at::Tensor deviation = at::clamp_min(at::sqrt(call.weights[1]), 1e-7);
  return (input - Spread(call.weights[0], *call.layer, input.dim())) /
         Spread(deviation, *call.layer, input.dim());
}

at::Tensor ReluLayer(const Layer& layer, const at::Tensor& input) {
  const double threshold = layer.relu_threshold;
  const double slope = layer.relu_negative_slope;
  at::Tensor out;
  if (threshold == 0) {
    out = slope == 0 ? at::relu(input) : at::leaky_relu(input, slope);
  } else {
    const at::Tensor above = layer.relu_strict ? input > threshold : input >= threshold;
    out = at::where(above, input, slope == 0 ? at::zeros_like(input) : slope * (input - threshold));
  }
  return layer.relu_max_value > 0 ? at::clamp_max(out, layer.relu_max_value) : out;
}

at::Tensor ActivationLayer(const LayerCall& call, const at::Tensor& input) {
  const Layer& layer = *call.layer;
  if (call.skip_activation) return input;
  if (layer.activation == Activation::kRelu) return ReluLayer(layer, input);
  if (layer.activation == Activation::kElu) return at::elu(input, layer.alpha);
  return Activate(layer.activation, input, layer.softmax_axis, false);
}

at::Tensor Permute(const Layer& layer, const at::Tensor& input) {
  std::vector<std::int64_t> axes{0};
  axes.insert(axes.end(), layer.axes.begin(), layer.axes.end());
  return input.permute(axes);
}

}  // namespace

void FillDropMask(double rate, float kept, std::uint64_t seed, std::span<float> mask) {
  const auto threshold = static_cast<std::uint64_t>(rate * 0x1p32);
  const std::size_t count = mask.size();
  Prng prng(seed);
  for (std::size_t i = 0; i < count; i += 2) {
    const std::uint64_t bits = prng.Next();
    mask[i] = (bits >> 32) < threshold ? 0.0f : kept;
    if (i + 1 < count) mask[i + 1] = (bits & 0xffffffffu) < threshold ? 0.0f : kept;
  }
}

at::Tensor DropMask(const std::vector<std::int64_t>& sizes, double rate, float kept,
                    std::uint64_t seed, at::Device device) {
  if (!device.is_cpu()) return DeviceDropMask(sizes, rate, kept, seed, device);
  at::Tensor mask = at::empty(sizes, at::kFloat);
  FillDropMask(rate, kept, seed, {mask.data_ptr<float>(), static_cast<std::size_t>(mask.numel())});
  return mask;
}

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
    case LayerKind::kActivityRegularization:
      return input;
    case LayerKind::kDense:
      return Dense(call, input);
    case LayerKind::kConv:
    case LayerKind::kConvTranspose:
    case LayerKind::kDepthwiseConv:
    case LayerKind::kSeparableConv:
      return Convolution(call, input);
    case LayerKind::kLocallyConnected: {
      const at::Tensor out = LocallyConnected(layer, call.weights, input);
      return call.skip_activation ? out : Activate(layer.activation, out, -1, false);
    }
    case LayerKind::kMaxPooling:
      return MaxPool(layer, input);
    case LayerKind::kAveragePooling:
      return AveragePool(layer, input);
    case LayerKind::kGlobalAveragePooling:
      if (call.mask.defined() && layer.rank == 1) return MaskedAverage(call, input);
      return GlobalPool(layer, input);
    case LayerKind::kGlobalMaxPooling:
      return GlobalPool(layer, input);
    case LayerKind::kZeroPadding:
      return ZeroPad(layer, input);
    case LayerKind::kCropping:
      return Crop(layer, input);
    case LayerKind::kUpSampling:
    case LayerKind::kResizing:
      return UpSample(layer, input);
    case LayerKind::kRandomFlip:
      return call.training ? RandomFlip(layer, input, call.seed) : input;
    case LayerKind::kRandomRotation:
      return call.training ? RandomRotation(layer, input, call.seed) : input;
    case LayerKind::kRandomCrop:
      return RandomCrop(layer, input, call.training, call.seed);
    case LayerKind::kFlatten:
      return Flatten(layer, input);
    case LayerKind::kReshape:
      return Reshape(layer, input);
    case LayerKind::kPermute:
      return Permute(layer, input);
    case LayerKind::kDropout:
    case LayerKind::kSpatialDropout:
      return Dropout(call, input);
    case LayerKind::kGaussianNoise:
    case LayerKind::kGaussianDropout:
    case LayerKind::kAlphaDropout:
      return Noise(call, input);
    case LayerKind::kBatchNormalization:
      return BatchNormalization(call, input);
    case LayerKind::kLayerNormalization:
      return LayerNormalization(call, input);
    case LayerKind::kGroupNormalization:
      return GroupNormalization(call, input);
    case LayerKind::kUnitNormalization:
      return UnitNormalization(layer, input);
    case LayerKind::kNormalization:
      return Normalization(call, input);
    case LayerKind::kActivation:
      return ActivationLayer(call, input);
    case LayerKind::kPRelu:
      return at::relu(input) - call.weights[0] * at::relu(-input);
    case LayerKind::kRescaling:
      return input * layer.rescale + layer.offset;
    case LayerKind::kMerge:
      return Merge(layer, call.inputs);
    case LayerKind::kMultiHeadAttention:
      return MultiHeadAttention(call);
    default:
      return ForwardSequence(call, input);
  }
  return input;
}

}  // namespace dnc::trainer_torch
