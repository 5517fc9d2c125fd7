// The distributions of Keras's initializers, measured on large tensors. Tolerances
// are several standard errors wide, and the seeds are fixed.

#include <algorithm>
#include <cmath>

#include "model/test_models.h"
#include "testing/testing.h"

namespace dnc::model {
namespace {

using test::LayerJson;
using test::MustParse;
using test::OneLayerJson;

struct Moments {
  double mean = 0;
  double stddev = 0;
  double min = 0;
  double max = 0;
};

Moments MomentsOf(const std::vector<float>& numbers) {
  Moments moments;
  moments.min = *std::min_element(numbers.begin(), numbers.end());
  moments.max = *std::max_element(numbers.begin(), numbers.end());
  double squares = 0;
  for (const float number : numbers) {
    moments.mean += number;
    squares += static_cast<double>(number) * number;
  }
  const auto count = static_cast<double>(numbers.size());
  moments.mean /= count;
  moments.stddev = std::sqrt(squares / count - moments.mean * moments.mean);
  return moments;
}

// The kernel (200, 300) of a Dense with the given initializer.
std::vector<float> Kernel(const std::string& initializer) {
  const Model model = MustParse(
      OneLayerJson("[null, 200]", "Dense",
                   "\"units\": 300, \"use_bias\": false, \"kernel_initializer\": " + initializer));
  return InitialWeights(model, 42);
}

void ExpectUniform(const std::vector<float>& numbers, double limit) {
  const Moments moments = MomentsOf(numbers);
  EXPECT_NEAR(moments.mean, 0, 0.01 * limit);
  EXPECT_NEAR(moments.stddev, limit / std::sqrt(3), 0.01 * limit);
  EXPECT_GE(moments.min, -limit);
  EXPECT_LE(moments.max, limit);
  EXPECT_GT(moments.max, 0.99 * limit);
}

void ExpectTruncatedNormal(const std::vector<float>& numbers, double stddev) {
  const Moments moments = MomentsOf(numbers);
  EXPECT_NEAR(moments.mean, 0, 0.02 * stddev);
  EXPECT_NEAR(moments.stddev, stddev, 0.01 * stddev);
  EXPECT_LE(moments.max, 2 * stddev / 0.87962566103423978 * (1 + 1e-6));
  EXPECT_GE(moments.min, -2 * stddev / 0.87962566103423978 * (1 + 1e-6));
}

TEST(InitialWeightsTest, ScalesVarianceByTheFansOfKeras) {
  ExpectUniform(Kernel("\"glorot_uniform\""), std::sqrt(6.0 / (200 + 300)));
  ExpectUniform(Kernel("\"he_uniform\""), std::sqrt(6.0 / 200));
  ExpectUniform(Kernel("\"LecunUniform\""), std::sqrt(3.0 / 200));
  ExpectTruncatedNormal(Kernel("\"glorot_normal\""), std::sqrt(2.0 / (200 + 300)));
  ExpectTruncatedNormal(Kernel("\"he_normal\""), std::sqrt(2.0 / 200));
  ExpectTruncatedNormal(Kernel("\"lecun_normal\""), std::sqrt(1.0 / 200));
  ExpectTruncatedNormal(Kernel(R"({"class_name": "VarianceScaling", "config": {"scale": 3.0,
      "mode": "fan_out", "distribution": "truncated_normal"}})"),
                        std::sqrt(3.0 / 300));
  const Moments untruncated = MomentsOf(Kernel(R"({"class_name": "VarianceScaling",
      "config": {"distribution": "untruncated_normal"}})"));
  EXPECT_NEAR(untruncated.stddev, std::sqrt(1.0 / 200), 0.001);
  EXPECT_GT(untruncated.max, 3 * std::sqrt(1.0 / 200));
}

TEST(InitialWeightsTest, CountsTheReceptiveFieldOfAConvolution) {
  const Model model = MustParse(OneLayerJson(
      "[null, 9, 9, 32]", "Conv2D", R"("filters": 64, "kernel_size": [3, 5], "use_bias": false)"));
  ExpectUniform(InitialWeights(model, 1), std::sqrt(6.0 / (15 * 32 + 15 * 64)));
}

