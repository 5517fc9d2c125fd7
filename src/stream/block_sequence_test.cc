// The order of an epoch is what makes a run repeatable and every sample count
// once, so it is checked against a plain list of blocks over many shapes.

#include "stream/block_sequence.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "stream/manifests_for_test.h"
#include "testing/testing.h"

namespace dnc::stream {
namespace {

using ::testing::HasSubstr;

BlockSequence MakeSequence(const shard::Manifest& manifest, BlockSequenceOptions options = {}) {
  auto sequence = BlockSequence::Create(manifest, "train", options);
  EXPECT_THAT(sequence, test::Succeeds());
  return std::move(sequence).value();
}

// Every shape that differs in kind: one block, short last blocks of each length,
// many shards, shards of one short block, and several block sizes mixed.
std::vector<std::vector<ShardShape>> Shapes() {
  std::vector<std::vector<ShardShape>> shapes;
  for (std::uint64_t samples = 1; samples <= 13; ++samples) shapes.push_back({{samples, 4}});
  shapes.push_back({{1, 1}, {1, 1}, {1, 1}});
  shapes.push_back({{40, 4}, {40, 4}, {40, 4}});
  shapes.push_back({{41, 4}, {42, 4}, {3, 4}, {40, 4}, {1, 4}});
  shapes.push_back({{100, 7}, {1, 1000}, {55, 5}, {0, 5}, {12, 5}, {70, 7}});
  shapes.push_back({{17, 1}, {17, 2}, {17, 3}, {17, 4}, {17, 5}, {17, 6}});
  std::vector<ShardShape> many;
  for (std::uint64_t i = 0; i < 100; ++i) {
    many.push_back({1 + i * 37 % 50, static_cast<std::uint32_t>(i % 3 == 0 ? 8 : 12)});
  }
  shapes.push_back(many);
  return shapes;
}

TEST(BlockSequenceTest, HoldsEveryBlockOnceWithItsSamples) {
  for (const auto& shape : Shapes()) {
    const shard::Manifest manifest = ManifestOf(shape);
    for (const bool shuffle : {false, true}) {
      const BlockSequence sequence = MakeSequence(manifest, {.seed = 5, .shuffle = shuffle});
      std::set<std::pair<std::uint32_t, std::uint32_t>> seen;
      std::uint64_t samples = 0;
      for (std::uint64_t place = 0; place < sequence.block_count(); ++place) {
        const BlockSequence::Block block = sequence.At(place);
        EXPECT_TRUE(seen.insert({block.shard_index, block.block_index}).second);
        const shard::ShardInfo& shard = manifest.shards[block.shard_index];
        const std::uint64_t first = std::uint64_t{block.block_index} * shard.block_samples;
        EXPECT_EQ(block.samples,
                  std::min<std::uint64_t>(shard.block_samples, shard.samples - first));
        samples += block.samples;
      }
      EXPECT_EQ(samples, manifest.splits[0].samples);
      EXPECT_EQ(samples, sequence.sample_count());
    }
  }
}

TEST(BlockSequenceTest, StartsAndPlacesAgreeWithTheBlocksLaidEndToEnd) {
  for (const auto& shape : Shapes()) {
    const shard::Manifest manifest = ManifestOf(shape);
    for (const std::uint64_t seed : {0u, 1u, 2u}) {
      for (const bool shuffle : {false, true}) {
        const BlockSequence sequence = MakeSequence(manifest, {.seed = seed, .shuffle = shuffle});
        std::uint64_t position = 0;
        for (std::uint64_t place = 0; place < sequence.block_count(); ++place) {
          ASSERT_EQ(sequence.Start(place), position);
          for (std::uint32_t i = 0; i < sequence.At(place).samples; ++i) {
            ASSERT_EQ(sequence.PlaceOf(position + i), place);
          }
          position += sequence.At(place).samples;
        }
        EXPECT_EQ(sequence.Start(sequence.block_count()), position);
      }
    }
  }
}

TEST(BlockSequenceTest, KeepsTheOrderOfTheShardsWithoutShuffling) {
  const shard::Manifest manifest = ManifestOf({{5, 2}, {3, 3}, {4, 2}});
  const BlockSequence sequence = MakeSequence(manifest, {.shuffle = false});
  using Block = BlockSequence::Block;
  const std::vector<Block> expected = {{0, 0, 2}, {0, 1, 2}, {0, 2, 1},
                                       {1, 0, 3}, {2, 0, 2}, {2, 1, 2}};
  ASSERT_EQ(sequence.block_count(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(sequence.At(i), expected[i]);
}

TEST(BlockSequenceTest, MixesBlocksOfDifferentSizesEvenly) {
  // 300 blocks of 2 samples and 100 blocks of 6: in each stretch of 40 places
  // there are 10 of the large ones, give or take one.
  const BlockSequence sequence = MakeSequence(ManifestOf({{600, 2}, {600, 6}}));
  for (std::uint64_t begin = 0; begin + 40 <= sequence.block_count(); begin += 40) {
    int large = 0;
    for (std::uint64_t place = begin; place < begin + 40; ++place) {
      large += sequence.At(place).shard_index == 1 ? 1 : 0;
    }
    EXPECT_NEAR(large, 10, 1);
  }
}

TEST(BlockSequenceTest, BoundsTheBlocksThatAStretchTouches) {
  for (const auto& shape : Shapes()) {
    const BlockSequence sequence = MakeSequence(ManifestOf(shape), {.seed = 9});
    for (const std::uint64_t length : {1u, 2u, 3u, 7u, 20u, 64u, 1000u}) {
      const std::uint64_t bound = sequence.BlocksTouchedMax(length);
      EXPECT_LE(bound, sequence.block_count());
      for (std::uint64_t begin = 0; begin < sequence.sample_count(); ++begin) {
        const std::uint64_t last = std::min(begin + length, sequence.sample_count()) - 1;
        ASSERT_LE(sequence.PlaceOf(last) - sequence.PlaceOf(begin) + 1, bound);
      }
    }
  }
  // Not far above the truth, though every shard ends in a short block.
  std::vector<ShardShape> shards(1000, ShardShape{3001, 100});
  EXPECT_LE(MakeSequence(ManifestOf(shards)).BlocksTouchedMax(2000), 40u);
}

TEST(BlockSequenceTest, RefusesAShardWhoseBlocksHoldNothing) {
  EXPECT_THAT(BlockSequence::Create(ManifestOf({{5, 0}}), "train", {}),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("block_samples is 0")));
}

TEST(BlockSequenceTest, RefusesMoreBlocksThanItCanOrder) {
  EXPECT_THAT(BlockSequence::Create(ManifestOf({{kSequenceBlocksMax, 1}, {1, 1}}), "train", {}),
              test::FailsWith(ErrorCode::kTooLarge, HasSubstr("train")));
}

TEST(BlockSequenceTest, AnswersForAsManyBlocksAsItTakes) {
  const BlockSequence sequence =
      MakeSequence(ManifestOf({{kSequenceBlocksMax - 8, 1}, {15, 2}}), {.seed = 3});
  ASSERT_EQ(sequence.block_count(), kSequenceBlocksMax);
  const std::uint64_t samples = sequence.sample_count();
  for (const std::uint64_t position : {std::uint64_t{0}, samples / 3, samples - 1}) {
    const std::uint64_t place = sequence.PlaceOf(position);
    EXPECT_LE(sequence.Start(place), position);
    EXPECT_GT(sequence.Start(place + 1), position);
  }
}

}  // namespace
}  // namespace dnc::stream
