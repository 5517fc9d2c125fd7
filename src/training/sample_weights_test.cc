#include "training/sample_weights.h"

#include <array>

#include "testing/testing.h"

namespace dnc::training {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::array<int, 1> kLabels = {2};

shard::Manifest ThreeColumns() {
  shard::Manifest manifest;
  manifest.columns = {
      {.name = "x", .dtype = array::DType::kFloat32, .shape = {2}},
      {.name = "w", .dtype = array::DType::kFloat32, .shape = {}},
      {.name = "y", .dtype = array::DType::kUint8, .shape = {}, .class_names = {"hat", "shirt"}}};
  shard::SplitInfo split{.name = "train", .samples = 8};
  split.statistics.resize(3);
  split.statistics[2].class_counts = {{0, 6}, {1, 2}};
  manifest.splits.push_back(split);
  return manifest;
}

ByteSpan Labels(const std::vector<std::uint8_t>& labels) {
  return std::as_bytes(std::span(labels));
}

TEST(SampleWeightsTest, ByClassAndByColumnAreMultiplied) {
  WeightOptions options{.column = "w"};
  ASSERT_THAT(ParseClassWeights("shirt=3,0=0.5", ThreeColumns(), &options), Succeeds());
  Result<SampleWeights> weights = SampleWeights::Create(ThreeColumns(), "train", kLabels, options);
  ASSERT_THAT(weights, Succeeds());
  EXPECT_EQ(weights->column(), 1);
  const std::vector<float> values = {1, 2, 0};
  std::memcpy(weights->Values(4).data(), values.data(), 3 * sizeof(float));
  std::vector<float> filled(3);
  ASSERT_THAT(weights->Fill(Labels({0, 1, 1}), filled), Succeeds());
  EXPECT_THAT(filled, ElementsAre(0.5f, 6.0f, 0.0f));
  const float bad = -1;
  std::memcpy(weights->Values(4).data(), &bad, sizeof bad);
  EXPECT_THAT(weights->Fill(Labels({0, 1, 1}), filled),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("-1")));
}

TEST(SampleWeightsTest, BalancedClassesHaveTheSameSum) {
  WeightOptions options;
  ASSERT_THAT(ParseClassWeights("balanced", ThreeColumns(), &options), Succeeds());
  Result<SampleWeights> weights = SampleWeights::Create(ThreeColumns(), "train", kLabels, options);
  ASSERT_THAT(weights, Succeeds());
  std::vector<float> filled(2);
  ASSERT_THAT(weights->Fill(Labels({0, 1}), filled), Succeeds());
  // scikit-learn's compute_class_weight("balanced"): 8 / (2 * 6) and 8 / (2 * 2).
  EXPECT_THAT(filled, ElementsAre(testing::FloatEq(8.0f / 12), 2.0f));
}

TEST(SampleWeightsTest, RefusesWhatIsNoWeight) {
  for (const char* text : {"", "hat", "hat=", "hat=-1", "hat=nan", "hat=1,", "boot=1", "0=1x"}) {
    WeightOptions options;
    EXPECT_THAT(ParseClassWeights(text, ThreeColumns(), &options),
                FailsWith(ErrorCode::kInvalidArgument))
        << text;
  }
  WeightOptions options;
  EXPECT_THAT(ParseClassWeights("boot=1", ThreeColumns(), &options),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("hat, shirt")));
  EXPECT_THAT(SampleWeights::Create(ThreeColumns(), "train", kLabels, {.column = "v"}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("x, w, y")));
  EXPECT_THAT(SampleWeights::Create(ThreeColumns(), "train", kLabels, {.column = "x"}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("one number")));
  constexpr std::array<int, 2> kTwoLabels = {2, 1};
  EXPECT_THAT(SampleWeights::Create(ThreeColumns(), "train", kTwoLabels, {.balanced = true}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("several outputs")));
  EXPECT_THAT(SampleWeights::Create(ThreeColumns(), "train", kTwoLabels, {.column = "w"}),
              Succeeds());
  shard::Manifest uncounted = ThreeColumns();
  uncounted.splits[0].statistics.clear();
  EXPECT_THAT(SampleWeights::Create(uncounted, "train", kLabels, {.balanced = true}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("not counted")));
}

}  // namespace
}  // namespace dnc::training
