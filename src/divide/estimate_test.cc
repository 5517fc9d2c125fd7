// Peeking at a source takes no sample from it, and an estimate is near what dividing gives.

#include "divide/estimate.h"

#include <gtest/gtest.h>

#include <cstring>

#include "divide/dataset_for_test.h"
#include "testing/testing.h"

namespace dnc::divide {
namespace {

std::unique_ptr<PeekSource> Peeking(const SourceForTest::Options& options) {
  return MakePeekSource(std::make_unique<SourceForTest>(options));
}

DivideOptions SmallShards() {
  DivideOptions options;
  options.name = "made up";
  options.shard_bytes = kShardBytesMin;
  options.zstd_level = 1;
  options.threads = 1;
  return options;
}

TEST(PeekSourceTest, GivesEverySampleOnceAfterPeeking) {
  for (const bool texts : {false, true}) {
    for (const std::uint64_t samples : {0, 1, 50, 5000}) {
      for (const std::uint64_t step : {1, 7, 100'000}) {
        SCOPED_TRACE(std::to_string(samples) + " by " + std::to_string(step));
        const auto source = Peeking({.samples = samples, .texts = texts});
        const auto peeked = source->Peek(4096);
        ASSERT_THAT(peeked, test::Succeeds());
        EXPECT_EQ((*peeked)->sample_count > 0, samples > 0);
        EXPECT_LE((*peeked)->sample_count, samples);
        array::SampleBlock block;
        std::int64_t next = 0;
        for (;;) {
          ASSERT_THAT(source->Read(step, &block), test::Succeeds());
          if (block.sample_count == 0) break;
          for (std::uint64_t i = 0; i < block.sample_count; ++i, ++next) {
            std::int64_t number = 0;
            std::memcpy(&number, block.columns[1].data() + i * 8, 8);
            ASSERT_EQ(number, next);
          }
        }
        EXPECT_EQ(next, static_cast<std::int64_t>(samples));
      }
    }
  }
}

TEST(PeekSourceTest, KnowsWhetherItSawTheEnd) {
  const auto small = Peeking({.samples = 3});
  ASSERT_THAT(small->Peek(1u << 20), test::Succeeds());
  EXPECT_TRUE(small->ended());
  const auto large = Peeking({.samples = 100'000});
  ASSERT_THAT(large->Peek(1u << 20), test::Succeeds());
  EXPECT_FALSE(large->ended());
}

TEST(PeekSourceTest, PassesOnWhatFails) {
  const auto source = Peeking({.samples = 100, .fail_after = 0});
  EXPECT_THAT(source->Peek(1u << 20), test::FailsWith(ErrorCode::kCorrupt));
}

TEST(PeekSourceTest, DividesToTheSameBytesAsWithoutPeeking) {
  const auto plain = store::MakeMemoryStore();
  const auto peeked = store::MakeMemoryStore();
  SourceForTest source({.samples = 20'000, .texts = true});
  ASSERT_THAT(Divide(&source, plain.get(), SmallShards()), test::Succeeds());
  const auto peeking = Peeking({.samples = 20'000, .texts = true});
  ASSERT_THAT(EstimateDividing(peeking.get(), SmallShards()), test::Succeeds());
  ASSERT_THAT(Divide(peeking.get(), peeked.get(), SmallShards()), test::Succeeds());
  const auto keys = plain->List();
  ASSERT_EQ(*keys, *peeked->List());
  for (const std::string& key : *keys) {
    EXPECT_EQ(*store::GetObject(*plain, key, 1u << 30), *store::GetObject(*peeked, key, 1u << 30));
  }
}

TEST(EstimateTest, IsNearWhatDividingGives) {
  const auto source = Peeking({.samples = 200'000});
  const auto estimate = EstimateDividing(source.get(), SmallShards());
  ASSERT_THAT(estimate, test::Succeeds());
  const auto store = store::MakeMemoryStore();
  const auto report = Divide(source.get(), store.get(), SmallShards());
  ASSERT_THAT(report, test::Succeeds());
  EXPECT_FALSE(estimate->exact);
  EXPECT_EQ(estimate->samples, 200'000u);
  EXPECT_EQ(estimate->raw_bytes, report->totals.bytes_in);
  const auto stored = static_cast<double>(report->totals.bytes_out);
  EXPECT_NEAR(static_cast<double>(*estimate->stored_bytes), stored, 0.1 * stored);
  const auto shards = static_cast<double>(report->manifest.shards.size());
  EXPECT_NEAR(static_cast<double>(*estimate->shards), shards, 0.15 * shards);
  EXPECT_TRUE(estimate->duration.has_value());
}

TEST(EstimateTest, SaysNothingOfWhatTheSourceDoesNotTell) {
  const auto source = Peeking({.samples = 200'000, .count_known = false});
  const auto estimate = EstimateDividing(source.get(), SmallShards());
  ASSERT_THAT(estimate, test::Succeeds());
  EXPECT_FALSE(estimate->samples.has_value());
  EXPECT_FALSE(estimate->stored_bytes.has_value());
  EXPECT_GT(estimate->measured_samples, 0u);
  EXPECT_GT(estimate->ratio, 0);
}

TEST(EstimateTest, IsExactWhereAllWasSeen) {
  const auto source = Peeking({.samples = 10, .count_known = false});
  const auto estimate = EstimateDividing(source.get(), SmallShards());
  ASSERT_THAT(estimate, test::Succeeds());
  EXPECT_TRUE(estimate->exact);
  EXPECT_EQ(estimate->samples, 10u);
  const auto none = Peeking({.samples = 0});
  const auto nothing = EstimateDividing(none.get(), SmallShards());
  ASSERT_THAT(nothing, test::Succeeds());
  EXPECT_EQ(nothing->samples, 0u);
}

}  // namespace
}  // namespace dnc::divide
