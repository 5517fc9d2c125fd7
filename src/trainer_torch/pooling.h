// Spatial layers as TensorFlow counts them: "same" pads the end by one more than the
// beginning where the total is odd, and padding counts for no average.
//
// Each takes and gives tensors in Keras's order of axes. Within, they are seen with the
// channels behind the batch, and one spatial axis as two, the first of length 1.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/model.h"

namespace dnc::trainer_torch {

struct PadPair {
  std::int64_t before = 0;
  std::int64_t after = 0;
  bool symmetric() const { return before == after; }
};

// A tensor with its channels behind the batch, of two or three spatial axes, and the
// layer's window for these axes.
struct SpatialView {
  at::Tensor tensor;
  std::vector<std::int64_t> window;
  std::vector<std::int64_t> strides;
  std::vector<std::int64_t> dilation;

  std::int64_t axis_count() const { return tensor.dim() - 2; }
};
SpatialView ViewOf(const model::Layer& layer, const at::Tensor& input);
// Back from there.
at::Tensor FromView(const model::Layer& layer, const at::Tensor& output);
// Of the last layer's kernel or mask, (spatial axes..., more...): as many spatial axes as a
// view has.
at::Tensor ViewKernel(const model::Layer& layer, const at::Tensor& kernel);

// The padding of a layer's window, an axis each.
std::vector<PadPair> PadsOf(const model::Layer& layer, const SpatialView& view);
// Whether all pads are symmetric; then `*padding` is what libtorch takes.
bool AreSymmetric(const std::vector<PadPair>& pads, std::vector<std::int64_t>* padding);
// A view's tensor with a border of `value`.
at::Tensor Pad(const at::Tensor& tensor, const std::vector<PadPair>& pads, double value);

at::Tensor MaxPool(const model::Layer& layer, const at::Tensor& input);
at::Tensor AveragePool(const model::Layer& layer, const at::Tensor& input);
at::Tensor GlobalPool(const model::Layer& layer, const at::Tensor& input);
at::Tensor ZeroPad(const model::Layer& layer, const at::Tensor& input);
at::Tensor Crop(const model::Layer& layer, const at::Tensor& input);
// Also Resizing.
at::Tensor UpSample(const model::Layer& layer, const at::Tensor& input);

}  // namespace dnc::trainer_torch