TEST(InitialWeightsTest, DrawsThePlainDistributions) {
  const Moments uniform = MomentsOf(
      Kernel(R"({"class_name": "RandomUniform", "config": {"minval": 1.0, "maxval": 3.0}})"));
  EXPECT_NEAR(uniform.mean, 2, 0.02);
  EXPECT_GE(uniform.min, 1);
  EXPECT_LE(uniform.max, 3);
  const Moments normal = MomentsOf(
      Kernel(R"({"class_name": "RandomNormal", "config": {"mean": 1.0, "stddev": 0.5}})"));
  EXPECT_NEAR(normal.mean, 1, 0.01);
  EXPECT_NEAR(normal.stddev, 0.5, 0.01);
  const Moments cut = MomentsOf(
      Kernel(R"({"class_name": "TruncatedNormal", "config": {"mean": 0.0, "stddev": 1.0}})"));
  EXPECT_NEAR(cut.stddev, 0.8796, 0.01);  // Not corrected for the cut.
  EXPECT_LT(cut.max, 2);
  const Moments constant =
      MomentsOf(Kernel(R"({"class_name": "Constant", "config": {"value": 0.25}})"));
  EXPECT_EQ(constant.min, 0.25);
  EXPECT_EQ(constant.max, 0.25);
  EXPECT_EQ(MomentsOf(Kernel("\"ones\"")).min, 1);
  EXPECT_EQ(MomentsOf(Kernel("\"zeros\"")).max, 0);
}

TEST(InitialWeightsTest, OrthogonalKernelsAreOrthogonalBothWays) {
  for (const auto& [rows, columns] : {std::pair{20, 50}, std::pair{50, 20}, std::pair{30, 30}}) {
    const Model model = MustParse(
        OneLayerJson("[null, " + std::to_string(rows) + "]", "Dense",
                     "\"units\": " + std::to_string(columns) +
                         R"(, "use_bias": false, "kernel_initializer": {"class_name": "Orthogonal",
                "config": {"gain": 2.0}})"));
    const std::vector<float> matrix = InitialWeights(model, 5);
    const int count = std::min(rows, columns);
    const auto at = [&, r = rows, c = columns](int vector, int k) {
      return static_cast<double>(r >= c ? matrix[k * c + vector] : matrix[vector * c + k]);
    };
    for (int a = 0; a < count; ++a) {
      for (int b = 0; b <= a; ++b) {
        double dot = 0;
        for (int k = 0; k < std::max(rows, columns); ++k) dot += at(a, k) * at(b, k);
        EXPECT_NEAR(dot, a == b ? 4 : 0, 1e-5);
      }
    }
  }
}

TEST(InitialWeightsTest, AreAFunctionOfModelAndSeedAlone) {
  const Model model = MustParse(test::SmallNetworkJson());
  EXPECT_EQ(InitialWeights(model, 7), InitialWeights(model, 7));
  EXPECT_NE(InitialWeights(model, 7), InitialWeights(model, 8));
}

TEST(InitialWeightsTest, SetsEveryWeightOfEveryLayer) {
  const Model model = MustParse(test::SmallNetworkJson());
  const std::vector<float> weights = InitialWeights(model, 7);
  ASSERT_EQ(weights.size(), model.weight_count);
  for (const WeightSpec& weight : model.weights) {
    const float first = weights[weight.offset];
    if (weight.name.ends_with("gamma:0") || weight.name.ends_with("variance:0")) {
      EXPECT_EQ(first, 1) << weight.name;
    } else if (weight.name.ends_with("kernel:0")) {
      EXPECT_NE(first, 0) << weight.name;
    } else {
      EXPECT_EQ(first, 0) << weight.name;
    }
  }
}

TEST(InitialWeightsTest, TwoLayersOfOneShapeGetDifferentWeights) {
  const Model model = MustParse(test::SequentialJson(
      test::InputJson("[null, 4]") + "," + LayerJson("Dense", R"("units": 4, "use_bias": false)") +
      "," + LayerJson("Dense", R"("units": 4, "use_bias": false)")));
  const std::vector<float> weights = InitialWeights(model, 7);
  EXPECT_NE(std::vector<float>(weights.begin(), weights.begin() + 16),
            std::vector<float>(weights.begin() + 16, weights.end()));
}

}  // namespace
}  // namespace dnc::model
