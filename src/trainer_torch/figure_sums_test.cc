// Losses, weights of losses and metrics of real Keras: tests/keras/make_metrics.py.

#include "trainer_torch/figure_sums.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file.h"
#include "testing/testing.h"
#include "trainer_torch/engine_harness.h"
#include "trainer_torch/torch_engine.h"

namespace dnc::trainer_torch {
namespace {

using nlohmann::json;

constexpr std::uint32_t kSamples = 24;
constexpr std::uint32_t kBatchSize = 8;

std::vector<json> Entries() {
  const Result<std::string> text = ReadFile(DNC_SOURCE_DIR "/tests/keras/metrics.jsonl", 1 << 20);
  EXPECT_THAT(text, ::dnc::test::Succeeds());
  std::vector<json> entries;
  std::istringstream lines(text.ok() ? *text : "");
  for (std::string line; std::getline(lines, line);) entries.push_back(json::parse(line));
  return entries;
}

// One of Keras's models with its samples, in an engine.
class KerasRun {
 public:
  KerasRun(const json& entry, Backward backward) : engine_(MakeTorchEngine(backward)) {
    const std::string document = R"({"model_config":)" + entry["model"].dump() +
                                 R"(,"training_config":)" + entry["training_config"].dump() + "}";
    Result<model::Model> parsed = model::ParseModel(document, entry["name"]);
    EXPECT_THAT(parsed, ::dnc::test::Succeeds());
    if (!parsed.ok()) return;
    model_ = *std::move(parsed);
    trainer::TrainerOptions options;
    options.batch_size_max = kBatchSize;
    for (int i = 0; i < model_.input_count; ++i) {
      const model::Layer& input = model_.layers[static_cast<std::size_t>(i)];
      options.x.push_back({input.name, array::DType::kFloat32, input.output_shape, {}});
      x_.push_back(entry["x"][static_cast<std::size_t>(i)].get<Floats>());
    }
    for (const int output : model_.compile.trained_outputs()) {
      const auto index = static_cast<std::size_t>(output);
      array::ColumnSpec y{model_.output_names[index],
                          array::DType::kFloat32,
                          model_.output(output).output_shape,
                          {}};
      const Floats labels = entry["y"][index].get<Floats>();
      if (model_.compile.outputs[index].loss->kind ==
          model::LossKind::kSparseCategoricalCrossentropy) {
        y.dtype = array::DType::kUint8;
        y.shape.pop_back();
        y_.emplace_back();
        for (const float label : labels) y_.back().push_back(static_cast<std::byte>(label));
      } else {
        const auto bytes = std::as_bytes(std::span(labels));
        y_.emplace_back(bytes.begin(), bytes.end());
      }
      options.y.push_back(std::move(y));
    }
    EXPECT_THAT(model::CheckColumns(model_, options.x, options.y, {}), ::dnc::test::Succeeds());
    EXPECT_THAT(engine_->Configure(model_, options), ::dnc::test::Succeeds());
    EXPECT_THAT(engine_->SetWeights(entry["weights"].get<Floats>()), ::dnc::test::Succeeds());
  }

  trainer::Totals Epoch(trainer::BatchKind kind) {
    trainer::Totals totals;
    const auto part = [](ByteSpan column, std::uint32_t begin) {
      const std::size_t sample_bytes = column.size() / kSamples;
      return column.subspan(begin * sample_bytes, kBatchSize * sample_bytes);
    };
    for (std::uint32_t begin = 0; begin < kSamples; begin += kBatchSize) {
      trainer::Batch batch;
      batch.kind = kind;
      for (const Floats& x : x_) batch.x.push_back(part(std::as_bytes(std::span(x)), begin));
      for (const Bytes& y : y_) batch.y.push_back(part(y, begin));
      batch.samples = kBatchSize;
      const Result<trainer::BatchResult> result = engine_->Run(batch, nullptr);
      EXPECT_THAT(result, ::dnc::test::Succeeds());
      if (!result.ok()) return totals;
      totals.Add({.samples = kBatchSize,
                  .loss_sum = result->loss * kBatchSize,
                  .correct = result->correct,
                  .sums = result->sums});
    }
    return totals;
  }

  // All that Keras reports has the name and the value that it has here.
  void Expect(const json& expected, const trainer::Totals& totals) const {
    std::map<std::string, double> found = {{"loss", totals.loss()}};
    if (model::CountsRightSamples(model_)) {
      found[model_.compile.accuracy()->name] = totals.accuracy();
    }
    for (const model::Figure& figure : model::FiguresOf(model_)) {
      found[figure.name] = model::FigureValue(figure, totals.sums);
    }
    EXPECT_EQ(found.size(), expected.size());
    for (const auto& [name, value] : expected.items()) {
      ASSERT_TRUE(found.contains(name)) << name;
      const double keras = value.get<double>();
      EXPECT_NEAR(found[name], keras, 2e-6 * std::max(1.0, std::abs(keras))) << name;
    }
    EXPECT_TRUE(model_.compile.uncomputed_metrics.empty());
  }

  Floats Weights() {
    Floats weights(model_.weight_count);
    EXPECT_THAT(engine_->GetWeights(weights), ::dnc::test::Succeeds());
    return weights;
  }

 private:
  std::unique_ptr<trainer::Engine> engine_;
  model::Model model_;
  std::vector<Floats> x_;
  std::vector<Bytes> y_;
};

class FigureSumsTest : public ::testing::TestWithParam<Backward> {};

TEST_P(FigureSumsTest, ReportsWhatKerasReports) {
  const std::vector<json> entries = Entries();
  EXPECT_EQ(entries.size(), 14u);
  for (const json& entry : entries) {
    SCOPED_TRACE(entry["name"].get<std::string>());
    KerasRun run(entry, GetParam());
    run.Expect(entry["trained"], run.Epoch(trainer::BatchKind::kTrain));
    ExpectAllNear(run.Weights(), entry["weights_after"].get<Floats>(), 2e-6);
    run.Expect(entry["evaluated"], run.Epoch(trainer::BatchKind::kEvaluate));
  }
}

INSTANTIATE_TEST_SUITE_P(EachWay, FigureSumsTest,
                         ::testing::Values(Backward::kByHandWhereItCan, Backward::kByAutograd));

}  // namespace
}  // namespace dnc::trainer_torch
