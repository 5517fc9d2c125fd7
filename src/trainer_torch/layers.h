// The forward computation of each layer kind, with Keras's semantics, in libtorch
// operations that autograd differentiates.
//
// Tensors keep Keras's own order of axes with the batch first, (N, H, W, C) for
// images unless a layer says channels_first. An NHWC tensor seen as NCHW is what
// libtorch calls channels_last, its fast layout, so these views cost nothing.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "model/model.h"

namespace dnc::trainer_torch {

struct LayerCall {
  const model::Layer* layer = nullptr;
  std::span<const at::Tensor> weights;  // Of this layer, in Keras's order and shapes.
  std::span<const at::Tensor> inputs;   // All of them, where it takes several.
  bool training = false;
  std::uint64_t seed = 0;        // Dropout: of this layer in this batch.
  bool skip_activation = false;  // The last layer's, where the loss takes logits.
  // Set where the batch's values are not what the layer can take; never null.
  Status* problem = nullptr;
  at::Tensor mask;                    // Of the input's steps (recurrent.h), or undefined.
  std::span<const at::Tensor> masks;  // Of all inputs, where it takes several.
};

// The layer's output; `input` is the first of call.inputs. May update BatchNormalization's moving
// statistics in place.
at::Tensor Forward(const LayerCall& call, const at::Tensor& input);

// Each of `mask` is 0 with the probability `rate`, else `kept`: a function of the seed alone.
void FillDropMask(double rate, float kept, std::uint64_t seed, std::span<float> mask);
// Of these sizes, on `device`: `kept` or 0, the latter with the probability `rate`. A function
// of the seed alone; on the CPU another one than elsewhere (device_random.h).
at::Tensor DropMask(const std::vector<std::int64_t>& sizes, double rate, float kept,
                    std::uint64_t seed, at::Device device);

// A Keras activation. `in_place`: whether the input's memory may be reused.
at::Tensor Activate(model::Activation activation, const at::Tensor& input, std::int64_t axis,
                    bool in_place);

}  // namespace dnc::trainer_torch
