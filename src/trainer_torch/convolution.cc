#include "trainer_torch/convolution.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "trainer_torch/pooling.h"

namespace dnc::trainer_torch {

namespace {

using model::Layer;
using model::Padding;

// A kernel (spatial..., in, out) as libtorch's (out, in, spatial...).
at::Tensor OutFirst(const Layer& layer, const at::Tensor& kernel) {
  return ViewKernel(layer, kernel).movedim(-1, 0).movedim(-1, 1);
}

at::Tensor ConvView(const Layer& layer, const SpatialView& given, const at::Tensor& kernel,
                    const at::Tensor& bias, std::int64_t groups) {
  const std::vector<PadPair> pads = PadsOf(layer, given);
  std::vector<std::int64_t> padding(pads.size(), 0);
  at::Tensor tensor = given.tensor;
  if (!AreSymmetric(pads, &padding)) {
    tensor = Pad(tensor, pads, 0);
    padding.assign(pads.size(), 0);
  }
  const auto conv = [&](auto function) {
    return function(tensor, kernel, bias, at::IntArrayRef(given.strides), at::IntArrayRef(padding),
                    at::IntArrayRef(given.dilation), groups);
  };
  using Function =
      at::Tensor (*)(const at::Tensor&, const at::Tensor&, const c10::optional<at::Tensor>&,
                     at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, std::int64_t);
  return given.axis_count() == 3 ? conv(static_cast<Function>(at::conv3d))
                                 : conv(static_cast<Function>(at::conv2d));
}

// (spatial..., in, multiplier) with `in` groups: (in * multiplier, 1, spatial...).
at::Tensor Depthwise(const Layer& layer, const SpatialView& view, const at::Tensor& kernel,
                     const at::Tensor& bias) {
  const std::int64_t channels = view.tensor.size(1);
  const at::Tensor out_first =
      ViewKernel(layer, kernel).flatten(-2).movedim(-1, 0).unsqueeze(1).contiguous();
  return ConvView(layer, view, out_first, bias, channels);
}

at::Tensor BiasOf(const Layer& layer, std::span<const at::Tensor> weights) {
  return layer.use_bias ? weights.back() : at::Tensor();
}

// The part of a full transposed convolution that TensorFlow gives: the gradient of a
// convolution from an axis of `wanted` to one of `given`. What lies beyond the full one
// is 0.
at::Tensor TransposedPart(const Layer& layer, const SpatialView& view, std::int64_t axis,
                          std::int64_t wanted, const at::Tensor& full) {
  const auto i = static_cast<std::size_t>(axis - 2);
  const std::int64_t reach = (view.window[i] - 1) * view.dilation[i] + 1;
  std::int64_t before = 0;
  if (layer.padding == Padding::kSame) {
    const std::int64_t given = view.tensor.size(axis);
    before = std::max<std::int64_t>((given - 1) * view.strides[i] + reach - wanted, 0) / 2;
  }
  const std::int64_t there = std::min(wanted, full.size(axis) - before);
  at::Tensor part = full.narrow(axis, before, there);
  if (there < wanted) {
    std::vector<std::int64_t> flat(2 * static_cast<std::size_t>(full.dim() - axis), 0);
    flat.back() = wanted - there;
    part = at::constant_pad_nd(part, flat, 0);
  }
  return part;
}

}  // namespace

at::Tensor Conv(const Layer& layer, std::span<const at::Tensor> weights, const at::Tensor& input) {
  return ConvView(layer, ViewOf(layer, input), OutFirst(layer, weights[0]), BiasOf(layer, weights),
                  layer.groups);
}

at::Tensor ConvTranspose(const Layer& layer, std::span<const at::Tensor> weights,
                         const at::Tensor& input) {
  const SpatialView view = ViewOf(layer, input);
  // Keras's kernel is (spatial..., out, in), and libtorch's (in, out, spatial...).
  const at::Tensor kernel = OutFirst(layer, weights[0]);
  const std::vector<std::int64_t> none(view.window.size(), 0);
  at::Tensor out = view.axis_count() == 3
                       ? at::conv_transpose3d(view.tensor, kernel, {}, view.strides, none, none, 1,
                                              view.dilation)
                       : at::conv_transpose2d(view.tensor, kernel, {}, view.strides, none, none, 1,
                                              view.dilation);
  const std::size_t first_length = layer.channels_last ? 0 : 1;
  for (int i = 0; i < layer.rank; ++i) {
    const std::int64_t wanted = layer.output_shape[first_length + static_cast<std::size_t>(i)];
    const std::int64_t axis = out.dim() - layer.rank + i;
    out = TransposedPart(layer, view, axis, wanted, out);
  }
  if (!layer.use_bias) return out;
  std::vector<std::int64_t> ones(static_cast<std::size_t>(out.dim()), 1);
  ones[1] = -1;
  return out + weights[1].reshape(ones);
}

at::Tensor DepthwiseConv(const Layer& layer, std::span<const at::Tensor> weights,
                         const at::Tensor& input) {
  return Depthwise(layer, ViewOf(layer, input), weights[0], BiasOf(layer, weights));
}

at::Tensor SeparableConv(const Layer& layer, std::span<const at::Tensor> weights,
                         const at::Tensor& input) {
  const at::Tensor channels = Depthwise(layer, ViewOf(layer, input), weights[0], {});
  return at::conv2d(channels, OutFirst(layer, weights[1]), BiasOf(layer, weights));
}

at::Tensor LocallyConnected(const Layer& layer, std::span<const at::Tensor> weights,
                            const at::Tensor& input) {
  // Windows (N, positions..., in, window...), their terms in the order in which Keras
  // flattens a slice of the input.
  at::Tensor windows = layer.channels_last ? input : input.movedim(1, -1);
  for (int i = 0; i < layer.rank; ++i) {
    const auto axis = static_cast<std::size_t>(i);
    windows = windows.unfold(i + 1, layer.kernel_size[axis], layer.strides[axis]);
  }
  if (layer.channels_last) windows = windows.movedim(layer.rank + 1, -1);
  std::vector<std::int64_t> sizes = {input.size(0)};
  for (int i = 0; i < layer.rank; ++i) sizes.push_back(windows.size(i + 1));
  const at::Tensor& kernel = weights[0];  // (positions, terms, filters).
  const at::Tensor terms = windows.reshape({input.size(0), kernel.size(0), kernel.size(1)});
  at::Tensor out = at::bmm(terms.transpose(0, 1), kernel).transpose(0, 1);
  sizes.push_back(kernel.size(2));
  out = out.reshape(sizes);
  if (layer.channels_last) return layer.use_bias ? out + weights[1] : out;
  out = out.movedim(-1, 1);
  // The bias is (positions..., filters), and Keras takes its numbers as they lie for
  // (filters, positions...).
  return layer.use_bias ? out + weights[1].reshape(layer.output_shape) : out;
}

}  // namespace dnc::trainer_torch
