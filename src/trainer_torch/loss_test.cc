// Losses and accuracies of one batch, computed by hand from Keras's definitions. The
// models pass their inputs through, so that x is the output.

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "testing/testing.h"
#include "trainer_torch/engine_harness.h"
#include "trainer_torch/keras_figures.h"
#include "trainer_torch/loss.h"

namespace dnc::trainer_torch {
namespace {

using ::testing::HasSubstr;

// The output is x itself, or its last activation.
std::string PassThrough(const std::string& shape, const std::string& loss,
                        const std::string& activation = "linear") {
  return Sequential(shape, {Layer("Activation", R"("activation":")" + activation + "\"")}, loss);
}

std::string Logits(const char* name) {
  return std::string(R"({"class_name":")") + name + R"(","config":{"from_logits":true}})";
}

double Log(double v) { return std::log(v); }

TEST(LossTest, MeanSquaredErrorIsTheMeanOfEverything) {
  EngineHarness harness(PassThrough("2", R"("mean_squared_error")"));
  EXPECT_NEAR(harness.Evaluate({1, 2, 3, 4}, {0, 2, 5, 4}).loss, (1 + 4) / 4.0, 1e-6);
}

TEST(LossTest, CategoricalCrossentropyTakesProbabilitiesOrLogits) {
  const Floats one_hot = {1, 0, 0, 0, 0, 1};
  // Probabilities that do not add up to 1 are scaled, as Keras does.
  EngineHarness plain(PassThrough("3", R"("categorical_crossentropy")"));
  EXPECT_NEAR(plain.Evaluate({0.2f, 0.1f, 0.1f, 0.2f, 0.3f, 0.5f}, one_hot).loss,
              -(Log(0.5) + Log(0.5)) / 2, 1e-5);
  // And none counts as 0.
  EXPECT_NEAR(plain.Evaluate({0, 1, 0}, {1, 0, 0}).loss, -Log(1e-7), 1e-3);
  const double row = Log(std::exp(1.0) + std::exp(2.0) + std::exp(3.0));
  EngineHarness logits(PassThrough("3", Logits("CategoricalCrossentropy")));
  EXPECT_NEAR(logits.Evaluate({1, 2, 3, 1, 2, 3}, one_hot).loss, (row - 1 + row - 3) / 2, 1e-5);
  EngineHarness softmax(PassThrough("3", R"("categorical_crossentropy")", "softmax"));
  EXPECT_NEAR(softmax.Evaluate({1, 2, 3, 1, 2, 3}, one_hot).loss, (row - 1 + row - 3) / 2, 1e-5);
  // Exact where probabilities would have rounded to 0.
  EXPECT_NEAR(softmax.Evaluate({0, 200, 0}, {1, 0, 0}).loss, 200, 1e-3);
}

TEST(LossTest, SparseCategoricalCrossentropyTakesClassNumbers) {
  const double row = Log(std::exp(1.0) + std::exp(2.0) + std::exp(3.0));
  EngineHarness softmax(PassThrough("3", R"("sparse_categorical_crossentropy")", "softmax"));
  const trainer::BatchResult result = softmax.Evaluate({1, 2, 3, 1, 2, 3}, {0, 2});
  EXPECT_NEAR(result.loss, (row - 1 + row - 3) / 2, 1e-5);
  EXPECT_EQ(result.correct, 1u);
  EngineHarness plain(PassThrough("3", R"("sparse_categorical_crossentropy")"));
  EXPECT_NEAR(plain.Evaluate({0.2f, 0.1f, 0.1f}, {0}).loss, -Log(0.5), 1e-5);
  EXPECT_THAT(softmax.Run(trainer::BatchKind::kTrain, {1, 2, 3}, {3}),
              test::FailsWith(ErrorCode::kInvalidArgument,
                              ::testing::AllOf(HasSubstr("label 3"), HasSubstr("3 classes"))));
}

TEST(LossTest, BinaryCrossentropyTakesProbabilitiesOrLogits) {
  EngineHarness plain(PassThrough("1", R"("binary_crossentropy")"));
  const trainer::BatchResult result = plain.Evaluate({0.8f, 0.8f, 0.4f}, {1, 0, 0});
  EXPECT_NEAR(result.loss, -(Log(0.8) + Log(0.2) + Log(0.6)) / 3, 1e-5);
  EXPECT_EQ(result.correct, 2u);
  EngineHarness sigmoid(PassThrough("1", R"("binary_crossentropy")", "sigmoid"));
  const trainer::BatchResult from_sigmoid = sigmoid.Evaluate({-100, 0.1f, -0.1f}, {1, 1, 0});
  EXPECT_NEAR(from_sigmoid.loss, (100 + 2 * std::log1p(std::exp(-0.1))) / 3, 1e-4);
  EXPECT_EQ(from_sigmoid.correct, 2u);
  // Keras compares logits themselves with 0.5.
  EngineHarness logits(PassThrough("1", Logits("BinaryCrossentropy")));
  EXPECT_EQ(logits.Evaluate({0.4f, 0.6f}, {1, 1}).correct, 1u);
}

TEST(LossTest, HingeTakesLabelsOfZeroAndOneAsSigns) {
  EngineHarness harness(PassThrough("1", R"("hinge")"));
  EXPECT_NEAR(harness.Evaluate({0.3f, -2, 0.5f}, {1, 0, 0}).loss, (0.7 + 0 + 1.5) / 3, 1e-6);
  EXPECT_NEAR(harness.Evaluate({0.3f, -2, 0.5f}, {1, -1, -1}).loss, (0.7 + 0 + 1.5) / 3, 1e-6);
}

// Values and gradients that Keras computed for two samples of three outputs.
TEST(LossTest, LossesAndTheirGradientsAreThoseOfKeras) {
  for (const LossFigure& figure : kLossFigures) {
    SCOPED_TRACE(figure.loss);
    const Result<model::Model> model = model::ParseModel(PassThrough("3", figure.loss), "figure");
    ASSERT_THAT(model, test::Succeeds());
    const Loss loss(*model, 0);
    const Result<Targets> targets = loss.ReadTargets({"y", array::DType::kFloat32, {3}, {}},
                                                     std::as_bytes(std::span(figure.target)), 2);
    ASSERT_THAT(targets, test::Succeeds());
    at::Tensor output = at::empty({2, 3}, at::kFloat);
    std::copy(figure.output.begin(), figure.output.end(), output.data_ptr<float>());
    output.set_requires_grad(true);
    const at::Tensor value = loss.Value(output, *targets);
    const double tolerance = 2e-5 * std::max(1.0f, std::abs(figure.value));
    EXPECT_NEAR(value.item<float>(), figure.value, tolerance);
    value.backward();
    const at::Tensor gradient = output.grad().contiguous();
    for (std::size_t i = 0; i < figure.gradient.size(); ++i) {
      const float expected = figure.gradient[i];
      EXPECT_NEAR(gradient.data_ptr<float>()[i], expected,
                  2e-5 * std::max(1.0f, std::abs(expected)))
          << "element " << i;
    }
    const Result<model::Model> again = model::ParseModel(model::FormatModel(*model), "again");
    ASSERT_THAT(again, test::Succeeds());
    EXPECT_EQ(again->training_config_json, model->training_config_json);
    EXPECT_EQ(again->compile.outputs[0].loss->sum_reduction,
              model->compile.outputs[0].loss->sum_reduction);
    EXPECT_EQ(again->compile.outputs[0].loss->label_smoothing,
              model->compile.outputs[0].loss->label_smoothing);
    EXPECT_EQ(again->compile.outputs[0].loss->huber_delta,
              model->compile.outputs[0].loss->huber_delta);
  }
}

TEST(LossTest, AHingeOfSeveralOutputsTakesClassNumbers) {
  EngineHarness harness(PassThrough("2", R"("hinge")"));
  // Class 0 against all others: max(0, 1 - 2) and max(0, 1 + 0.5).
  const trainer::BatchResult result = harness.Evaluate({2, 0.5f}, {0});
  EXPECT_NEAR(result.loss, (0 + 1.5) / 2, 1e-6);
  EXPECT_EQ(result.correct, 1u);
  EXPECT_THAT(harness.Run(trainer::BatchKind::kEvaluate, {2, 0.5f}, {2}),
              test::FailsWith(ErrorCode::kInvalidArgument));
}

TEST(LossTest, AccuracyOfSeveralOutputsIsByTheLargest) {
  EngineHarness harness(PassThrough("2", R"("binary_crossentropy")", "sigmoid"));
  EXPECT_EQ(harness.Evaluate({1, 2, 2, 1}, {0, 1, 0, 1}).correct, 1u);
}

}  // namespace
}  // namespace dnc::trainer_torch
