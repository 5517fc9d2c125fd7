#include "trainer_torch/regularization.h"

#include <ATen/ATen.h>

#include "base/assert.h"

namespace dnc::trainer_torch {

namespace {

using model::Constraint;
using model::ConstraintKind;

constexpr double kEpsilon = 1e-7;  // keras.backend.epsilon().

at::Tensor NormsOf(const Constraint& constraint, const at::Tensor& weight) {
  return at::sqrt(at::sum(weight * weight, constraint.axes, /*keepdim=*/true));
}

}  // namespace

at::Tensor Penalty(const model::Regularizer& regularizer, const at::Tensor& values) {
  at::Tensor sum = at::zeros({}, values.options());
  if (regularizer.l1 != 0) sum = sum + at::abs(values).sum() * regularizer.l1;
  if (regularizer.l2 != 0) sum = sum + (values * values).sum() * regularizer.l2;
  return sum;
}

void Constrain(const Constraint& constraint, at::Tensor* weight) {
  switch (constraint.kind) {
    case ConstraintKind::kNone:
      return;
    case ConstraintKind::kNonNegative:
      weight->clamp_min_(0);
      return;
    case ConstraintKind::kUnitNorm:
      weight->div_(NormsOf(constraint, *weight) + kEpsilon);
      return;
    case ConstraintKind::kMaxNorm: {
      const at::Tensor norms = NormsOf(constraint, *weight);
      weight->mul_(at::clamp(norms, 0, constraint.max) / (norms + kEpsilon));
      return;
    }
    case ConstraintKind::kMinMaxNorm: {
      const at::Tensor norms = NormsOf(constraint, *weight);
      const at::Tensor wanted = constraint.rate * at::clamp(norms, constraint.min, constraint.max) +
                                (1 - constraint.rate) * norms;
      weight->mul_(wanted / (norms + kEpsilon));
      return;
    }
  }
  DNC_ASSERT(false);
}

}  // namespace dnc::trainer_torch
