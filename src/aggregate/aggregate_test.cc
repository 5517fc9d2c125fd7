#include "aggregate/aggregate.h"

#include <cstring>
#include <limits>

#include "base/prng.h"
#include "testing/testing.h"
#include "update/update.h"

namespace dnc::aggregate {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Contribution {
  std::vector<float> differences;
  std::uint64_t samples = 1;
};

std::vector<float> Fold(std::vector<float> weights, const std::vector<Contribution>& results) {
  WeightedMean mean(std::move(weights));
  for (const Contribution& result : results) {
    EXPECT_THAT(mean.Add(update::Encode(result.differences), result.samples), Succeeds());
  }
  return mean.Finish();
}

std::vector<float> RandomValues(std::size_t count, std::uint64_t seed) {
  Prng prng(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(prng.Normal());
  return values;
}

std::vector<std::uint32_t> BitsOf(const std::vector<float>& values) {
  std::vector<std::uint32_t> bits(values.size());
  std::memcpy(bits.data(), values.data(), values.size() * sizeof(float));
  return bits;
}

TEST(WeightedMeanTest, WeighsEachResultByItsSamples) {
  EXPECT_THAT(Fold({1, 2, 3}, {{{4, 0, -4}, 3}, {{0, 8, 4}, 1}}), ElementsAre(4, 4, 1));
}

TEST(WeightedMeanTest, AppliesASingleResultAsItIs) {
  EXPECT_THAT(Fold({1, 2}, {{{0.5, -2}, 1234567}}), ElementsAre(1.5, 0));
}

TEST(WeightedMeanTest, KeepsTheWeightsWithoutAnyResult) {
  EXPECT_THAT(Fold({1, -2.5}, {}), ElementsAre(1, -2.5));
  EXPECT_THAT(Fold({}, {{{}, 5}}), ElementsAre());
}

// Sums are in float64 in the order of the calls: 2^55 takes up a following 1 whole,
// but not one before it. Any other order or precision gives other weights.
TEST(WeightedMeanTest, FoldsInTheOrderOfTheCalls) {
  const float big = 0x1p55f;
  const Contribution plus = {{big}, 1};
  const Contribution minus = {{-big}, 1};
  const Contribution one = {{3}, 1};
  EXPECT_THAT(Fold({0}, {plus, minus, one}), ElementsAre(1));
  EXPECT_THAT(Fold({0}, {plus, one, minus}), ElementsAre(0));
  EXPECT_THAT(Fold({0}, {one, plus, minus}), ElementsAre(0));
}

// These bits must never change: weights on every server and in every replay depend on
// them. Computed by a program in another language.
TEST(WeightedMeanTest, GivesTheSameBitsForEver) {
  const std::vector<float> folded =
      Fold({0.1f, -0.2f, 0.3f, 1e-20f}, {{{0.01f, 0.02f, -0.03f, 1e-21f}, 1335},
                                         {{-0.015f, 0.007f, 0.011f, -3e-21f}, 1335},
                                         {{0.0033f, -0.0066f, 0.0099f, 7e-21f}, 1260}});
  EXPECT_THAT(BitsOf(folded), ElementsAre(0x3dcb7d04u, 0xbe45932fu, 0x3e97ebaau, 0x1e5a745au));
}

// Across chunks and the ends of the vector loop, against a plain loop.
TEST(WeightedMeanTest, AgreesWithAPlainLoopForManyValues) {
  for (const std::size_t count : {1u, 15u, 16u, 17u, 31u, update::kChunkValues + 5}) {
    const std::vector<float> weights = RandomValues(count, 1);
    const std::vector<Contribution> results = {
        {RandomValues(count, 2), 7}, {RandomValues(count, 3), 1001}, {RandomValues(count, 4), 64}};
    std::vector<float> expected(count);
    for (std::size_t i = 0; i < count; ++i) {
      volatile double sum = 0;  // Rounded after each operation.
      for (const Contribution& result : results) {
        volatile double product = static_cast<double>(result.samples) * result.differences[i];
        sum = sum + product;
      }
      expected[i] = static_cast<float>(weights[i] + sum / (7 + 1001 + 64));
    }
    EXPECT_EQ(BitsOf(Fold(weights, results)), BitsOf(expected));
  }
}

TEST(WeightedMeanTest, RefusesAValueThatIsNotFinite) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> differences(update::kChunkValues + 9);
  differences[update::kChunkValues + 3] = -infinity;
  WeightedMean mean(std::vector<float>(differences.size()));
  EXPECT_THAT(mean.Add(update::Encode(differences), 1),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("value 262147"), HasSubstr("infinite"))));
  WeightedMean small(std::vector<float>(3));
  EXPECT_THAT(
      small.Add(update::Encode(std::vector<float>{0, nan, 0}), 1),
      FailsWith(ErrorCode::kInvalidArgument, AllOf(HasSubstr("value 1"), HasSubstr("NaN"))));
}

TEST(WeightedMeanTest, RefusesNoSamplesAndTooMany) {
  const Bytes update = update::Encode(std::vector<float>{1});
  WeightedMean mean(std::vector<float>{0});
  EXPECT_THAT(mean.Add(update, 0), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("0 samples")));
  EXPECT_THAT(mean.Add(update, std::uint64_t{1} << 53), Succeeds());
  EXPECT_THAT(mean.Add(update, 1), FailsWith(ErrorCode::kInvalidArgument));
}

TEST(WeightedMeanTest, PassesOnWhatIsWrongWithAContainer) {
  const Bytes update = update::Encode(std::vector<float>{1, 2});
  WeightedMean mean(std::vector<float>(2));
  EXPECT_THAT(mean.Add({}, 1), FailsWith(ErrorCode::kCorrupt));
  EXPECT_THAT(
      WeightedMean(std::vector<float>(3)).Add(update, 1),
      FailsWith(ErrorCode::kInvalidArgument, AllOf(HasSubstr("2 values"), HasSubstr("has 3"))));
  for (std::size_t offset = 0; offset < update.size(); ++offset) {
    Bytes damaged = update;
    damaged[offset] ^= std::byte{0x20};
    WeightedMean fold(std::vector<float>(2));
    EXPECT_THAT(fold.Add(damaged, 1),
                FailsWith(AnyOf(ErrorCode::kCorrupt, ErrorCode::kUnsupported)));
  }
}

}  // namespace
}  // namespace dnc::aggregate
