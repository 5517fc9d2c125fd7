// The update rules on a device beside those of optimizer.h, which Keras's figures hold: the same
// gradients give the same weights but for rounding, and the same state.

#include "trainer_torch/device_optimizer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "testing/testing.h"
#include "trainer_torch/engine_harness.h"
#include "trainer_torch/keras_figures.h"
#include "trainer_torch/optimizer.h"

namespace dnc::trainer_torch {
namespace {

// Tensors of which some are not trained, one is longer than the alignment, and one is empty.
struct Tensors {
  Tensors() {
    std::uint64_t offset = 0;
    for (const std::uint64_t count : {5, 70, 3, 0, 64, 9}) {
      specs.emplace_back();
      specs.back().offset = offset;
      specs.back().count = count;
      specs.back().shape = {static_cast<std::int64_t>(count)};
      offset += count;
    }
    weight_count = offset;
  }
  std::vector<model::WeightSpec> specs;
  std::vector<bool> trained = {true, false, true, true, true, true};
  std::uint64_t weight_count = 0;
};

// The gradients of a step; `without` gets none.
std::vector<Floats> GradientsOf(const Tensors& tensors, std::uint64_t step) {
  std::vector<Floats> gradients;
  for (std::size_t i = 0; i < tensors.specs.size(); ++i) {
    gradients.push_back(RandomFloats(tensors.specs[i].count, 100 * step + i));
    // Some weights have no gradient at first.
    if (step == 0 && !gradients.back().empty()) gradients.back()[0] = 0;
  }
  return gradients;
}

struct OnHost {
  OnHost(const model::Optimizer& optimizer, const Tensors& given)
      : tensors(given), state(optimizer, given.weight_count) {}
  void Step(std::uint64_t step, std::size_t without) {
    std::vector<Floats> gradients = GradientsOf(tensors, step);
    std::vector<std::span<float>> all;
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      if (tensors.trained[i] && i != without) all.emplace_back(gradients[i]);
    }
    state.BeginStep();
    if (state.clips_together()) state.ClipTogether(all);
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      if (!tensors.trained[i] || i == without) continue;
      const model::WeightSpec& spec = tensors.specs[i];
      state.Update(weights.data() + spec.offset, gradients[i].data(), spec.offset, spec.count);
    }
  }
  const Tensors& tensors;
  OptimizerState state;
  Floats weights;
};

struct OnDevice {
  OnDevice(const model::Optimizer& optimizer, const Tensors& given)
      : tensors(given),
        layout(given.specs, given.trained),
        state(optimizer, given.weight_count, layout, at::kCPU) {}
  void SetWeights(const Floats& values) { flat = layout.Place(values, at::kCPU); }
  void Step(std::uint64_t step, std::size_t without) {
    const std::vector<Floats> values = GradientsOf(tensors, step);
    std::vector<at::Tensor> gradients(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (tensors.trained[i] && i != without) gradients[i] = at::tensor(values[i], at::kFloat);
    }
    state.Step(flat, gradients);
  }
  Floats Weights() const {
    Floats weights(tensors.weight_count);
    layout.Take(flat, weights);
    return weights;
  }
  const Tensors& tensors;
  DeviceLayout layout;
  DeviceOptimizer state;
  at::Tensor flat;
};

std::vector<std::string> Settings() {
  std::vector<std::string> settings;
  for (const OptimizerFigure& figure : kOptimizerFigures) settings.emplace_back(figure.optimizer);
  for (const char* config :
       {R"("SGD","config":{"learning_rate":0.1,"global_clipnorm":0.5,"momentum":0.9})",
        R"("Adam","config":{"learning_rate":0.1,"clipnorm":0.3,"weight_decay":0.01})",
        R"("Ftrl","config":{"learning_rate":0.1,"l2_shrinkage_regularization_strength":0.1})",
        R"("Lion","config":{"learning_rate":0.01,"weight_decay":0.1})"}) {
    settings.push_back(R"({"class_name":)" + std::string(config) + "}");
  }
  return settings;
}

model::Optimizer Parse(const std::string& text) {
  const Result<model::Model> model =
      model::ParseModel(Sequential("1", {}, R"("mse")", text), "setting");
  EXPECT_THAT(model, test::Succeeds());
  return model.ok() ? model->compile.optimizer : model::Optimizer();
}

constexpr std::size_t kNone = 99;

void ExpectClose(const Floats& found, const Floats& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_NEAR(found[i], expected[i], 3e-6 * std::max(1.0f, std::abs(expected[i]))) << i;
  }
}

