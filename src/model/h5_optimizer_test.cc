// Names and order of what tf.keras 2.15 wrote for a model of two weights, a/kernel and
// a/bias, with its optimizers of today and its legacy ones.

#include "model/h5_optimizer.h"

#include "testing/testing.h"

namespace dnc::model {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

using Names = std::vector<std::string>;

Optimizer Make(OptimizerKind kind, bool legacy = false) {
  Optimizer optimizer;
  optimizer.kind = kind;
  optimizer.legacy = legacy;
  return optimizer;
}

Names Written(const Optimizer& optimizer) {
  WeightSpec kernel, bias;
  kernel.name = "a/kernel:0";
  bias.name = "a/bias:0";
  Names names = {StepCounterName(optimizer)};
  for (const H5Slot& slot : SlotsToWrite(optimizer, {&kernel, &bias})) names.push_back(slot.name);
  return names;
}

struct Case {
  Optimizer optimizer;
  Names names;
};

std::vector<Case> Cases() {
  Optimizer amsgrad = Make(OptimizerKind::kAdam);
  amsgrad.amsgrad = true;
  Optimizer centered = Make(OptimizerKind::kRmsprop);
  centered.centered = true;
  centered.momentum = 0.5;
  Optimizer legacy_momentum = Make(OptimizerKind::kSgd, true);
  legacy_momentum.momentum = 0.9;
  return {
      {Make(OptimizerKind::kSgd), {"iteration:0", "SGD/m/a/kernel:0", "SGD/m/a/bias:0"}},
      {Make(OptimizerKind::kAdamW),
       {"iteration:0", "AdamW/m/a/kernel:0", "AdamW/v/a/kernel:0", "AdamW/m/a/bias:0",
        "AdamW/v/a/bias:0"}},
      {amsgrad,
       {"iteration:0", "Adam/m/a/kernel:0", "Adam/v/a/kernel:0", "Adam/m/a/bias:0",
        "Adam/v/a/bias:0", "Adam/vhat/a/kernel:0", "Adam/vhat/a/bias:0"}},
      {centered,
       {"iteration:0", "RMSprop/velocity/a/kernel:0", "RMSprop/velocity/a/bias:0",
        "RMSprop/momentum/a/kernel:0", "RMSprop/momentum/a/bias:0",
        "RMSprop/average_gradient/a/kernel:0", "RMSprop/average_gradient/a/bias:0"}},
      {Make(OptimizerKind::kFtrl),
       {"iteration:0", "Ftrl/accumulator/a/kernel:0", "Ftrl/linear/a/kernel:0",
        "Ftrl/accumulator/a/bias:0", "Ftrl/linear/a/bias:0"}},
      {Make(OptimizerKind::kAdamax),
       {"iteration:0", "Adamax/m/a/kernel:0", "Adamax/u/a/kernel:0", "Adamax/m/a/bias:0",
        "Adamax/u/a/bias:0"}},
      {legacy_momentum, {"SGD/iter:0", "SGD/a/kernel/momentum:0", "SGD/a/bias/momentum:0"}},
      {Make(OptimizerKind::kRmsprop, true),
       {"RMSprop/iter:0", "RMSprop/a/kernel/rms:0", "RMSprop/a/bias/rms:0"}},
      {Make(OptimizerKind::kNadam, true),
       {"Nadam/iter:0", "Nadam/a/kernel/m:0", "Nadam/a/bias/m:0", "Nadam/a/kernel/v:0",
        "Nadam/a/bias/v:0"}},
      {Make(OptimizerKind::kAdadelta, true),
       {"Adadelta/iter:0", "Adadelta/a/kernel/accum_grad:0", "Adadelta/a/bias/accum_grad:0",
        "Adadelta/a/kernel/accum_var:0", "Adadelta/a/bias/accum_var:0"}},
  };
}

TEST(H5OptimizerTest, NamesAndOrdersAsKerasDoes) {
  for (const Case& each : Cases()) {
    EXPECT_THAT(Written(each.optimizer), ElementsAreArray(each.names));
  }
}

TEST(H5OptimizerTest, FindsAgainWhatItWrote) {
  WeightSpec kernel, bias;
  kernel.name = "a/kernel:0";
  bias.name = "a/bias:0";
  for (const Case& each : Cases()) {
    SCOPED_TRACE(each.names.back());
    const std::vector<H5Slot> written = SlotsToWrite(each.optimizer, {&kernel, &bias});
    const Names names(each.names.begin() + 1, each.names.end());
    const Result<std::vector<H5Slot>> placed = PlaceSlots(each.optimizer, names, 2);
    ASSERT_THAT(placed, Succeeds());
    if (written.front().is_zero) {
      EXPECT_TRUE(placed->empty());  // SGD without momentum uses none.
      continue;
    }
    ASSERT_EQ(placed->size(), written.size());
    for (std::size_t i = 0; i < written.size(); ++i) {
      EXPECT_EQ((*placed)[i].name, written[i].name);
      EXPECT_EQ((*placed)[i].slot, written[i].slot);
      EXPECT_EQ((*placed)[i].variable, written[i].variable);
    }
  }
}

// A new optimizer's state in the names of an old one, and Keras 1's without meaning.
TEST(H5OptimizerTest, PlacesSlotsByNameOrElseByOrder) {
  const Optimizer adam = Make(OptimizerKind::kAdam);
  for (const Names& names :
       {Names{"Adam/a/kernel/m:0", "Adam/a/bias/m:0", "Adam/a/kernel/v:0", "Adam/a/bias/v:0"},
        Names{"Variable_4:0", "Variable_5:0", "Variable_6:0", "Variable_7:0"}}) {
    const Result<std::vector<H5Slot>> placed = PlaceSlots(adam, names, 2);
    ASSERT_THAT(placed, Succeeds());
    ASSERT_EQ(placed->size(), 4u);
    EXPECT_EQ((*placed)[1].slot, 0u);
    EXPECT_EQ((*placed)[1].variable, 1u);
    EXPECT_EQ((*placed)[2].slot, 1u);
    EXPECT_EQ((*placed)[2].variable, 0u);
  }
}

TEST(H5OptimizerTest, RefusesTheSlotsOfAnotherOptimizer) {
  EXPECT_THAT(PlaceSlots(Make(OptimizerKind::kAdam), {"x", "y"}, 2),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("2 tensors")));
  EXPECT_THAT(PlaceSlots(Make(OptimizerKind::kAdam),
                         {"Adam/m/a:0", "Adam/m/b:0", "Adam/m/c:0", "Adam/v/a:0"}, 2),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("more than 2")));
}

}  // namespace
}  // namespace dnc::model
