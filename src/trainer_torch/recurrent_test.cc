// Layers of sequences against the numbers of real Keras, and what no table shows.

#include "trainer_torch/recurrent.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "testing/testing.h"
#include "trainer_torch/engine_harness.h"

namespace dnc::trainer_torch {
namespace {

const std::string kMse = R"("mean_squared_error")";

// What tests/keras/make_recurrent_outputs.py wrote, a model a line.
std::vector<nlohmann::json> KerasCases() {
  std::ifstream file(DNC_SOURCE_DIR "/tests/keras/recurrent_outputs.jsonl");
  std::vector<nlohmann::json> cases;
  for (std::string line; std::getline(file, line);) cases.push_back(nlohmann::json::parse(line));
  EXPECT_EQ(cases.size(), 31u);
  return cases;
}

// As numbers() in make_recurrent_outputs.py: from -0.5 to 0.5.
Floats Numbers(std::size_t count, std::size_t factor) {
  Floats values(count);
  for (std::size_t i = 0; i < count; ++i) {
    values[i] = static_cast<float>((static_cast<double>((i * factor + 11) % 101) - 50) / 100);
  }
  return values;
}

Floats NumberedWeights(const model::Model& model) {
  Floats weights;
  for (std::size_t i = 0; i < model.weights.size(); ++i) {
    const Floats values = Numbers(model.weights[i].count, 37 + i);
    weights.insert(weights.end(), values.begin(), values.end());
  }
  return weights;
}

// Relative to the largest of all.
void ExpectClose(const Floats& found, const Floats& expected, double tolerance) {
  double largest = 0;
  for (const float value : expected) largest = std::max<double>(largest, std::abs(value));
  ExpectAllNear(found, expected, tolerance * std::max(largest, 1e-3));
}

TEST(RecurrentTest, OutputsAndOneStepOfTrainingAreKerass) {
  for (const nlohmann::json& recorded : KerasCases()) {
    SCOPED_TRACE(recorded["name"].get<std::string>());
    const std::string json = R"({"model_config":)" + recorded["model"].dump() +
                             R"(,"compile":{"loss":"mse","optimizer":{"class_name":"SGD",)" +
                             R"("config":{"learning_rate":0.5}}}})";
    EngineHarness harness(json);
    if (HasFailure()) return;
    const Floats x = recorded["x"].get<Floats>();
    const Floats y = recorded["y"].get<Floats>();
    const double loss = recorded["loss"].get<double>();
    harness.SetWeights(NumberedWeights(harness.model()));
    ExpectClose(harness.Predict(x), y, 1e-5);
    EXPECT_NEAR(harness.Train(x, Floats(y.size(), 0.0f)).loss, loss, 1e-5 * loss);
    ExpectClose(harness.Weights(), recorded["weights_after"].get<Floats>(), 1e-5);
  }
}

TEST(RecurrentTest, RecordsOfOptionsAreReadBackToTheSameModel) {
  for (const nlohmann::json& recorded : KerasCases()) {
    SCOPED_TRACE(recorded["name"].get<std::string>());
    const auto model = model::ParseModel(recorded["model"].dump(), "first");
    ASSERT_THAT(model, test::Succeeds());
    const auto again = model::ParseModel(model->model_config_json, "again");
    ASSERT_THAT(again, test::Succeeds());
    EXPECT_EQ(again->model_config_json, model->model_config_json);
    ASSERT_EQ(again->weights.size(), model->weights.size());
    for (std::size_t i = 0; i < model->weights.size(); ++i) {
      EXPECT_EQ(again->weights[i].name, model->weights[i].name);
      EXPECT_EQ(again->weights[i].shape, model->weights[i].shape);
    }
  }
}

// A mask of dropout is the same at every step of a sequence, and rests at inference.
TEST(RecurrentTest, DropoutFollowsItsSeedAndTheGradientFollowsDropout) {
  for (const char* name : {"SimpleRNN", "LSTM", "GRU"}) {
    for (const char* implementation : {"1", "2"}) {
      SCOPED_TRACE(std::string(name) + " " + implementation);
      std::string same = R"("units":3,"implementation":)" + std::string(implementation);
      if (std::string_view(name) == "GRU") same += R"(,"reset_after":true)";
      const std::string config = same + R"(,"dropout":0.4,"recurrent_dropout":0.3)";
      EngineHarness harness(Sequential("5,4", {Layer(name, config)}, kMse));
      EngineHarness plain(Sequential("5,4", {Layer(name, same)}, kMse));
      const Floats weights = harness.RandomWeights(6);
      const Floats x = RandomFloats(40, 5), y(6, 0.0f);
      harness.SetWeights(weights);
      plain.SetWeights(weights);
      EXPECT_EQ(harness.Predict(x), plain.Predict(x));
      const double undropped = plain.Train(x, y).loss;
      const double first = harness.Train(x, y, 1).loss;
      const Floats after = harness.Weights();
      EXPECT_NE(first, undropped);
      // The gradient of the first weight, by differences under the same masks.
      double loss[2];
      for (int side = 0; side < 2; ++side) {
        Floats moved = weights;
        moved[0] += side == 0 ? 2e-3f : -2e-3f;
        harness.SetWeights(moved);
        loss[side] = harness.Train(x, y, 1).loss;
      }
      EXPECT_NEAR(weights[0] - after[0], (loss[0] - loss[1]) / 4e-3, 2e-3);
      harness.SetWeights(weights);
      EXPECT_EQ(harness.Train(x, y, 1).loss, first);
      harness.SetWeights(weights);
      EXPECT_NE(harness.Train(x, y, 2).loss, first);
    }
  }
}

TEST(RecurrentTest, AnEmbeddingRefusesIndicesThatItDoesNotHave) {
  EngineHarness harness(
      Sequential("2", {Layer("Embedding", R"("input_dim":5,"output_dim":1)")}, kMse));
  harness.SetWeights({0, 1, 2, 3, 4});
  EXPECT_EQ(harness.Predict({4, 0, 2, 1}), (Floats{4, 0, 2, 1}));
  for (const float wrong : {-1.0f, 5.0f, 3e9f, NAN, INFINITY}) {
    SCOPED_TRACE(wrong);
    Floats outputs;
    const auto result = harness.Run(trainer::BatchKind::kPredict, {1, wrong}, {}, 1, &outputs);
    EXPECT_THAT(result, test::FailsWith(ErrorCode::kInvalidArgument));
  }
}

// tests/keras/make_masked_losses.py wrote the figures.
TEST(RecurrentTest, AMaskThatReachesTheOutputHidesStepsFromTheLossAsInKeras) {
  std::ifstream file(DNC_SOURCE_DIR "/tests/keras/masked_losses.jsonl");
  int count = 0;
  for (std::string line; std::getline(file, line); ++count) {
    const nlohmann::json recorded = nlohmann::json::parse(line);
    SCOPED_TRACE(recorded["name"].get<std::string>());
    EngineHarness harness(recorded["model"].dump());
    if (HasFailure()) return;
    const Floats x = recorded["x"].get<Floats>();
    const Floats y = recorded["y"].get<Floats>();
    const double loss = recorded["loss"].get<double>();
    const Floats weights = NumberedWeights(harness.model());
    harness.SetWeights(weights);
    const trainer::BatchResult result = harness.Train(x, y);
    EXPECT_NEAR(result.loss, loss, 1e-5 * std::abs(loss));
    if (!recorded["accuracy"].is_null()) {
      const double right = 3 * recorded["accuracy"].get<double>();  // Of 3 samples.
      EXPECT_EQ(result.correct, static_cast<std::uint64_t>(right + 1e-5));
    }
    ExpectClose(harness.Weights(), recorded["weights_after"].get<Floats>(), 1e-5);
    harness.SetWeights(weights);
    if (recorded["name"] != "embedded") {  // Whose batch normalisation evaluates otherwise.
      EXPECT_NEAR(harness.Evaluate(x, y).loss, loss, 1e-5 * std::abs(loss));
    }
  }
  EXPECT_EQ(count, 10);
}

// No step counts: Keras's mean of none is no number, and no step is made of it.
TEST(RecurrentTest, ABatchWithoutAStepThatCountsIsRefused) {
  EngineHarness harness(
      Sequential("2,1", {Layer("Masking", ""), Layer("Dense", R"("units":1)")}, kMse));
  harness.SetWeights({2, 0});
  EXPECT_THAT(harness.Run(trainer::BatchKind::kTrain, {0, 0}, {1, 1}),
              test::FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_EQ(harness.Weights(), (Floats{2, 0}));
}

TEST(RecurrentTest, AnAverageOverTimeIsOfTheStepsThatCount) {
  EngineHarness harness(
      Sequential("3,2", {Layer("Masking", ""), Layer("GlobalAveragePooling1D", "")}, kMse));
  ExpectAllNear(harness.Predict({1, 2, 0, 0, 5, 4}), {3, 3}, 1e-6);
}

// Every step of a sequence is hidden: the state stays where it began.
TEST(RecurrentTest, ASequenceWithoutAStepThatCountsGivesZeros) {
  EngineHarness harness(
      Sequential("3,2", {Layer("Masking", ""), Layer("LSTM", R"("units":2)")}, kMse));
  harness.SetWeights(harness.RandomWeights(1));
  EXPECT_EQ(harness.Predict(Floats(6, 0.0f)), (Floats{0, 0}));
}

}  // namespace
}  // namespace dnc::trainer_torch
