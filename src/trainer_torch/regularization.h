// What Keras's regularizers add to the loss and its constraints do to weights.

#pragma once

#include <ATen/core/Tensor.h>

#include "model/model.h"

namespace dnc::trainer_torch {

// l1 * sum |values| + l2 * sum values^2, as a scalar that autograd differentiates.
at::Tensor Penalty(const model::Regularizer& regularizer, const at::Tensor& values);

// Brings a weight to what its constraint allows, in place (keras/constraints.py).
// Requires: no gradient is recorded.
void Constrain(const model::Constraint& constraint, at::Tensor* weight);

}  // namespace dnc::trainer_torch
