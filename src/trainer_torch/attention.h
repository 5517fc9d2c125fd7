// Multi-head attention, as Keras computes it (keras/layers/attention of 2.15).

#pragma once

#include <ATen/core/Tensor.h>

#include "trainer_torch/layers.h"

namespace dnc::trainer_torch {

// call.inputs are query, value and maybe key, (samples, steps, features) each; masked
// steps of any of them are not looked at. Requires: the layer is kMultiHeadAttention.
at::Tensor MultiHeadAttention(const LayerCall& call);

}  // namespace dnc::trainer_torch
