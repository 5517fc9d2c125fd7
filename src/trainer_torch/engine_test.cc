// What layers compute, against TensorFlow's definitions written out as plain loops or
// computed by hand.

#include <ATen/Context.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "testing/testing.h"
#include "trainer_torch/engine_harness.h"
#include "trainer_torch/matrix_products.h"

namespace dnc::trainer_torch {
namespace {

const std::string kMse = R"("mean_squared_error")";

struct Window {
  int size, kernel, stride, dilation;
  bool same;

  int outputs() const {
    const int reach = (kernel - 1) * dilation + 1;
    return same ? (size + stride - 1) / stride : (size - reach) / stride + 1;
  }
  // TensorFlow: the smaller half of the padding comes first.
  int pad_before() const {
    const int reach = (kernel - 1) * dilation + 1;
    return same ? std::max((outputs() - 1) * stride + reach - size, 0) / 2 : 0;
  }
  // The input position of kernel element k at output o, or -1 in the padding.
  int at(int o, int k) const {
    const int position = o * stride - pad_before() + k * dilation;
    return position < size ? position : -1;
  }
};

std::string PairText(const char* key, int a, int b) {
  return "\"" + std::string(key) + "\":[" + std::to_string(a) + "," + std::to_string(b) + "],";
}

std::string WindowText(const char* kernel_key, const Window& h, const Window& w,
                       bool channels_last) {
  std::string text =
      PairText(kernel_key, h.kernel, w.kernel) + PairText("strides", h.stride, w.stride);
  if (h.dilation != 1) text += PairText("dilation_rate", h.dilation, w.dilation);
  return text + "\"padding\":\"" + (h.same ? "same" : "valid") + "\",\"data_format\":\"" +
         (channels_last ? "channels_last" : "channels_first") + "\"";
}

std::string ImageShape(int height, int width, int channels, bool channels_last) {
  const std::string size = std::to_string(height) + "," + std::to_string(width);
  const std::string c = std::to_string(channels);
  return channels_last ? size + "," + c : c + "," + size;
}

struct ImageIndex {
  int height, width, channels;
  bool channels_last;
  std::size_t operator()(int n, int y, int x, int c) const {
    const int index = channels_last ? ((n * height + y) * width + x) * channels + c
                                    : ((n * channels + c) * height + y) * width + x;
    return static_cast<std::size_t>(index);
  }
  std::size_t count(int samples) const {
    return static_cast<std::size_t>(samples * height * width * channels);
  }
};

struct Geometry {
  Window h, w;
};

const Geometry kGeometries[] = {
    {{5, 3, 1, 1, true}, {6, 3, 1, 1, true}},   {{5, 3, 1, 1, false}, {6, 2, 1, 1, false}},
    {{6, 3, 2, 1, true}, {7, 3, 2, 1, true}},   {{6, 2, 2, 1, true}, {5, 2, 2, 1, true}},
    {{7, 4, 1, 1, true}, {6, 2, 1, 1, true}},   {{8, 5, 3, 1, true}, {7, 4, 2, 1, true}},
    {{7, 2, 3, 1, false}, {8, 3, 2, 1, false}}, {{3, 1, 2, 1, true}, {4, 1, 1, 1, true}},
};

TEST(EngineTest, ConvolutionsArePaddedStridedDilatedAndGroupedAsInTensorFlow) {
  std::vector<Geometry> geometries(std::begin(kGeometries), std::end(kGeometries));
  geometries.push_back({{8, 3, 1, 2, true}, {9, 2, 1, 3, true}});
  geometries.push_back({{8, 3, 1, 2, false}, {9, 2, 1, 2, false}});
  const int in = 4, out = 6, samples = 2;
  for (const auto& [h, w] : geometries) {
    for (const int groups : {1, 2}) {
      for (const bool last : {true, false}) {
        const std::string config = R"("filters":6,"groups":)" + std::to_string(groups) + "," +
                                   WindowText("kernel_size", h, w, last);
        SCOPED_TRACE(config);
        EngineHarness harness(
            Sequential(ImageShape(h.size, w.size, in, last), {Layer("Conv2D", config)}, kMse));
        const ImageIndex source{h.size, w.size, in, last};
        const ImageIndex target{h.outputs(), w.outputs(), out, last};
        const Floats x = RandomFloats(source.count(samples), 3);
        const Floats weights = RandomFloats(harness.model().weight_count, 4);
        harness.SetWeights(weights);
        Floats expected(target.count(samples));
        const int group_in = in / groups;
        for (int n = 0; n < samples; ++n)
          for (int oy = 0; oy < h.outputs(); ++oy)
            for (int ox = 0; ox < w.outputs(); ++ox)
              for (int o = 0; o < out; ++o) {
                double sum = weights[weights.size() - out + static_cast<std::size_t>(o)];
                for (int ky = 0; ky < h.kernel; ++ky)
                  for (int kx = 0; kx < w.kernel; ++kx)
                    for (int i = 0; i < group_in; ++i) {
                      const int y = h.at(oy, ky), xx = w.at(ox, kx);
                      if (y < 0 || xx < 0) continue;
                      const int c = o / (out / groups) * group_in + i;
                      const int k = ((ky * w.kernel + kx) * group_in + i) * out + o;
                      sum += x[source(n, y, xx, c)] * weights[static_cast<std::size_t>(k)];
                    }
                expected[target(n, oy, ox, o)] = static_cast<float>(sum);
              }
        ExpectAllNear(harness.Predict(x), expected, 1e-4);
      }
    }
  }
}

TEST(EngineTest, PoolingLeavesPaddingOutAsInTensorFlow) {
  const int channels = 3, samples = 2;
  for (const auto& [h, w] : kGeometries) {
    for (const bool average : {true, false}) {
      for (const bool last : {true, false}) {
        const std::string config = WindowText("pool_size", h, w, last);
        SCOPED_TRACE((average ? "average " : "maximum ") + config);
        EngineHarness harness(
            Sequential(ImageShape(h.size, w.size, channels, last),
                       {Layer(average ? "AveragePooling2D" : "MaxPooling2D", config)}, kMse));
        const ImageIndex source{h.size, w.size, channels, last};
        const ImageIndex target{h.outputs(), w.outputs(), channels, last};
        const Floats x = RandomFloats(source.count(samples), 3);
        Floats expected(target.count(samples));
        for (int n = 0; n < samples; ++n)
          for (int oy = 0; oy < h.outputs(); ++oy)
            for (int ox = 0; ox < w.outputs(); ++ox)
              for (int c = 0; c < channels; ++c) {
                double sum = 0, largest = -1e30;
                int count = 0;
                for (int ky = 0; ky < h.kernel; ++ky)
                  for (int kx = 0; kx < w.kernel; ++kx) {
                    const int y = h.at(oy, ky), xx = w.at(ox, kx);
                    if (y < 0 || xx < 0) continue;
                    sum += x[source(n, y, xx, c)];
                    largest = std::max<double>(largest, x[source(n, y, xx, c)]);
                    ++count;
                  }
                expected[target(n, oy, ox, c)] =
                    static_cast<float>(average ? sum / count : largest);
              }
        ExpectAllNear(harness.Predict(x), expected, 1e-5);
      }
    }
  }
}

// The engine does the relu of a convolution after the pooling that reads it.
TEST(EngineTest, ReluBeforeOrAfterMaximumPoolingIsTheSame) {
  const std::string pool = Layer("MaxPooling2D", R"("pool_size":[3,3],"padding":"same")");
  const std::string rest = Layer("Flatten", "");
  const auto conv = [](const char* activation) {
    return Layer("Conv2D", std::string(R"("filters":3,"kernel_size":[3,3],"activation":")") +
                               activation + "\"");
  };
  EngineHarness together(Sequential("9,8,2", {conv("relu"), pool, rest}, kMse));
  EngineHarness apart(Sequential("9,8,2", {conv("linear"), Layer("ReLU", ""), pool, rest}, kMse));
  const Floats x = RandomFloats(4 * together.input_count(), 8);
  const Floats y = RandomFloats(4 * together.output_count(), 9);
  const Floats weights = together.RandomWeights(10);
  together.SetWeights(weights);
  apart.SetWeights(weights);
  EXPECT_EQ(together.Predict(x), apart.Predict(x));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(together.Train(x, y).loss, apart.Train(x, y).loss);
  EXPECT_EQ(together.Weights(), apart.Weights());
}

TEST(EngineTest, ActivationsAreKerass) {
  const Floats x = {-3.0f, -0.5f, 0.0f, 0.7f, 4.0f};
  const auto check = [&](const std::string& name, double (*f)(double)) {
    SCOPED_TRACE(name);
    EngineHarness harness(
        Sequential("1", {Layer("Activation", R"("activation":")" + name + "\"")}, kMse));
    Floats expected;
    for (const float value : x) expected.push_back(static_cast<float>(f(value)));
    ExpectAllNear(harness.Predict(x), expected, 1e-5);
  };
  check("linear", [](double v) { return v; });
  check("relu", [](double v) { return std::max(v, 0.0); });
  check("sigmoid", [](double v) { return 1 / (1 + std::exp(-v)); });
  check("tanh", [](double v) { return std::tanh(v); });
  check("elu", [](double v) { return v > 0 ? v : std::expm1(v); });
  check("selu",
        [](double v) { return 1.05070098735548 * (v > 0 ? v : 1.67326324235437 * std::expm1(v)); });
  check("softplus", [](double v) { return std::log1p(std::exp(v)); });
  check("softsign", [](double v) { return v / (1 + std::abs(v)); });
  check("swish", [](double v) { return v / (1 + std::exp(-v)); });
  check("exponential", [](double v) { return std::exp(v); });
  check("hard_sigmoid", [](double v) { return std::clamp(0.2 * v + 0.5, 0.0, 1.0); });
  check("gelu", [](double v) { return v * 0.5 * (1 + std::erf(v / std::sqrt(2.0))); });
}

TEST(EngineTest, ReluAndSoftmaxLayersTakeTheirOptions) {
  EngineHarness relu(Sequential(
      "4", {Layer("ReLU", R"("max_value":6.0,"negative_slope":0.5,"threshold":1.0)")}, kMse));
  ExpectAllNear(relu.Predict({-1, 0.5f, 1.0f, 9}), {-1, -0.25f, 1, 6}, 1e-6);
  EngineHarness softmax(Sequential("2,2", {Layer("Softmax", R"("axis":1)")}, kMse));
  const float e = std::exp(1.0f) / (1 + std::exp(1.0f));
  ExpectAllNear(softmax.Predict({1, 0, 0, 1}), {e, 1 - e, 1 - e, e}, 1e-6);
}

TEST(EngineTest, FlattenAndReshapeKeepKerassOrder) {
  const Floats x = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  EngineHarness last(Sequential("2,3,2", {Layer("Flatten", "")}, kMse));
  EXPECT_EQ(last.Predict(x), x);
  // Keras flattens channels_first data as if it were channels_last.
  EngineHarness first(
      Sequential("2,2,3", {Layer("Flatten", R"("data_format":"channels_first")")}, kMse));
  EXPECT_EQ(first.Predict(x), (Floats{0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11}));
  EngineHarness reshape(Sequential("2,3,2", {Layer("Reshape", R"("target_shape":[4,3])")}, kMse));
  EXPECT_EQ(reshape.Predict(x), x);
  // What comes out of a convolution lies in memory as Keras has it, too.
  EngineHarness conv(Sequential(
      "2,2,1", {Layer("Conv2D", R"("filters":2,"kernel_size":[1,1])"), Layer("Flatten", "")},
      kMse));
  conv.SetWeights({1, 10, 0, 0});
  EXPECT_EQ(conv.Predict({1, 2, 3, 4}), (Floats{1, 10, 2, 20, 3, 30, 4, 40}));
}

TEST(EngineTest, BatchNormalizationUpdatesItsStatisticsAsKerasDoes) {
  const std::string config = R"("momentum":0.5,"epsilon":0.001)";
  // Rows: values 1 and 3, mean 2, variance 1 without Bessel's correction.
  EngineHarness rows(Sequential("1", {Layer("BatchNormalization", config)}, kMse,
                                R"({"class_name":"SGD","config":{"learning_rate":0.0}})"));
  rows.SetWeights({2, 1, 0, 1});  // gamma, beta, moving mean, moving variance.
  rows.Train({1, 3}, {0, 0});
  ExpectAllNear(rows.Weights(), {2, 1, 1, 1}, 1e-6);
  rows.SetWeights({2, 1, 4, 9});
  const float scale = 2 / std::sqrt(9.001f);
  ExpectAllNear(rows.Predict({4, 7}), {1, 1 + 3 * scale}, 1e-5);
  EXPECT_EQ(rows.Weights(), (Floats{2, 1, 4, 9})) << "inference changed the statistics";

  // Images: TensorFlow's fused kernel corrects the variance it keeps: 2, not 1.
  EngineHarness image(Sequential("1,1,1", {Layer("BatchNormalization", config)}, kMse,
                                 R"({"class_name":"SGD","config":{"learning_rate":0.0}})"));
  image.SetWeights({2, 1, 0, 1});
  image.Train({1, 3}, {0, 0});
  ExpectAllNear(image.Weights(), {2, 1, 1, 1.5f}, 1e-6);
  // One value has no variance to correct.
  image.SetWeights({2, 1, 0, 1});
  image.Train({4}, {0});
  ExpectAllNear(image.Weights(), {2, 1, 2, 0.5f}, 1e-6);
}

TEST(EngineTest, LayersThatAreNotTrainableStayAsTheyAre) {
  EngineHarness harness(Sequential(
      "2",
      {Layer("Dense", R"("units":2,"trainable":false)"),
       Layer("BatchNormalization", R"("trainable":false)"), Layer("Dense", R"("units":1)")},
      kMse));
  const Floats before = harness.RandomWeights(3);
  harness.SetWeights(before);
  harness.Train({1, 2, 3, 4}, {5, 6});
  const Floats after = harness.Weights();
  for (std::size_t i = 0; i < 14; ++i) EXPECT_EQ(after[i], before[i]) << i;
  EXPECT_NE(after[14], before[14]);
}

TEST(EngineTest, DropoutDependsOnItsSeedAloneAndRestsAtInference) {
  const std::string json = Sequential(
      "1000", {Layer("Dropout", R"("rate":0.25)"), Layer("Dense", R"("units":1)")}, kMse);
  EngineHarness harness(json);
  const Floats ones(1000, 1.0f), zero = {0};
  const Floats weights = [] {
    Floats w(1001, 0.001f);
    w[1000] = 0;
    return w;
  }();
  const auto output_of = [&](std::uint64_t seed) {
    harness.SetWeights(weights);
    return std::sqrt(harness.Train(ones, zero, seed).loss);  // The loss is the square.
  };
  // The mean stays 1: a quarter is dropped, the rest is scaled up.
  const double first = output_of(1);
  EXPECT_NEAR(first, 1.0, 0.08);
  EXPECT_NE(first, 1.0);
  EXPECT_EQ(output_of(1), first);
  EXPECT_NE(output_of(2), first);
  harness.SetWeights(weights);
  EXPECT_NEAR(harness.Predict(ones)[0], 1.0, 1e-5);
}

TEST(EngineTest, PixelsOfAnyDTypeAreTheSameNumbers) {
  const std::string json = Sequential("2,2,1", {Layer("Rescaling", R"("scale":0.5)")}, kMse);
  EngineHarness floats(json);
  const Floats x = {0, 1, 128, 255};
  const Floats expected = floats.Predict(x);
  EXPECT_EQ(expected, (Floats{0, 0.5f, 64, 127.5f}));
  trainer::TrainerOptions options;
  options.batch_size_max = 1;
  options.x = {{"x", array::DType::kUint8, {2, 2}, {}}};  // Without the channel's axis.
  options.y = {{"y", array::DType::kFloat32, {2, 2, 1}, {}}};
  ASSERT_THAT(floats.engine().Configure(floats.model(), options), test::Succeeds());
  const Bytes bytes = {std::byte{0}, std::byte{1}, std::byte{128}, std::byte{255}};
  Floats outputs;
  ASSERT_THAT(floats.engine().Run({trainer::BatchKind::kPredict, {bytes}, {}, 1, 1}, &outputs),
              test::Succeeds());
  EXPECT_EQ(outputs, expected);
}

TEST(EngineTest, ScoresAreLossAndPredictions) {
  for (const Backward backward : {Backward::kByHandWhereItCan, Backward::kByAutograd}) {
    EngineHarness harness(Sequential("4", {Layer("Dense", R"("units":3,"activation":"softmax")")},
                                     R"("sparse_categorical_crossentropy")"),
                          1, backward);
    harness.SetWeights(harness.RandomWeights(3));
    const Floats x = RandomFloats(8, 5);
    Floats outputs;
    const Result<trainer::BatchResult> score =
        harness.Run(trainer::BatchKind::kScore, x, {0, 2}, 1, &outputs);
    ASSERT_THAT(score, test::Succeeds());
    const trainer::BatchResult expected = harness.Evaluate(x, {0, 2});
    EXPECT_EQ(score->loss, expected.loss);
    EXPECT_EQ(score->correct, expected.correct);
    EXPECT_EQ(outputs, harness.Predict(x));
  }
}

TEST(EngineTest, MatrixProductsGoThroughOneDnn) {
  EngineHarness harness(Sequential("64", {Layer("Dense", R"("units":32)")}, kMse), 1,
                        Backward::kByAutograd);
  const std::uint64_t before = ForwardedProductCount();
  harness.Predict(Floats(64 * 8, 1.0f));
  if (at::hasMKL() || TestDevice()) GTEST_SKIP() << "its products are not libblas's";
  EXPECT_GT(ForwardedProductCount(), before) << "libtorch found another sgemm_ than this program's";
}

}  // namespace
}  // namespace dnc::trainer_torch