TEST(DeviceOptimizerTest, StepsAsOnTheCpu) {
  const Tensors tensors;
  for (const std::string& setting : Settings()) {
    SCOPED_TRACE(setting);
    const model::Optimizer optimizer = Parse(setting);
    OnHost host(optimizer, tensors);
    OnDevice device(optimizer, tensors);
    host.weights = RandomFloats(tensors.weight_count, 1);
    device.SetWeights(host.weights);
    for (std::uint64_t step = 0; step < 5; ++step) {
      // In one step a tensor in the middle gets no gradient, and nothing of it may change.
      const std::size_t without = step == 3 ? 2 : kNone;
      host.Step(step, without);
      device.Step(step, without);
      SCOPED_TRACE(step);
      ExpectClose(device.Weights(), host.weights);
    }
  }
}

// What is not trained keeps its bits, whatever the rule would make of a gradient of 0.
TEST(DeviceOptimizerTest, LeavesWhatIsNotTrained) {
  const Tensors tensors;
  for (const std::string& setting : Settings()) {
    SCOPED_TRACE(setting);
    OnDevice device(Parse(setting), tensors);
    const Floats before = RandomFloats(tensors.weight_count, 1);
    device.SetWeights(before);
    for (std::uint64_t step = 0; step < 3; ++step) device.Step(step, 5);
    const Floats after = device.Weights();
    for (const std::size_t i : {1, 5}) {
      const model::WeightSpec& spec = tensors.specs[i];
      for (std::uint64_t k = spec.offset; k < spec.offset + spec.count; ++k) {
        EXPECT_EQ(after[k], before[k]) << k;
      }
    }
    EXPECT_NE(after[0], before[0]);
  }
}

// A state goes from one to the other and back without a change.
TEST(DeviceOptimizerTest, StatesAreThoseOfTheCpu) {
  const Tensors tensors;
  for (const std::string& setting : Settings()) {
    SCOPED_TRACE(setting);
    const model::Optimizer optimizer = Parse(setting);
    OnHost host(optimizer, tensors);
    OnDevice device(optimizer, tensors);
    EXPECT_EQ(device.state.Save(), host.state.Save());
    host.weights = RandomFloats(tensors.weight_count, 1);
    for (std::uint64_t step = 0; step < 3; ++step) host.Step(step, kNone);
    const Bytes state = host.state.Save();
    ASSERT_THAT(device.state.Load(state), test::Succeeds());
    EXPECT_EQ(device.state.Save(), state);
    device.SetWeights(host.weights);
    for (std::uint64_t step = 3; step < 5; ++step) {
      host.Step(step, kNone);
      device.Step(step, kNone);
    }
    ExpectClose(device.Weights(), host.weights);
    // And on from what the device has.
    ASSERT_THAT(host.state.Load(device.state.Save()), test::Succeeds());
    host.weights = device.Weights();
    host.Step(5, kNone);
    device.Step(5, kNone);
    ExpectClose(device.Weights(), host.weights);
    device.state.Reset();
    EXPECT_EQ(device.state.Save(), OptimizerState(optimizer, tensors.weight_count).Save());
  }
}

TEST(DeviceOptimizerTest, RefusesWhatTheCpuRefuses) {
  const Tensors tensors;
  OnDevice device(Parse(R"({"class_name":"Adam","config":{}})"), tensors);
  const Bytes good = device.state.Save();
  EXPECT_THAT(device.state.Load(ByteSpan(good).first(good.size() - 1)),
              test::FailsWith(ErrorCode::kCorrupt));
  EXPECT_THAT(device.state.Load(good), test::Succeeds());
}

TEST(DeviceLayoutTest, TrainedTensorsComeFirstEachAligned) {
  const Tensors tensors;
  const DeviceLayout layout(tensors.specs, tensors.trained);
  EXPECT_EQ(layout.order(), (std::vector<std::size_t>{0, 2, 3, 4, 5, 1}));
  for (std::size_t i = 0; i < layout.tensor_count(); ++i) EXPECT_EQ(layout.offset(i) % 64, 0);
  EXPECT_EQ(layout.offset(1), 4 * 64);
  EXPECT_EQ(layout.size(), 6 * 64);
  const Floats values = RandomFloats(tensors.weight_count, 1);
  Floats again(values.size());
  layout.Take(layout.Place(values, at::kCPU), again);
  EXPECT_EQ(again, values);
}

}  // namespace
}  // namespace dnc::trainer_torch
