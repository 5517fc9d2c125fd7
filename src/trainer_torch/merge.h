// Layers that join several inputs: Add, Concatenate, Dot and so on, as Keras computes
// them (keras/layers/merging of 2.11).

#pragma once

#include <ATen/core/Tensor.h>

#include <span>

#include "model/model.h"

namespace dnc::trainer_torch {

// Requires: layer.kind is kMerge; the shapes fit, as the model's parser checked.
at::Tensor Merge(const model::Layer& layer, std::span<const at::Tensor> inputs);

// The mask of its output, undefined for none: (samples, steps), from those of the inputs,
// of which any may be undefined. Requires: as above.
at::Tensor MergedMask(const model::Layer& layer, std::span<const at::Tensor> inputs,
                      std::span<const at::Tensor> masks);

}  // namespace dnc::trainer_torch
