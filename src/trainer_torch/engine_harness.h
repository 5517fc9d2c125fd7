// Helpers for this room's tests: a small model from a few words of Keras JSON, run
// by the engine in this process. Only tests include this.

#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/prng.h"
#include "model/model.h"
#include "trainer_torch/far_device_for_test.h"
#include "trainer_torch/machine.h"
#include "trainer_torch/torch_engine.h"

namespace dnc::trainer_torch {

using Floats = std::vector<float>;

// R"("units":2)" and so on as a layer; names are given by Sequential().
inline std::string Layer(const std::string& class_name, const std::string& config) {
  return "{\"class_name\":\"" + class_name + "\",\"config\":{\"name\":\"@\"" +
         (config.empty() ? "" : "," + config) + "}}";
}

inline std::string Sequential(
    const std::string& input_shape, const std::vector<std::string>& layers, const std::string& loss,
    const std::string& optimizer = R"({"class_name":"SGD","config":{"learning_rate":1.0}})") {
  std::string json = R"({"class_name":"Sequential","config":{"name":"m","layers":[)"
                     R"({"class_name":"InputLayer","config":{"name":"in","batch_input_shape":)"
                     "[null," +
                     input_shape + "]}}";
  int number = 0;
  for (std::string layer : layers) {
    layer.replace(layer.find('@'), 1, "layer_" + std::to_string(++number));
    json += "," + layer;
  }
  return json + R"(]},"compile":{"optimizer":)" + optimizer + R"(,"loss":)" + loss +
         R"(,"metrics":["accuracy"]}})";
}

// Uniform in [-1, 1), the same for a seed for ever.
inline Floats RandomFloats(std::size_t count, std::uint64_t seed) {
  Prng prng(seed);
  Floats values(count);
  for (float& value : values) value = static_cast<float>(2 * prng.Unit() - 1);
  return values;
}

// The engine that a test asks for; with DNC_TEST_DEVICE one on that device (far_device_for_test.h),
// so that the same tests hold for the code that devices take.
inline std::unique_ptr<DeviceEngine> MakeEngineForTest(
    Backward backward = Backward::kByHandWhereItCan) {
  const std::optional<at::Device> device = TestDevice();
  std::unique_ptr<DeviceEngine> engine = MakeTorchEngine(device ? Backward::kOnDevice : backward);
  if (device) engine->UseDevice(*device);
  return engine;
}

class EngineHarness {
 public:
  // Labels are float32 in the output's shape, or uint8 with a sparse loss.
  explicit EngineHarness(const std::string& json, int threads = 1,
                         Backward backward = Backward::kByHandWhereItCan)
      : engine_(MakeEngineForTest(backward)) {
    Result<model::Model> parsed = model::ParseModel(json, "test");
    if (!parsed.ok()) {
      ADD_FAILURE() << parsed.error().message << "\n" << json;
      return;
    }
    model_ = std::move(parsed).value();
    sparse_ =
        model_.compile.outputs[0].loss->kind == model::LossKind::kSparseCategoricalCrossentropy;
    trainer::TrainerOptions options;
    options.threads = threads;
    options.batch_size_max = 64;
    options.x = {{"x", array::DType::kFloat32, model_.input_shape(), {}}};
    options.y = {
        {"y", sparse_ ? array::DType::kUint8 : array::DType::kFloat32, model_.output_shape(), {}}};
    if (sparse_) options.y[0].shape.pop_back();
    const Status fits = model::CheckColumns(model_, options.x, options.y, {});
    EXPECT_TRUE(fits.ok()) << (fits.ok() ? "" : fits.error().message);
    const Status configured = engine_->Configure(model_, options);
    EXPECT_TRUE(configured.ok()) << (configured.ok() ? "" : configured.error().message);
  }

  const model::Model& model() const { return model_; }
  trainer::Engine& engine() { return *engine_; }
  std::size_t input_count() const { return *array::ElementCount(model_.input_shape()); }
  std::size_t output_count() const { return *array::ElementCount(model_.output_shape()); }

  void SetWeights(const Floats& weights) {
    ASSERT_EQ(weights.size(), model_.weight_count);
    EXPECT_TRUE(engine_->SetWeights(weights).ok());
  }
  Floats Weights() {
    Floats weights(model_.weight_count);
    EXPECT_TRUE(engine_->GetWeights(weights).ok());
    return weights;
  }
  // Small random weights with moving variances that are positive.
  Floats RandomWeights(std::uint64_t seed) const {
    Floats weights = RandomFloats(model_.weight_count, seed);
    for (const model::WeightSpec& spec : model_.weights) {
      if (spec.name.find("moving_variance") == std::string::npos) continue;
      for (std::uint64_t i = 0; i < spec.count; ++i) {
        weights[spec.offset + i] = 1 + 0.5f * weights[spec.offset + i];
      }
    }
    return weights;
  }

  Result<trainer::BatchResult> Run(trainer::BatchKind kind, const Floats& x, const Floats& y,
                                   std::uint64_t seed = 1, Floats* outputs = nullptr) {
    Bytes labels;
    for (const float value : y) {
      if (sparse_) {
        labels.push_back(static_cast<std::byte>(value));
      } else {
        const auto bytes = std::as_bytes(std::span(&value, 1));
        labels.insert(labels.end(), bytes.begin(), bytes.end());
      }
    }
    const auto samples = static_cast<std::uint32_t>(x.size() / input_count());
    return engine_->Run({kind, {std::as_bytes(std::span(x))}, {labels}, samples, seed}, outputs);
  }
  trainer::BatchResult Train(const Floats& x, const Floats& y, std::uint64_t seed = 1) {
    return Must(Run(trainer::BatchKind::kTrain, x, y, seed));
  }
  trainer::BatchResult Evaluate(const Floats& x, const Floats& y) {
    return Must(Run(trainer::BatchKind::kEvaluate, x, y));
  }
  Floats Predict(const Floats& x) {
    Floats outputs;
    Must(Run(trainer::BatchKind::kPredict, x, Floats(), 1, &outputs));
    return outputs;
  }

 private:
  static trainer::BatchResult Must(const Result<trainer::BatchResult>& result) {
    EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message);
    return result.ok() ? *result : trainer::BatchResult{};
  }

  model::Model model_;
  bool sparse_ = false;
  std::unique_ptr<trainer::Engine> engine_;
};

inline void ExpectAllNear(const Floats& found, const Floats& expected, double tolerance) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_NEAR(found[i], expected[i], tolerance) << "element " << i;
  }
}

}  // namespace dnc::trainer_torch
