// Padding and pooling as TensorFlow counts them: "same" pads the end by one more
// than the beginning where the total is odd, and padding counts for no average.

#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

#include "model/model.h"

namespace dnc::trainer_torch {

// Views between a layer's own order of axes and (N, C, H, W).
at::Tensor ToNchw(const at::Tensor& input, bool channels_last);
at::Tensor FromNchw(const at::Tensor& input, bool channels_last);

struct PadPair {
  std::int64_t before = 0;
  std::int64_t after = 0;
  bool symmetric() const { return before == after; }
};

// The padding of a layer's window over an image, for height and width.
std::array<PadPair, 2> PadsOf(const model::Layer& layer, std::int64_t height, std::int64_t width);
// The image (N, C, H, W) with a border of `value`.
at::Tensor Pad(const at::Tensor& image, const std::array<PadPair, 2>& pads, double value);

at::Tensor MaxPool(const model::Layer& layer, const at::Tensor& input);
at::Tensor AveragePool(const model::Layer& layer, const at::Tensor& input);

}  // namespace dnc::trainer_torch
