// Gradients against numeric differentiation: with learning rate 1 a step's change of
// a weight is its gradient, and (loss(w + h) - loss(w - h)) / 2h must agree. Losses
// are float32, so with h = 2e-3 an error of 1e-3 is what arithmetic itself can bring.

#include <algorithm>
#include <cmath>

#include "testing/testing.h"
#include "trainer_torch/engine_harness.h"

namespace dnc::trainer_torch {
namespace {

constexpr float kStep = 2e-3f;
constexpr double kTolerance = 2e-3;

struct Case {
  const char* name;
  std::string json;
};

const std::string kMse = R"("mean_squared_error")";
const std::string kSparse = R"("sparse_categorical_crossentropy")";
const std::string kCategorical = R"("categorical_crossentropy")";
const std::string kBinary = R"("binary_crossentropy")";

std::string Dense(int units, const std::string& activation) {
  return Layer("Dense",
               "\"units\":" + std::to_string(units) + ",\"activation\":\"" + activation + "\"");
}

Floats Labels(const EngineHarness& harness, std::size_t samples) {
  const std::size_t width = harness.output_count();
  const model::LossKind loss = harness.model().compile.outputs[0].loss->kind;
  Floats y = RandomFloats(samples * width, 77);
  if (loss == model::LossKind::kSparseCategoricalCrossentropy) {
    y.resize(samples);
    for (std::size_t n = 0; n < samples; ++n) y[n] = static_cast<float>(n % width);
  } else if (loss == model::LossKind::kCategoricalCrossentropy) {
    std::fill(y.begin(), y.end(), 0.0f);
    for (std::size_t n = 0; n < samples; ++n) y[n * width + n % width] = 1;
  } else if (loss != model::LossKind::kMeanSquaredError) {
    for (float& value : y) value = value > 0 ? 1 : 0;
  }
  return y;
}

void CheckGradients(const std::string& json) {
  EngineHarness harness(json);
  if (::testing::Test::HasFailure()) return;
  const std::size_t samples = 3;
  const Floats x = RandomFloats(samples * harness.input_count(), 5);
  const Floats y = Labels(harness, samples);
  const Floats weights = harness.RandomWeights(6);

  harness.SetWeights(weights);
  harness.Train(x, y);
  const Floats after = harness.Weights();
  double largest = 0;
  for (const model::WeightSpec& spec : harness.model().weights) {
    if (!spec.trainable) continue;
    for (std::uint64_t i = spec.offset; i < spec.offset + spec.count; ++i) {
      double loss[2];
      for (int side = 0; side < 2; ++side) {
        Floats moved = weights;
        moved[i] += side == 0 ? kStep : -kStep;
        harness.SetWeights(moved);
        loss[side] = harness.Train(x, y).loss;
      }
      const double numeric = (loss[0] - loss[1]) / (2 * kStep);
      const double analytic = weights[i] - after[i];
      EXPECT_NEAR(analytic, numeric, kTolerance * std::max(1.0, std::abs(numeric)))
          << spec.name << " element " << i - spec.offset;
      largest = std::max(largest, std::abs(analytic));
    }
  }
  EXPECT_GT(largest, 0.01) << "nothing was learned, so nothing was checked";
}

void CheckAll(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    CheckGradients(c.json);
  }
}

TEST(GradientTest, ConvolutionsAndPoolingAgreeWithDifferences) {
  const std::string flatten = Layer("Flatten", "");
  CheckAll({
      {"strided same convolution, average pooling with a hanging window",
       Sequential(
           "7,6,2",
           {Layer("Conv2D", R"("filters":3,"kernel_size":[3,2],"strides":[2,2],)"
                            R"("padding":"same","activation":"tanh")"),
            Layer("AveragePooling2D", R"("pool_size":[3,3],"strides":[1,1],"padding":"same")"),
            flatten, Dense(3, "softmax")},
           kCategorical)},
      {"grouped, dilated convolution, maximum pooling",
       Sequential("8,8,2",
                  {Layer("Conv2D", R"("filters":4,"kernel_size":[2,2],"dilation_rate":[2,2],)"
                                   R"("groups":2,"activation":"swish","use_bias":false)"),
                   Layer("MaxPooling2D", R"("pool_size":[2,2],"padding":"same")"),
                   Layer("GlobalAveragePooling2D", ""), Dense(1, "sigmoid")},
                  kBinary)},
      {"channels first",
       Sequential("2,6,6",
                  {Layer("Conv2D", R"("filters":2,"kernel_size":[3,3],"padding":"same",)"
                                   R"("data_format":"channels_first","activation":"sigmoid")"),
                   Layer("MaxPooling2D", R"("pool_size":[2,2],"data_format":"channels_first")"),
                   flatten, Dense(3, "softmax")},
                  kSparse)},
  });
}

TEST(GradientTest, NormalizationDropoutAndReshapingAgreeWithDifferences) {
  CheckAll({
      {"batch normalization of images",
       Sequential("4,4,2",
                  {Layer("BatchNormalization", ""),
                   Layer("Conv2D", R"("filters":2,"kernel_size":[2,2],"activation":"softplus")"),
                   Layer("BatchNormalization", R"("scale":false)"), Layer("Flatten", ""),
                   Dense(2, "linear")},
                  kMse)},
      {"batch normalization of rows",
       Sequential(
           "5",
           {Dense(4, "elu"), Layer("BatchNormalization", R"("center":false)"), Dense(2, "linear")},
           kMse)},
      {"dropout, rescaling, reshape",
       Sequential("6",
                  {Layer("Rescaling", R"("scale":0.5,"offset":0.25)"), Dense(8, "gelu"),
                   Layer("Dropout", R"("rate":0.4)"), Layer("Reshape", R"("target_shape":[2,4])"),
                   Dense(3, "tanh"), Layer("Flatten", ""), Dense(2, "linear")},
                  kMse)},
  });
}

TEST(GradientTest, EveryActivationAgreesWithDifferences) {
  std::vector<Case> cases;
  // hard_sigmoid and relu are checked where they are smooth: random sums miss the bends.
  for (const char* activation :
       {"linear", "relu", "sigmoid", "tanh", "softmax", "elu", "selu", "softplus", "softsign",
        "swish", "exponential", "hard_sigmoid", "gelu"}) {
    cases.push_back({activation, Sequential("4",
                                            {Dense(3, activation), Dense(2, "linear"),
                                             Layer("Activation", std::string(R"("activation":")") +
                                                                     activation + "\"")},
                                            kMse)});
  }
  CheckAll(cases);
}

TEST(GradientTest, EveryLossAgreesWithDifferences) {
  const std::vector<std::string> linear = {Dense(4, "tanh"), Dense(3, "linear")};
  const std::vector<std::string> softmax = {Dense(4, "tanh"), Dense(3, "softmax")};
  const std::vector<std::string> sigmoid = {Dense(4, "tanh"), Dense(3, "sigmoid")};
  const auto logits = [](const char* name) {
    return std::string(R"({"class_name":")") + name + R"(","config":{"from_logits":true}})";
  };
  CheckAll({
      {"categorical, softmax", Sequential("4", softmax, kCategorical)},
      {"categorical, probabilities", Sequential("4", sigmoid, kCategorical)},
      {"categorical, logits", Sequential("4", linear, logits("CategoricalCrossentropy"))},
      {"sparse, softmax", Sequential("4", softmax, kSparse)},
      {"sparse, probabilities", Sequential("4", sigmoid, kSparse)},
      {"sparse, logits", Sequential("4", linear, logits("SparseCategoricalCrossentropy"))},
      {"binary, sigmoid", Sequential("4", sigmoid, kBinary)},
      {"binary, probabilities", Sequential("4", softmax, kBinary)},
      {"binary, logits", Sequential("4", linear, logits("BinaryCrossentropy"))},
      {"mean squared error", Sequential("4", linear, kMse)},
      {"hinge", Sequential("4", linear, R"("hinge")")},
  });
}

}  // namespace
}  // namespace dnc::trainer_torch
