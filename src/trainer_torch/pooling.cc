#include "trainer_torch/pooling.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "base/assert.h"

namespace dnc::trainer_torch {

namespace {

using model::Interpolation;
using model::Layer;
using model::LayerKind;
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
  std::vector<std::int64_t> padding;
};

PoolMode ModeFor(const std::vector<PadPair>& pads) {
  PoolMode mode;
  mode.padding.assign(pads.size(), 0);
  if (AreSymmetric(pads, &mode.padding)) {
    mode.native = true;
  } else if (std::all_of(pads.begin(), pads.end(), HangsOver)) {
    mode.native = true;
    mode.ceil_mode = true;
    mode.padding.assign(pads.size(), 0);
  }
  return mode;
}

at::Tensor MaxPoolView(const SpatialView& view, const at::Tensor& tensor, const PoolMode& mode) {
  const std::vector<std::int64_t> ones(view.window.size(), 1);
  const auto pool = view.axis_count() == 3 ? at::max_pool3d : at::max_pool2d;
  return pool(tensor, view.window, view.strides, mode.padding, ones, mode.ceil_mode);
}

at::Tensor AveragePoolView(const SpatialView& view, const at::Tensor& tensor, const PoolMode& mode,
                           bool sum) {
  const auto divisor = sum ? c10::optional<std::int64_t>(1) : c10::nullopt;
  const auto pool = view.axis_count() == 3 ? at::avg_pool3d : at::avg_pool2d;
  return pool(tensor, view.window, view.strides, mode.padding, mode.ceil_mode,
              /*count_include_pad=*/false, divisor);
}

// Which element of an axis each of `length` results takes, by nearest neighbour with
// centres of pixels as coordinates, as TensorFlow's resize does.
at::Tensor NearestIndices(std::int64_t given, std::int64_t length, at::Device device) {
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < length; ++i) {
    indices.push_back(std::min((2 * i + 1) * given / (2 * length), given - 1));
  }
  return at::tensor(indices, at::kLong).to(device);
}

std::int64_t FirstSpatialAxis(const Layer& layer) { return layer.channels_last ? 1 : 2; }

}  // namespace

SpatialView ViewOf(const Layer& layer, const at::Tensor& input) {
  SpatialView view;
  view.window = layer.kernel_size;
  view.strides = layer.strides;
  view.dilation = layer.dilation_rate;
  view.tensor = input;
  if (layer.rank == 1) {
    view.tensor = input.unsqueeze(FirstSpatialAxis(layer));
    for (auto* axes : {&view.window, &view.strides, &view.dilation}) {
      if (!axes->empty()) axes->insert(axes->begin(), 1);
    }
  }
  // An NHWC tensor seen as NCHW is libtorch's channels_last, its fast layout.
  if (layer.channels_last) {
    view.tensor = view.tensor.movedim(-1, 1);
  } else {
    view.tensor = view.tensor.contiguous(layer.rank == 3 ? at::MemoryFormat::ChannelsLast3d
                                                         : at::MemoryFormat::ChannelsLast);
  }
  return view;
}

at::Tensor FromView(const Layer& layer, const at::Tensor& output) {
  at::Tensor out = layer.channels_last ? output.movedim(1, -1) : output;
  return layer.rank == 1 ? out.squeeze(FirstSpatialAxis(layer)) : out;
}

at::Tensor ViewKernel(const Layer& layer, const at::Tensor& kernel) {
  return layer.rank == 1 ? kernel.unsqueeze(0) : kernel;
}

std::vector<PadPair> PadsOf(const Layer& layer, const SpatialView& view) {
  std::vector<PadPair> pads(view.window.size());
  for (std::size_t i = 0; i < pads.size(); ++i) {
    const std::int64_t size = view.tensor.size(static_cast<std::int64_t>(i) + 2);
    if (layer.padding == Padding::kSame) {
      pads[i] = SamePad(size, view.window[i], view.strides[i], view.dilation[i]);
    } else if (layer.padding == Padding::kCausal) {
      pads[i] = {(view.window[i] - 1) * view.dilation[i], 0};
    }
  }
  return pads;
}

bool AreSymmetric(const std::vector<PadPair>& pads, std::vector<std::int64_t>* padding) {
  for (std::size_t i = 0; i < pads.size(); ++i) {
    if (!pads[i].symmetric()) return false;
    (*padding)[i] = pads[i].before;
  }
  return true;
}

