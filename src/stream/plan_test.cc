// A plan decides what every worker trains on; these tests visit whole epochs and
// compare them with the samples that there are.

#include "stream/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "stream/manifests_for_test.h"
#include "testing/testing.h"

namespace dnc::stream {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// (shard, row in the shard).
using Sample = std::pair<std::uint32_t, std::uint64_t>;

Plan MakePlan(const shard::Manifest& manifest, const PlanOptions& options) {
  auto plan = Plan::Create(&manifest, options);
  EXPECT_THAT(plan, test::Succeeds());
  return std::move(plan).value();
}

// The samples in the order in which the plan visits them.
std::vector<Sample> Visit(const Plan& plan) {
  std::vector<Sample> visited;
  for (std::uint64_t window = 0; window < plan.window_count(); ++window) {
    std::vector<Sample> samples;
    for (const BlockSlice& slice : plan.WindowSlices(window)) {
      const std::uint64_t first = std::uint64_t{slice.block_index} *
                                  plan.manifest().shards[slice.shard_index].block_samples;
      for (std::uint32_t row = slice.begin; row < slice.end; ++row) {
        samples.push_back({slice.shard_index, first + row});
      }
    }
    EXPECT_EQ(samples.size(), plan.WindowSamples(window));
    EXPECT_LE(plan.WindowSlices(window).size(), plan.window_blocks_max());
    const Permutation order = plan.WindowOrder(window);
    EXPECT_EQ(order.count(), samples.size());
    for (std::uint64_t i = 0; i < samples.size(); ++i) visited.push_back(samples[order(i)]);
  }
  EXPECT_EQ(visited.size(), plan.sample_count());
  return visited;
}

std::vector<Sample> AllSamples(const shard::Manifest& manifest, const std::string& split) {
  std::vector<Sample> samples;
  for (std::uint32_t shard = 0; shard < manifest.shards.size(); ++shard) {
    if (manifest.shards[shard].split != split) continue;
    for (std::uint64_t row = 0; row < manifest.shards[shard].samples; ++row) {
      samples.push_back({shard, row});
    }
  }
  return samples;
}

std::vector<Sample> Sorted(std::vector<Sample> samples) {
  std::sort(samples.begin(), samples.end());
  return samples;
}

shard::Manifest MixedManifest() {
  return ManifestOf({{41, 4}, {9, 3, "test"}, {42, 4}, {3, 7}, {40, 4}, {30, 7}, {1, 4}});
}

TEST(PlanTest, VisitsEverySampleOfTheSplitOnceInAnEpoch) {
  const shard::Manifest manifest = MixedManifest();
  for (const std::string split : {"train", "test"}) {
    for (const std::uint64_t window : {1u, 2u, 5u, 16u, 100u, 1000u}) {
      for (const bool shuffle : {false, true}) {
        const Plan plan = MakePlan(
            manifest, {.split = split, .seed = 3, .shuffle = shuffle, .window_samples = window});
        EXPECT_EQ(Sorted(Visit(plan)), AllSamples(manifest, split));
      }
    }
  }
}

TEST(PlanTest, RangesTogetherVisitEverySampleOnce) {
  const shard::Manifest manifest = MixedManifest();
  const std::uint64_t samples = manifest.splits[0].samples;
  for (const std::uint64_t tasks : {1u, 2u, 3u, 7u, 40u, 157u}) {
    std::vector<Sample> visited;
    for (std::uint64_t task = 0; task < tasks; ++task) {
      const Plan plan = MakePlan(manifest, {.seed = 8,
                                            .epoch = 2,
                                            .begin = task * samples / tasks,
                                            .end = (task + 1) * samples / tasks,
                                            .window_samples = 10});
      const std::vector<Sample> part = Visit(plan);
      visited.insert(visited.end(), part.begin(), part.end());
    }
    EXPECT_EQ(Sorted(visited), AllSamples(manifest, "train"));
  }
}

TEST(PlanTest, KeepsTheOrderOfTheShardsWithoutShuffling) {
  const shard::Manifest manifest = MixedManifest();
  const Plan plan = MakePlan(manifest, {.shuffle = false, .window_samples = 9});
  EXPECT_EQ(Visit(plan), AllSamples(manifest, "train"));
}

TEST(PlanTest, IsAFunctionOfItsOptionsAlone) {
  const shard::Manifest manifest = MixedManifest();
  const PlanOptions options{.seed = 1, .epoch = 4, .window_samples = 20};
  const std::vector<Sample> visited = Visit(MakePlan(manifest, options));
  EXPECT_EQ(visited, Visit(MakePlan(manifest, options)));

  PlanOptions other = options;
  other.epoch = 5;
  EXPECT_NE(visited, Visit(MakePlan(manifest, other)));
  other = options;
  other.seed = 2;
  EXPECT_NE(visited, Visit(MakePlan(manifest, other)));
}

TEST(PlanTest, GivesTheSameOrderForEver) {
  // A resumed or distributed run relies on these figures in every later version.
  const shard::Manifest manifest = ManifestOf({{7, 2}, {5, 2}, {4, 3}});
  const Plan plan = MakePlan(manifest, {.seed = 42, .epoch = 1, .window_samples = 8});
  const std::vector<Sample> expected = {{1, 2}, {1, 3}, {0, 5}, {1, 4}, {0, 4}, {2, 3},
                                        {0, 1}, {0, 0}, {0, 6}, {1, 0}, {2, 1}, {0, 3},
                                        {2, 0}, {2, 2}, {0, 2}, {1, 1}};
  EXPECT_EQ(Visit(plan), expected);
}

TEST(PlanTest, MixesTheSamplesOfAWindow) {
  const shard::Manifest manifest = ManifestOf({{1000, 10}});
  const std::vector<Sample> visited = Visit(MakePlan(manifest, {.window_samples = 500}));
  int neighbours = 0;
  for (std::size_t i = 1; i < visited.size(); ++i) {
    neighbours += visited[i].second == visited[i - 1].second + 1 ? 1 : 0;
  }
  EXPECT_LT(neighbours, 20);
}

TEST(PlanTest, NeedsOnlyTheBlocksOfAWindow) {
  const shard::Manifest manifest = ManifestOf({{1000, 10}});
  const Plan plan = MakePlan(manifest, {.seed = 1, .window_samples = 50});
  EXPECT_LE(plan.window_blocks_max(), 7u);
  for (std::uint64_t window = 0; window < plan.window_count(); ++window) {
    EXPECT_EQ(plan.WindowSlices(window).size(), 5u);
  }
}

TEST(PlanTest, CutsARangeToTheSamplesThatThereAre) {
  const shard::Manifest manifest = ManifestOf({{10, 4}});
  EXPECT_EQ(MakePlan(manifest, {.begin = 8, .end = 1000}).sample_count(), 2u);
}

TEST(PlanTest, RefusesASplitThatIsNotThere) {
  const shard::Manifest manifest = MixedManifest();
  EXPECT_THAT(Plan::Create(&manifest, {.split = "validation"}),
              test::FailsWith(ErrorCode::kNotFound,
                              AllOf(HasSubstr("\"validation\""), HasSubstr("train, test"))));
}

TEST(PlanTest, RefusesAnEmptyRange) {
  const shard::Manifest manifest = ManifestOf({{10, 4}});
  for (const auto& [begin, end] : std::vector<std::pair<std::uint64_t, std::uint64_t>>{
           {4, 4}, {5, 4}, {10, 20}, {10, UINT64_MAX}}) {
    EXPECT_THAT(Plan::Create(&manifest, {.begin = begin, .end = end}),
                test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("10 samples")));
  }
  EXPECT_THAT(Plan::Create(&manifest, {.split = "test"}),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("0 samples")));
}

TEST(PlanTest, RefusesAWindowOfNoSamples) {
  const shard::Manifest manifest = ManifestOf({{10, 4}});
  EXPECT_THAT(Plan::Create(&manifest, {.window_samples = 0}),
              test::FailsWith(ErrorCode::kInvalidArgument));
}

}  // namespace
}  // namespace dnc::stream
