// The forward computation of layers of sequences: recurrent layers step by step in
// libtorch operations that autograd differentiates, their wrappers, and masks.
//
// A mask says which steps of a sequence count: a bool tensor (batch, steps), true
// where they do, that lies beside a layer's output; undefined where all count.

#pragma once

#include <ATen/core/Tensor.h>

#include "trainer_torch/layers.h"

namespace dnc::trainer_torch {

// SimpleRNN, LSTM, GRU, ConvLSTM2D, Bidirectional, TimeDistributed, Embedding, Masking
// and RepeatVector; call.mask is the input's mask. An index that an Embedding does not have
// is a problem of the call.
at::Tensor ForwardSequence(const LayerCall& call, const at::Tensor& input);

// The mask of a layer's output; `mask` is its input's. Layers through which Keras's
// masks do not pass end it.
at::Tensor OutputMask(const model::Layer& layer, const at::Tensor& input, const at::Tensor& mask);

// GlobalAveragePooling1D with a mask: the average of the steps that count.
at::Tensor MaskedAverage(const LayerCall& call, const at::Tensor& input);

}  // namespace dnc::trainer_torch
