#include "trainer_torch/regularization.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace dnc::trainer_torch {
namespace {

using model::Constraint;
using model::ConstraintKind;
using ::testing::ElementsAre;
using ::testing::FloatNear;

std::vector<float> ValuesOf(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.contiguous();
  return {flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()};
}

// Columns of norms 5 and 0.5.
at::Tensor Weight() { return at::tensor({3.0f, 0.3f, -4.0f, 0.4f}).reshape({2, 2}); }

std::vector<float> Constrained(const Constraint& constraint) {
  at::Tensor weight = Weight();
  Constrain(constraint, &weight);
  return ValuesOf(weight);
}

TEST(RegularizationTest, AddsBothPenalties) {
  EXPECT_FLOAT_EQ(Penalty({.l1 = 0.1, .l2 = 0}, Weight()).item<float>(), 0.77f);
  EXPECT_FLOAT_EQ(Penalty({.l1 = 0.1, .l2 = 0.01}, Weight()).item<float>(), 0.77f + 0.2525f);
}

TEST(RegularizationTest, BringsNormsToWhatIsAllowed) {
  const auto near = [](float value) { return FloatNear(value, 1e-5f); };
  EXPECT_THAT(Constrained({}), ElementsAre(3, 0.3f, -4, 0.4f));
  EXPECT_THAT(Constrained({.kind = ConstraintKind::kNonNegative}), ElementsAre(3, 0.3f, 0, 0.4f));
  EXPECT_THAT(Constrained({.kind = ConstraintKind::kUnitNorm}),
              ElementsAre(near(0.6f), near(0.6f), near(-0.8f), near(0.8f)));
  EXPECT_THAT(Constrained({.kind = ConstraintKind::kMaxNorm, .max = 2}),
              ElementsAre(near(1.2f), near(0.3f), near(-1.6f), near(0.4f)));
  // Half of the way from 0.5 to 1, and from 5 to 2.
  EXPECT_THAT(Constrained({.kind = ConstraintKind::kMinMaxNorm, .min = 1, .max = 2, .rate = 0.5}),
              ElementsAre(near(2.1f), near(0.45f), near(-2.8f), near(0.6f)));
  EXPECT_THAT(Constrained({.kind = ConstraintKind::kUnitNorm, .axes = {0, 1}}),
              ElementsAre(near(0.59702f), near(0.0597f), near(-0.79603f), near(0.0796f)));
}

}  // namespace
}  // namespace dnc::trainer_torch
