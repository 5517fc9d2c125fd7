#include "trainer_torch/merge.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

namespace dnc::trainer_torch {

namespace {

using model::MergeKind;

// Axes of length 1 behind the batch axis, up to `rank` axes.
at::Tensor WithRank(at::Tensor input, std::int64_t rank) {
  while (input.dim() < rank) input = input.unsqueeze(1);
  return input;
}

at::Tensor Join(MergeKind kind, const at::Tensor& a, const at::Tensor& b) {
  switch (kind) {
    case MergeKind::kSubtract:
      return a - b;
    case MergeKind::kMultiply:
      return a * b;
    case MergeKind::kMaximum:
      return at::maximum(a, b);
    case MergeKind::kMinimum:
      return at::minimum(a, b);
    default:
      return a + b;
  }
}

at::Tensor Elementwise(MergeKind kind, std::span<const at::Tensor> inputs) {
  std::int64_t rank = 0;
  for (const at::Tensor& input : inputs) rank = std::max(rank, input.dim());
  at::Tensor joined = WithRank(inputs[0], rank);
  for (const at::Tensor& input : inputs.subspan(1)) {
    joined = Join(kind, joined, WithRank(input, rank));
  }
  return kind == MergeKind::kAverage ? joined / static_cast<double>(inputs.size()) : joined;
}

// (samples, all other axes in their order, `axis`) as three axes.
at::Tensor AxisLast(const at::Tensor& input, std::int64_t axis) {
  const at::Tensor moved = input.movedim(axis, -1);
  return moved.reshape({input.size(0), -1, input.size(axis)});
}

// tf.math.l2_normalize, with its epsilon.
at::Tensor Normalized(const at::Tensor& input, std::int64_t axis) {
  return input * at::rsqrt(at::clamp_min(at::sum(input * input, axis, true), 1e-12));
}

at::Tensor Dot(const model::Layer& layer, at::Tensor a, at::Tensor b) {
  const std::int64_t a_axis = layer.merge_axes[0] + 1;
  const std::int64_t b_axis = layer.merge_axes[1] + 1;
  if (layer.normalize) {
    a = Normalized(a, a_axis);
    b = Normalized(b, b_axis);
  }
  std::vector<std::int64_t> sizes{a.size(0)};
  sizes.insert(sizes.end(), layer.output_shape.begin(), layer.output_shape.end());
  return at::bmm(AxisLast(a, a_axis), AxisLast(b, b_axis).transpose(1, 2)).reshape(sizes);
}

}  // namespace

at::Tensor Merge(const model::Layer& layer, std::span<const at::Tensor> inputs) {
  switch (layer.merge) {
    case MergeKind::kConcatenate:
      return at::cat(at::TensorList(inputs.data(), inputs.size()), layer.merge_axes[0] + 1);
    case MergeKind::kDot:
      return Dot(layer, inputs[0], inputs[1]);
    default:
      return Elementwise(layer.merge, inputs);
  }
}

at::Tensor MergedMask(const model::Layer& layer, std::span<const at::Tensor> inputs,
                      std::span<const at::Tensor> masks) {
  const auto is_defined = [](const at::Tensor& mask) { return mask.defined(); };
  if (layer.merge == MergeKind::kDot || std::none_of(masks.begin(), masks.end(), is_defined)) {
    return {};
  }
  if (layer.merge == MergeKind::kConcatenate && layer.merge_axes[0] == 0) {  // Along the steps.
    std::vector<at::Tensor> parts;
    for (std::size_t i = 0; i < masks.size(); ++i) {
      parts.push_back(masks[i].defined() ? masks[i]
                                         : at::ones({inputs[i].size(0), inputs[i].size(1)},
                                                    inputs[i].options().dtype(at::kBool)));
    }
    return at::cat(parts, 1);
  }
  at::Tensor all;
  for (const at::Tensor& mask : masks) {
    if (mask.defined()) all = all.defined() ? at::logical_and(all, mask) : mask;
  }
  return all;
}

}  // namespace dnc::trainer_torch