at::Tensor Pad(const at::Tensor& tensor, const std::vector<PadPair>& pads, double value) {
  std::vector<std::int64_t> flat;  // The last axis first.
  for (auto pad = pads.rbegin(); pad != pads.rend(); ++pad) {
    flat.push_back(pad->before);
    flat.push_back(pad->after);
  }
  return at::constant_pad_nd(tensor, flat, value);
}

at::Tensor MaxPool(const Layer& layer, const at::Tensor& input) {
  const SpatialView view = ViewOf(layer, input);
  const std::vector<PadPair> pads = PadsOf(layer, view);
  const PoolMode mode = ModeFor(pads);
  if (mode.native) return FromView(layer, MaxPoolView(view, view.tensor, mode));
  const at::Tensor padded = Pad(view.tensor, pads, -std::numeric_limits<double>::infinity());
  const PoolMode plain{true, false, std::vector<std::int64_t>(pads.size(), 0)};
  return FromView(layer, MaxPoolView(view, padded, plain));
}

at::Tensor AveragePool(const Layer& layer, const at::Tensor& input) {
  const SpatialView view = ViewOf(layer, input);
  const std::vector<PadPair> pads = PadsOf(layer, view);
  const PoolMode mode = ModeFor(pads);
  if (mode.native) return FromView(layer, AveragePoolView(view, view.tensor, mode, false));
  // Sums over padded windows, divided by how much of each lies in the input.
  const PoolMode plain{true, false, std::vector<std::int64_t>(pads.size(), 0)};
  const auto sum = [&](const at::Tensor& values) {
    return AveragePoolView(view, Pad(values, pads, 0), plain, true);
  };
  std::vector<std::int64_t> one = view.tensor.sizes().vec();
  one[0] = one[1] = 1;
  return FromView(layer, sum(view.tensor) / sum(at::ones(one, view.tensor.options())));
}

at::Tensor GlobalPool(const Layer& layer, const at::Tensor& input) {
  std::vector<std::int64_t> axes;
  for (std::int64_t i = 0; i < layer.rank; ++i) axes.push_back(FirstSpatialAxis(layer) + i);
  const bool keep_axes = layer.output_shape.size() > 1;
  return layer.kind == LayerKind::kGlobalMaxPooling ? at::amax(input, axes, keep_axes)
                                                    : at::mean(input, axes, keep_axes);
}

at::Tensor ZeroPad(const Layer& layer, const at::Tensor& input) {
  std::vector<std::int64_t> flat;  // The last axis first.
  if (layer.channels_last) flat = {0, 0};
  for (auto margin = layer.margins.rbegin(); margin != layer.margins.rend(); ++margin) {
    flat.push_back((*margin)[0]);
    flat.push_back((*margin)[1]);
  }
  return at::constant_pad_nd(input, flat, 0);
}

at::Tensor Crop(const Layer& layer, const at::Tensor& input) {
  at::Tensor out = input;
  for (std::size_t i = 0; i < layer.margins.size(); ++i) {
    const std::int64_t axis = FirstSpatialAxis(layer) + static_cast<std::int64_t>(i);
    const auto [before, after] = layer.margins[i];
    out = out.narrow(axis, before, out.size(axis) - before - after);
  }
  return out;
}

at::Tensor UpSample(const Layer& layer, const at::Tensor& input) {
  const bool resizes = layer.kind == LayerKind::kResizing;
  const auto target = [&](std::int64_t given, std::size_t axis) {
    return resizes ? layer.kernel_size[axis] : given * layer.kernel_size[axis];
  };
  if (layer.interpolation == Interpolation::kBilinear) {
    DNC_ASSERT(layer.rank == 2);
    const SpatialView view = ViewOf(layer, input);
    const std::vector<std::int64_t> size = {target(view.tensor.size(2), 0),
                                            target(view.tensor.size(3), 1)};
    return FromView(layer, at::upsample_bilinear2d(view.tensor, size, /*align_corners=*/false));
  }
  at::Tensor out = input;
  for (std::size_t i = 0; i < layer.kernel_size.size(); ++i) {
    const std::int64_t axis = FirstSpatialAxis(layer) + static_cast<std::int64_t>(i);
    out = out.index_select(axis,
                           NearestIndices(out.size(axis), target(out.size(axis), i), out.device()));
  }
  return out;
}

}  // namespace dnc::trainer_torch
