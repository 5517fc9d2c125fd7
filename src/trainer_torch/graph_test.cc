// Models that are more than a chain compute what Keras computes: tests/keras/graphs.json
// holds Keras's numbers, tests/keras/make_graphs.py wrote it.

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "testing/testing.h"
#include "trainer_torch/engine_harness.h"

namespace dnc::trainer_torch {
namespace {

using nlohmann::json;

struct Entry {
  std::string name;
  model::Model model;
  Floats weights, x, outputs, y, trained;
  double loss = 0;
};

Floats FloatsAt(const json& entry, const char* key) {
  return entry.contains(key) ? entry[key].get<Floats>() : Floats();
}

std::vector<Entry> Entries() {
  const Result<std::string> text = ReadFile(DNC_SOURCE_DIR "/tests/keras/graphs.json", 1 << 20);
  EXPECT_THAT(text, ::dnc::test::Succeeds());
  if (!text.ok()) return {};
  std::vector<Entry> entries;
  for (const json& given : json::parse(*text)) {
    Entry entry;
    entry.name = given["name"];
    const std::string document = R"({"model_config":)" + given["architecture"].dump() +
                                 R"(,"compile":{"loss":"mse","optimizer":)"
                                 R"({"class_name":"SGD","config":{"learning_rate":0.1}}}})";
    Result<model::Model> parsed = model::ParseModel(document, entry.name);
    EXPECT_THAT(parsed, ::dnc::test::Succeeds());
    if (!parsed.ok()) continue;
    entry.model = *std::move(parsed);
    if (entry.model.has_variable_axes()) {
      parsed = model::BindInputShapes(
          entry.model, std::vector<array::ColumnSpec>{
                           {"x", array::DType::kFloat32, given["input_shapes"][0], {}}});
      EXPECT_THAT(parsed, ::dnc::test::Succeeds());
      if (!parsed.ok()) continue;
      entry.model = *std::move(parsed);
    }
    entry.weights = FloatsAt(given, "weights");
    entry.x = FloatsAt(given, "x");
    entry.outputs = FloatsAt(given, "outputs");
    entry.y = FloatsAt(given, "y");
    entry.trained = FloatsAt(given, "trained");
    entry.loss = given.value("loss", 0.0);
    entries.push_back(std::move(entry));
  }
  return entries;
}

std::unique_ptr<trainer::Engine> Configured(const Entry& entry) {
  std::unique_ptr<trainer::Engine> engine = MakeEngineForTest();
  trainer::TrainerOptions options;
  options.x = {{"x", array::DType::kFloat32, {}, {}}};
  options.x[0].shape = {static_cast<std::int64_t>(entry.model.input_elements())};
  if (!entry.y.empty()) {
    options.y = {{"y", array::DType::kFloat32, entry.model.output_shape(), {}}};
  }
  EXPECT_THAT(engine->Configure(entry.model, options), ::dnc::test::Succeeds());
  EXPECT_EQ(entry.weights.size(), entry.model.weight_count);
  if (entry.weights.size() == entry.model.weight_count) {
    EXPECT_THAT(engine->SetWeights(entry.weights), ::dnc::test::Succeeds());
  }
  return engine;
}

trainer::Batch BatchOf(trainer::BatchKind kind, const Entry& entry) {
  trainer::Batch batch;
  batch.kind = kind;
  batch.x = {std::as_bytes(std::span(entry.x))};
  batch.y = {std::as_bytes(std::span(entry.y))};
  batch.samples = static_cast<std::uint32_t>(entry.x.size() / entry.model.input_elements());
  return batch;
}

TEST(GraphEngineTest, PredictsWhatKerasPredicts) {
  const std::vector<Entry> entries = Entries();
  EXPECT_EQ(entries.size(), 12u);
  for (const Entry& entry : entries) {
    SCOPED_TRACE(entry.name);
    Floats outputs;
    const auto engine = Configured(entry);
    ASSERT_THAT(engine->Run(BatchOf(trainer::BatchKind::kPredict, entry), &outputs),
                ::dnc::test::Succeeds());
    ExpectAllNear(outputs, entry.outputs, 2e-6);
  }
}

TEST(GraphEngineTest, AStepOfTrainingGivesKerassWeights) {
  for (const Entry& entry : Entries()) {
    if (entry.y.empty()) continue;
    SCOPED_TRACE(entry.name);
    const auto engine = Configured(entry);
    const Result<trainer::BatchResult> result =
        engine->Run(BatchOf(trainer::BatchKind::kTrain, entry), nullptr);
    ASSERT_THAT(result, ::dnc::test::Succeeds());
    EXPECT_NEAR(result->loss, entry.loss, 2e-6 * entry.loss);
    Floats weights(entry.model.weight_count);
    ASSERT_THAT(engine->GetWeights(weights), ::dnc::test::Succeeds());
    ExpectAllNear(weights, entry.trained, 2e-6);
  }
}

}  // namespace
}  // namespace dnc::trainer_torch
