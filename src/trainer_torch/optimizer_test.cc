#include "trainer_torch/optimizer.h"

#include <algorithm>
#include <cmath>

#include "testing/testing.h"
#include "trainer_torch/engine_harness.h"
#include "trainer_torch/keras_figures.h"

namespace dnc::trainer_torch {
namespace {

using ::testing::HasSubstr;

// One weight at 1.0 and three steps with the gradients 0.5, -0.25, 1.0.
std::vector<float> ThreeSteps(const model::Optimizer& optimizer) {
  OptimizerState state(optimizer, 1);
  float weight = 1.0f;
  std::vector<float> weights;
  for (float gradient : {0.5f, -0.25f, 1.0f}) {
    state.BeginStep();
    state.Update(&weight, &gradient, 0, 1);
    weights.push_back(weight);
  }
  return weights;
}

void ExpectNear(const std::vector<float>& found, const std::vector<double>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 2e-6) << i;
}

TEST(OptimizerTest, SgdStepsAsByHand) {
  model::Optimizer sgd;
  sgd.learning_rate = 0.1;
  ExpectNear(ThreeSteps(sgd), {0.95, 0.975, 0.875});
  sgd.momentum = 0.9;
  // v = -0.05, -0.02, -0.118
  ExpectNear(ThreeSteps(sgd), {0.95, 0.93, 0.812});
  sgd.nesterov = true;
  // The same v; steps 0.9 v - 0.1 g = -0.095, 0.007, -0.2062
  ExpectNear(ThreeSteps(sgd), {0.905, 0.912, 0.7058});
}

TEST(OptimizerTest, AdamStepsAsByHand) {
  model::Optimizer adam;
  adam.kind = model::OptimizerKind::kAdam;
  adam.learning_rate = 0.1;
  adam.epsilon = 0.1;  // Large, so that its place outside the root shows.
  // m = 0.05, 0.02, 0.118; v = 0.00025, 0.00031225, 0.00131193775;
  // lr_t = 0.1 sqrt(1 - 0.999^t) / (1 - 0.9^t) = 0.0316228, 0.0235317, 0.0201974.
  double w = 1, m = 0, v = 0;
  std::vector<double> expected;
  const double gradients[] = {0.5, -0.25, 1.0};
  for (int t = 1; t <= 3; ++t) {
    const double g = gradients[t - 1];
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    w -=
        0.1 * std::sqrt(1 - std::pow(0.999, t)) / (1 - std::pow(0.9, t)) * m / (std::sqrt(v) + 0.1);
    expected.push_back(w);
  }
  EXPECT_NEAR(expected[0], 1 - 0.0316227766 * 0.05 / (0.0158113883 + 0.1), 1e-9);
  ExpectNear(ThreeSteps(adam), expected);
}

TEST(OptimizerTest, AmsGradDividesByTheLargestVariance) {
  model::Optimizer adam;
  adam.kind = model::OptimizerKind::kAdam;
  adam.learning_rate = 0.1;
  adam.beta_2 = 0.5;  // Forgets fast, so that v falls below its largest value.
  adam.amsgrad = true;
  double w = 1, m = 0, v = 0, v_max = 0;
  std::vector<double> expected;
  const double gradients[] = {0.5, -0.25, 1.0};
  for (int t = 1; t <= 3; ++t) {
    const double g = gradients[t - 1];
    m = 0.9 * m + 0.1 * g;
    v = 0.5 * v + 0.5 * g * g;
    v_max = std::max(v_max, v);
    w -= 0.1 * std::sqrt(1 - std::pow(0.5, t)) / (1 - std::pow(0.9, t)) * m /
         (std::sqrt(v_max) + 1e-7);
    expected.push_back(w);
  }
  ExpectNear(ThreeSteps(adam), expected);
  adam.amsgrad = false;
  EXPECT_GT(std::abs(ThreeSteps(adam)[1] - expected[1]), 1e-4);
}

// Keras applied its optimizers to three weights in five steps, as we do here.
TEST(OptimizerTest, StepsAsKerasDoes) {
  for (const OptimizerFigure& figure : kOptimizerFigures) {
    SCOPED_TRACE(figure.optimizer);
    const Result<model::Model> model =
        model::ParseModel(Sequential("1", {}, R"("mse")", figure.optimizer), "figure");
    ASSERT_THAT(model, test::Succeeds());
    const std::size_t count = kFigureWeights.size();
    OptimizerState state(model->compile.optimizer, count);
    std::vector<float> weights = kFigureWeights;
    for (std::size_t done = 0; done < kFigureGradients.size(); done += count) {
      std::vector<float> gradients(
          kFigureGradients.begin() + static_cast<std::ptrdiff_t>(done),
          kFigureGradients.begin() + static_cast<std::ptrdiff_t>(done + count));
      state.BeginStep();
      state.Update(weights.data(), gradients.data(), 0, count);
      for (std::size_t i = 0; i < count; ++i) {
        const float expected = figure.weights[done + i];
        EXPECT_NEAR(weights[i], expected, 3e-6 * std::max(1.0f, std::abs(expected)))
            << "step " << done / count << " weight " << i;
      }
    }
  }
}

TEST(OptimizerTest, FollowsKerasSchedules) {
  for (const ScheduleFigure& figure : kScheduleFigures) {
    SCOPED_TRACE(figure.schedule);
    const std::string optimizer =
        R"({"class_name":"SGD","config":{"learning_rate":)" + std::string(figure.schedule) + "}}";
    const Result<model::Model> model =
        model::ParseModel(Sequential("1", {}, R"("mse")", optimizer), "figure");
    ASSERT_THAT(model, test::Succeeds());
    for (std::size_t i = 0; i < kFigureSteps.size(); ++i) {
      const double rate = model::LearningRateAt(model->compile.optimizer,
                                                static_cast<std::uint64_t>(kFigureSteps[i]));
      EXPECT_NEAR(rate, figure.rates[i], 2e-6 * figure.rates[i] + 1e-9)
          << "step " << kFigureSteps[i];
    }
    const model::Model again = *model::ParseModel(model::FormatModel(*model), "again");
    EXPECT_EQ(again.training_config_json, model->training_config_json);
  }
}

// tf.clip_by_global_norm of gradients (3, 0) and (4): their norm is 5.
TEST(OptimizerTest, ClipsAllGradientsByTheirCommonNorm) {
  model::Optimizer sgd;
  sgd.global_clipnorm = 2.5;
  const OptimizerState state(sgd, 3);
  ASSERT_TRUE(state.clips_together());
  std::vector<float> first = {3, 0}, second = {4};
  const std::span<float> all[] = {first, second};
  state.ClipTogether(all);
  ExpectNear(first, {1.5, 0});
  ExpectNear(second, {2});
  state.ClipTogether(all);
  ExpectNear(second, {2});
}

TEST(OptimizerTest, EveryOptimizerResumesFromItsStateToTheSameBits) {
  for (const OptimizerFigure& figure : kOptimizerFigures) {
    SCOPED_TRACE(figure.optimizer);
    const model::Model model =
        *model::ParseModel(Sequential("1", {}, R"("mse")", figure.optimizer), "figure");
    const auto steps = [](OptimizerState* state, int count, std::vector<float>* weights) {
      for (int step = 0; step < count; ++step) {
        std::vector<float> gradients = {0.5f, -0.25f * static_cast<float>(step), 1.5f};
        state->BeginStep();
        state->Update(weights->data(), gradients.data(), 0, 3);
      }
    };
    OptimizerState whole(model.compile.optimizer, 3);
    std::vector<float> weights = kFigureWeights;
    steps(&whole, 3, &weights);
    OptimizerState resumed(model.compile.optimizer, 3);
    ASSERT_THAT(resumed.Load(whole.Save()), test::Succeeds());
    std::vector<float> again = weights;
    steps(&whole, 3, &weights);
    steps(&resumed, 3, &again);
    EXPECT_EQ(again, weights);
    resumed.Reset();
    EXPECT_EQ(resumed.Save(), OptimizerState(model.compile.optimizer, 3).Save());
  }
}

// Larger than what threads share, to check that none is left out.
TEST(OptimizerTest, UpdatesEveryWeightOfALargeTensor) {
  model::Optimizer sgd;
  sgd.learning_rate = 1;
  const std::size_t count = 200'003;
  OptimizerState state(sgd, count);
  std::vector<float> weights(count, 1.0f), gradients(count);
  for (std::size_t i = 0; i < count; ++i) gradients[i] = static_cast<float>(i % 7);
  state.BeginStep();
  state.Update(weights.data(), gradients.data(), 0, count);
  for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(weights[i], 1 - gradients[i]) << i;
}

TEST(OptimizerTest, RefusesStatesOfAnotherOptimizerOrModel) {
  model::Optimizer adam;
  adam.kind = model::OptimizerKind::kAdam;
  model::Optimizer sgd;
  OptimizerState ten(adam, 10);
  EXPECT_THAT(ten.Load(OptimizerState(adam, 11).Save()),
              test::FailsWith(ErrorCode::kCorrupt, HasSubstr("11")));
  EXPECT_THAT(ten.Load(OptimizerState(sgd, 10).Save()),
              test::FailsWith(ErrorCode::kCorrupt, HasSubstr("Adam has 2")));
  const Bytes good = ten.Save();
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_THAT(ten.Load(ByteSpan(good).first(size)), test::FailsWith(ErrorCode::kCorrupt));
  }
  Bytes later = good;
  later[4] = std::byte{9};
  EXPECT_THAT(ten.Load(later), test::FailsWith(ErrorCode::kCorrupt, HasSubstr("version 9")));
  EXPECT_THAT(ten.Load(good), test::Succeeds());
}

}  // namespace
}  // namespace dnc::trainer_torch
