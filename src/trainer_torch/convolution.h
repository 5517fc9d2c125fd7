// Convolutions of one, two and three spatial axes, in Keras's order of axes and with its
// kernels (spatial axes..., in, out).

#pragma once

#include <ATen/core/Tensor.h>

#include <span>

#include "model/model.h"

namespace dnc::trainer_torch {

// Each gives the sums with the bias, before the activation, as a view (pooling.h) that
// FromView() turns back.
at::Tensor Conv(const model::Layer& layer, std::span<const at::Tensor> weights,
                const at::Tensor& input);
at::Tensor ConvTranspose(const model::Layer& layer, std::span<const at::Tensor> weights,
                         const at::Tensor& input);
at::Tensor DepthwiseConv(const model::Layer& layer, std::span<const at::Tensor> weights,
                         const at::Tensor& input);
at::Tensor SeparableConv(const model::Layer& layer, std::span<const at::Tensor> weights,
                         const at::Tensor& input);
// The same, but not as a view: in Keras's order.
at::Tensor LocallyConnected(const model::Layer& layer, std::span<const at::Tensor> weights,
                            const at::Tensor& input);

}  // namespace dnc::trainer_torch
