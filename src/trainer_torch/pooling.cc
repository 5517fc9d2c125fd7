#include "trainer_torch/pooling.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

namespace dnc::trainer_torch {

namespace {

using model::Layer;
using model::Padding;

PadPair SamePad(std::int64_t size, std::int64_t window, std::int64_t stride,
                std::int64_t dilation) {
  const std::int64_t reach = (window - 1) * dilation + 1;
  const std::int64_t outputs = (size + stride - 1) / stride;
  const std::int64_t total = std::max<std::int64_t>((outputs - 1) * stride + reach - size, 0);
  return {total / 2, total - total / 2};
}

// libtorch's own pooling takes equal padding on both sides, and with ceil_mode a last
// window that hangs over the end: that is one of padding after and none before.
bool HangsOver(const PadPair& pad) { return pad.before == 0 && pad.after == 1; }

struct PoolMode {
  bool native = false;  // libtorch can pad by itself.
  bool ceil_mode = false;
  std::array<std::int64_t, 2> padding{0, 0};
};

PoolMode ModeFor(const std::array<PadPair, 2>& pads) {
  PoolMode mode;
  if (pads[0].symmetric() && pads[1].symmetric()) {
    mode.native = true;
    mode.padding = {pads[0].before, pads[1].before};
  } else if (HangsOver(pads[0]) && HangsOver(pads[1])) {
    mode.native = true;
    mode.ceil_mode = true;
  }
  return mode;
}

}  // namespace

at::Tensor ToNchw(const at::Tensor& input, bool channels_last) {
  if (channels_last) return input.permute({0, 3, 1, 2});
  return input.contiguous(at::MemoryFormat::ChannelsLast);
}

at::Tensor FromNchw(const at::Tensor& input, bool channels_last) {
  return channels_last ? input.permute({0, 2, 3, 1}) : input;
}

std::array<PadPair, 2> PadsOf(const Layer& layer, std::int64_t height, std::int64_t width) {
  if (layer.padding == Padding::kValid) return {};
  return {SamePad(height, layer.kernel_size[0], layer.strides[0], layer.dilation_rate[0]),
          SamePad(width, layer.kernel_size[1], layer.strides[1], layer.dilation_rate[1])};
}

at::Tensor Pad(const at::Tensor& image, const std::array<PadPair, 2>& pads, double value) {
  return at::constant_pad_nd(image, {pads[1].before, pads[1].after, pads[0].before, pads[0].after},
                             value);
}

at::Tensor MaxPool(const Layer& layer, const at::Tensor& input) {
  at::Tensor image = ToNchw(input, layer.channels_last);
  const std::array<PadPair, 2> pads = PadsOf(layer, image.size(2), image.size(3));
  const PoolMode mode = ModeFor(pads);
  if (!mode.native) image = Pad(image, pads, -std::numeric_limits<double>::infinity());
  const at::Tensor out =
      at::max_pool2d(image, layer.kernel_size, layer.strides, mode.padding, {1, 1}, mode.ceil_mode);
  return FromNchw(out, layer.channels_last);
}

at::Tensor AveragePool(const Layer& layer, const at::Tensor& input) {
  const at::Tensor image = ToNchw(input, layer.channels_last);
  const std::array<PadPair, 2> pads = PadsOf(layer, image.size(2), image.size(3));
  const PoolMode mode = ModeFor(pads);
  if (mode.native) {
    const at::Tensor out =
        at::avg_pool2d(image, layer.kernel_size, layer.strides, mode.padding, mode.ceil_mode,
                       /*count_include_pad=*/false);
    return FromNchw(out, layer.channels_last);
  }
  // Sums over padded windows, divided by how much of each lies in the image.
  const auto sum = [&](const at::Tensor& values) {
    return at::avg_pool2d(Pad(values, pads, 0), layer.kernel_size, layer.strides, {0, 0}, false,
                          true, /*divisor_override=*/1);
  };
  const at::Tensor inside = at::ones({1, 1, image.size(2), image.size(3)});
  return FromNchw(sum(image) / sum(inside), layer.channels_last);
}

}  // namespace dnc::trainer_torch
