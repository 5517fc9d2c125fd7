// Each layer against what real Keras computed (tests/keras/make_layer_outputs.py, which
// wrote layer_outputs.jsonl and fills input and weights by the same formulas).

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "testing/testing.h"
#include "trainer_torch/engine_harness.h"

namespace dnc::trainer_torch {
namespace {

using nlohmann::json;

// Numbers from `begin` on of a sequence within [-1, 1).
std::vector<double> Numbers(std::uint64_t begin, std::uint64_t count, std::uint64_t factor,
                            std::uint64_t modulus) {
  std::vector<double> numbers;
  for (std::uint64_t i = begin; i < begin + count; ++i) {
    const auto rest = static_cast<double>(i * factor % modulus);
    numbers.push_back(rest / static_cast<double>(modulus) * 2 - 1);
  }
  return numbers;
}

std::vector<float> WeightsFor(const model::Model& model) {
  std::vector<float> weights;
  for (const model::WeightSpec& weight : model.weights) {
    const bool is_variance = weight.name.find("variance") != std::string::npos;
    for (const double number : Numbers(weight.offset, weight.count, 104729, 997)) {
      weights.push_back(static_cast<float>(is_variance ? std::abs(number) + 0.5 : number));
    }
  }
  return weights;
}

void ExpectOutputs(const json& recorded) {
  const auto model = model::ParseModel(recorded["model"].dump(), "model");
  ASSERT_THAT(model, test::Succeeds());
  EXPECT_EQ(model->output_shape(), recorded["shape"].get<array::Shape>());
  const auto engine = MakeEngineForTest();
  trainer::TrainerOptions options;
  options.x = {{"x", array::DType::kFloat32, model->input_shape(), {}}};
  ASSERT_THAT(engine->Configure(*model, options), test::Succeeds());
  ASSERT_THAT(engine->SetWeights(WeightsFor(*model)), test::Succeeds());
  const std::uint64_t count = 2 * *array::ElementCount(model->input_shape());
  std::vector<float> x;
  for (const double number : Numbers(0, count, 7919, 1009)) x.push_back(static_cast<float>(number));
  trainer::Batch batch;
  batch.kind = trainer::BatchKind::kPredict;
  batch.x = {std::as_bytes(std::span(x))};
  batch.samples = 2;
  std::vector<float> outputs;
  ASSERT_THAT(engine->Run(batch, &outputs), test::Succeeds());
  const auto expected = recorded["y"].get<std::vector<double>>();
  ASSERT_EQ(outputs.size(), expected.size());
  double size = 1e-3;
  for (const double value : expected) size = std::max(size, std::abs(value));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(outputs[i], expected[i], 2e-6 * size) << "element " << i;
  }
}

TEST(KerasLayersTest, GivesWhatKerasGives) {
  std::ifstream file(DNC_SOURCE_DIR "/tests/keras/layer_outputs.jsonl");
  int count = 0;
  for (std::string line; std::getline(file, line); ++count) {
    const json recorded = json::parse(line);
    SCOPED_TRACE(recorded["model"]["config"]["layers"][1].dump());
    ExpectOutputs(recorded);
  }
  EXPECT_GE(count, 85);
}

}  // namespace
}  // namespace dnc::trainer_torch
