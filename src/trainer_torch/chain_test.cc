// What is computed by hand against what autograd gives for the same model: outcomes are
// the same up to rounding, and by hand the same bits each time.

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "testing/testing.h"
#include "trainer_torch/chain.h"
#include "trainer_torch/conv_kernels.h"
#include "trainer_torch/engine_harness.h"

namespace dnc::trainer_torch {
namespace {

using trainer::BatchKind;
using trainer::BatchResult;

const std::string kSgd = R"({"class_name":"SGD","config":{"learning_rate":0.1}})";
const std::string kSparse = R"("sparse_categorical_crossentropy")";

std::string Dense(int units, const std::string& activation, const std::string& more = "") {
  return Layer("Dense", "\"units\":" + std::to_string(units) + R"(,"activation":")" + activation +
                            "\"" + more);
}

// Labels that every loss can take: classes, or positive values that sum to 1.
Floats LabelsFor(const EngineHarness& harness, int samples, std::uint64_t seed) {
  const auto width = static_cast<std::size_t>(harness.model().output_shape().back());
  const std::size_t count = static_cast<std::size_t>(samples) * harness.output_count();
  const bool sparse = harness.model().compile.outputs[0].loss->kind ==
                      model::LossKind::kSparseCategoricalCrossentropy;
  Floats values = RandomFloats(sparse ? count / width : count, seed);
  for (float& value : values) {
    value = sparse
                ? static_cast<float>(static_cast<int>((value + 1) / 2 * static_cast<float>(width)))
                : (value + 1) / 2;
  }
  if (!sparse && width > 1) {
    for (std::size_t row = 0; row < count; row += width) {
      float sum = 0;
      for (std::size_t i = 0; i < width; ++i) sum += values[row + i];
      for (std::size_t i = 0; i < width; ++i) values[row + i] /= sum;
    }
  }
  return values;
}

struct Trained {
  Floats weights;
  Floats predictions;
  std::vector<double> losses;
  std::vector<std::uint64_t> correct;
};

Trained TrainFor(const std::string& json, int threads, Backward backward, int samples = 6) {
  EngineHarness harness(json, threads, backward);
  harness.SetWeights(harness.RandomWeights(7));
  Trained trained;
  const auto keep = [&](const BatchResult& result) {
    trained.losses.push_back(result.loss);
    trained.correct.push_back(result.correct);
  };
  for (std::uint64_t step = 0; step < 4; ++step) {
    // The third batch is a smaller one, as the last of an epoch is.
    const int count = step == 2 ? std::max(samples / 2, 1) : samples;
    const Floats x = RandomFloats(harness.input_count() * static_cast<std::size_t>(count), step);
    const Floats y = LabelsFor(harness, count, step + 10);
    keep(harness.Train(x, y, step));
    keep(harness.Evaluate(x, y));
    if (step == 3) trained.predictions = harness.Predict(x);
  }
  trained.weights = harness.Weights();
  return trained;
}

void ExpectSameAsAutograd(const std::string& json, double tolerance = 2e-4) {
  SCOPED_TRACE(json);
  const Trained by_hand = TrainFor(json, 1, Backward::kByHandWhereItCan);
  const Trained expected = TrainFor(json, 1, Backward::kByAutograd);
  ExpectAllNear(by_hand.weights, expected.weights, tolerance);
  ExpectAllNear(by_hand.predictions, expected.predictions, tolerance);
  ASSERT_EQ(by_hand.losses.size(), expected.losses.size());
  for (std::size_t i = 0; i < expected.losses.size(); ++i) {
    EXPECT_NEAR(by_hand.losses[i], expected.losses[i],
                tolerance * std::max(1.0, std::abs(expected.losses[i])));
  }
  EXPECT_EQ(by_hand.correct, expected.correct);
}

// Whether the model is computed by hand at all.
bool IsChain(const std::string& json) {
  const Result<model::Model> model = model::ParseModel(json, "test");
  EXPECT_THAT(model, test::Succeeds());
  if (!model.ok()) return false;
  trainer::TrainerOptions options;
  options.x = {{"x", array::DType::kFloat32, model->input_shape(), {}}};
  options.y = {{"y", array::DType::kFloat32, model->output_shape(), {}}};
  std::vector<float> weights(model->weight_count);
  OptimizerState optimizer(model->compile.optimizer, model->weight_count);
  return Chain::Make(*model, options, weights.data(), &optimizer) != nullptr;
}

TEST(ChainTest, GivesWhatAutogradGivesForEveryLoss) {
  for (const char* loss :
       {R"("mean_squared_error")",
        R"("mean_absolute_error")",
        R"("hinge")",
        R"("squared_hinge")",
        R"("categorical_hinge")",
        R"("huber")",
        R"("log_cosh")",
        R"("poisson")",
        R"("kl_divergence")",
        R"("cosine_similarity")",
        R"("categorical_crossentropy")",
        R"("binary_crossentropy")",
        R"("sparse_categorical_crossentropy")",
        R"("mean_squared_logarithmic_error")",
        R"({"class_name":"CategoricalCrossentropy","config":{"label_smoothing":0.2}})",
        R"({"class_name":"BinaryCrossentropy","config":{"label_smoothing":0.2}})",
        R"({"class_name":"BinaryCrossentropy","config":{"from_logits":true}})",
        R"({"class_name":"MeanSquaredError","config":{"reduction":"sum"}})",
        R"({"class_name":"CategoricalCrossentropy","config":{"reduction":"sum"}})",
        R"({"class_name":"BinaryCrossentropy","config":{"reduction":"sum"}})"}) {
    for (const char* last : {"sigmoid", "softmax"}) {
      const std::string json = Sequential("5", {Dense(7, "relu"), Dense(4, last)}, loss, kSgd);
      EXPECT_TRUE(IsChain(json));
      ExpectSameAsAutograd(json);
    }
  }
}

TEST(ChainTest, GivesWhatAutogradGivesForEveryOptimizer) {
  for (const char* optimizer :
       {R"({"class_name":"SGD","config":{"learning_rate":0.1,"momentum":0.9}})",
        R"({"class_name":"SGD","config":{"learning_rate":0.1,"weight_decay":0.01}})",
        R"({"class_name":"SGD","config":{"learning_rate":0.1,"clipnorm":0.1}})",
        R"({"class_name":"SGD","config":{"learning_rate":0.1,"clipvalue":0.01}})",
        R"({"class_name":"SGD","config":{"learning_rate":0.1,"global_clipnorm":0.1}})",
        R"({"class_name":"Adam","config":{"learning_rate":0.01,"epsilon":0.01}})",
        R"({"class_name":"AdamW","config":{"learning_rate":0.01,"epsilon":0.01}})",
        R"({"class_name":"RMSprop","config":{"learning_rate":0.01,"epsilon":0.01}})",
        R"({"class_name":"Adagrad","config":{"learning_rate":0.01}})",
        R"({"class_name":"Adadelta","config":{"learning_rate":0.1}})",
        R"({"class_name":"Adamax","config":{"learning_rate":0.01,"epsilon":0.01}})",
        R"({"class_name":"Nadam","config":{"learning_rate":0.01,"epsilon":0.01}})",
        R"({"class_name":"Ftrl","config":{"learning_rate":0.01}})"}) {
    ExpectSameAsAutograd(
        Sequential("5", {Dense(7, "tanh"), Dense(3, "softmax")}, kSparse, optimizer), 1e-3);
  }
}

TEST(ChainTest, GivesWhatAutogradGivesForEveryStage) {
  const std::string frozen = R"(,"trainable":false)";
  const std::vector<std::vector<std::string>> models = {
      {Dense(3, "softmax")},
      {Layer("Rescaling", R"("scale":0.5,"offset":-1.0)"), Dense(4, "sigmoid"),
       Dense(3, "softmax")},
      {Dense(6, "linear"), Layer("Activation", R"("activation":"relu")"),
       Layer("Dropout", R"("rate":0.4)"), Dense(3, "linear"),
       Layer("Activation", R"("activation":"softmax")")},
      {Dense(6, "relu", R"(,"use_bias":false)"), Dense(6, "softmax"), Dense(3, "softmax"),
       Layer("Dropout", R"("rate":0.2)")},
      {Dense(6, "tanh", frozen), Dense(5, "tanh"), Dense(3, "softmax")},
      {Dense(6, "tanh"), Dense(5, "tanh", frozen), Dense(3, "softmax", frozen)},
      {Dense(6, "tanh", frozen), Dense(3, "softmax", frozen)},
  };
  for (const auto& layers : models) {
    const std::string json = Sequential("5", layers, kSparse, kSgd);
    EXPECT_TRUE(IsChain(json));
    ExpectSameAsAutograd(json);
  }
  // Rows of a sample, and what changes shapes alone.
  for (const std::string& json :
       {Sequential("4,3", {Layer("Flatten", ""), Dense(5, "relu"), Dense(3, "softmax")}, kSparse,
                   kSgd),
        Sequential("4,3", {Dense(5, "relu"), Dense(2, "softmax")}, kSparse, kSgd),
        Sequential("4,3", {Dense(5, "relu"), Layer("Flatten", ""), Dense(2, "softmax")}, kSparse,
                   kSgd),
        Sequential("12", {Layer("Reshape", R"("target_shape":[4,3])"), Dense(2, "linear")},
                   R"("mean_squared_error")", kSgd)}) {
    EXPECT_TRUE(IsChain(json));
    ExpectSameAsAutograd(json);
  }
}

std::string Conv(int filters, const std::string& more) {
  return Layer("Conv2D", "\"filters\":" + std::to_string(filters) + "," + more);
}

TEST(ChainTest, GivesWhatAutogradGivesForConvolutions) {
  const std::string relu = R"("activation":"relu",)";
  const std::string pool = Layer("MaxPooling2D", R"("pool_size":[2,2])");
  const std::vector<std::vector<std::string>> models = {
      {Conv(16, relu + R"("kernel_size":[3,3])"), pool},
      {Conv(32, relu + R"("kernel_size":[3,3])"), pool, Conv(64, relu + R"("kernel_size":[3,3])"),
       pool},
      {Conv(48, relu + R"("kernel_size":[2,4],"padding":"same")"),
       Layer("MaxPooling2D", R"("pool_size":[3,2])"),
       Conv(16, relu + R"("kernel_size":[4,2],"padding":"same")")},
      {Conv(16, R"("kernel_size":[1,1],"use_bias":false)"),
       Conv(112, relu + R"("kernel_size":[5,5],"padding":"same")"),
       Layer("MaxPooling2D", R"("pool_size":[2,3],"padding":"same")")},
      {Layer("Rescaling", R"("scale":2.0)"), Conv(16, relu + R"("kernel_size":[3,3])"),
       Layer("Dropout", R"("rate":0.3)"), pool},
  };
  int by_hand = 0;
  for (std::vector<std::string> layers : models) {
    layers.push_back(Layer("Flatten", ""));
    layers.push_back(Dense(3, "softmax"));
    const std::string json = Sequential("12,15,3", layers, kSparse,
                                        R"({"class_name":"SGD","config":{"learning_rate":0.01}})");
    by_hand += IsChain(json) ? 1 : 0;
    ExpectSameAsAutograd(json);
  }
  // Of the last, the pooling is no part of a convolution. None is where there are no loops
  // for this processor.
  EXPECT_EQ(by_hand, FindConvKernels() == nullptr ? 0 : 4);
}

// Both kinds of vectors give what a plain sum gives, as far as the processor has them.
TEST(ChainTest, WindowProductsAreSums) {
  std::vector<const ConvKernels*> all;
  if (FindConvKernels() != nullptr) all.push_back(FindConvKernels());
  if (FindConvKernels() == Avx512ConvKernels()) all.push_back(Avx2ConvKernels());
  const Floats a = RandomFloats(4000, 1);
  const Floats b = RandomFloats(4000, 2);
  for (const ConvKernels* kernels : all) {
    for (const std::int64_t columns : {16, 48, 64, 112}) {
      for (std::int64_t count = 1; count < 30; ++count) {
        Floats c(static_cast<std::size_t>(count * columns));
        const WindowProduct product = {count, columns, 2,        7,        a.data(), 5,
                                       300,   3,       b.data(), b.data(), 0,        c.data()};
        kernels->multiply(product);
        for (std::int64_t i = 0; i < count; ++i) {
          for (std::int64_t j = 0; j < columns; ++j) {
            double sum = b[static_cast<std::size_t>(j)];
            for (std::int64_t r = 0; r < 2; ++r) {
              for (std::int64_t k = 0; k < 7; ++k) {
                sum += a[static_cast<std::size_t>(i * 5 + r * 300 + k * 3)] *
                       b[static_cast<std::size_t>((r * 7 + k) * columns + j)];
              }
            }
            ASSERT_NEAR(c[static_cast<std::size_t>(i * columns + j)], sum, 1e-4);
          }
        }
      }
    }
  }
}

TEST(ChainTest, LeavesOtherModelsToAutograd) {
  const std::string l2 = R"(,"kernel_regularizer":{"class_name":"L2","config":{"l2":0.01}})";
  const std::string non_negative = R"(,"kernel_constraint":{"class_name":"NonNeg","config":{}})";
  for (const auto& layers : std::vector<std::vector<std::string>>{
           {Dense(4, "relu", l2), Dense(3, "softmax")},
           {Dense(4, "relu", non_negative), Dense(3, "softmax")},
           {Dense(4, "selu"), Dense(3, "softmax")},
           {Layer("ReLU", R"("max_value":6.0)"), Dense(3, "softmax")},
           {Dense(4, "relu"), Layer("BatchNormalization", ""), Dense(3, "softmax")},
           {Layer("Flatten", "")}}) {
    EXPECT_FALSE(IsChain(Sequential("5", layers, kSparse, kSgd)));
  }
}

// Large enough that two threads share the work.
TEST(ChainTest, GivesTheSameBitsEachTime) {
  const std::string adam = R"({"class_name":"Adam","config":{"learning_rate":0.001}})";
  const std::string relu = R"("activation":"relu","kernel_size":[3,3])";
  const std::string frozen = R"("trainable":false,)";
  for (const std::string& json :
       {Sequential("784",
                   {Dense(1000, "relu"), Layer("Dropout", R"("rate":0.3)"), Dense(100, "sigmoid"),
                    Dense(10, "softmax")},
                   kSparse, adam),
        Sequential("18,18,3",
                   {Conv(32, relu), Layer("MaxPooling2D", R"("pool_size":[2,2])"), Conv(32, relu),
                    Conv(16, frozen + relu), Layer("Flatten", ""), Dense(10, "softmax")},
                   kSparse, adam)}) {
    const Trained expected = TrainFor(json, 1, Backward::kByAutograd, 64);
    for (const int threads : {1, 2}) {
      const Trained first = TrainFor(json, threads, Backward::kByHandWhereItCan, 64);
      const Trained second = TrainFor(json, threads, Backward::kByHandWhereItCan, 64);
      EXPECT_EQ(first.weights, second.weights);
      EXPECT_EQ(first.predictions, second.predictions);
      EXPECT_EQ(first.losses, second.losses);
      ExpectAllNear(first.predictions, expected.predictions, 5e-3);
    }
  }
}

TEST(ChainTest, AFailedBatchChangesNothing) {
  EngineHarness harness(Sequential("2", {Dense(3, "softmax")}, kSparse, kSgd));
  const Floats weights = harness.RandomWeights(1);
  harness.SetWeights(weights);
  EXPECT_THAT(harness.Run(BatchKind::kTrain, {1, 2}, {3}),
              test::FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_THAT(harness.Run(BatchKind::kTrain, {1, std::numeric_limits<float>::quiet_NaN()}, {1}),
              test::FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_EQ(harness.Weights(), weights);
}

}  // namespace
}  // namespace dnc::trainer_torch
