// The order of a stream is a promise: every sample once an epoch, the same whatever the
// number of workers, and the same after going on from any position, with any number of
// workers. The spaces are small, so all of it is tried.

#include "stream/stream_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "stream/manifests_for_test.h"
#include "testing/testing.h"

namespace dnc::stream {
namespace {

using ::testing::HasSubstr;

// A sample by where it lies.
using Sample = std::pair<std::uint32_t, std::uint64_t>;  // Shard, row.

struct Settings {
  bool shuffle = true;
  std::uint64_t window = 16;
  std::uint32_t run_blocks = 1;
  std::uint64_t lanes = 4;
};

StreamPosition Begin(const Settings& settings) {
  StreamPosition position;
  position.shuffle = settings.shuffle;
  position.seed = 7;
  position.window_samples = settings.window;
  position.run_blocks = settings.run_blocks;
  position.rows.assign(settings.lanes, 0);
  return position;
}

StreamOrder MakeOrder(const shard::Manifest& manifest, const StreamPosition& begin,
                      const Worker& worker, std::uint64_t epochs) {
  auto order = StreamOrder::Create(&manifest, begin, worker, epochs);
  EXPECT_THAT(order, test::Succeeds());
  return std::move(order).value();
}

// What a worker visits, epoch by epoch.
std::map<std::uint64_t, std::vector<Sample>> Visit(const shard::Manifest& manifest,
                                                   const StreamOrder& order) {
  std::map<std::uint64_t, std::vector<Sample>> visited;
  std::uint64_t number = 0;
  for (auto place = order.First(); place.ok() && place->has_value(); place = order.After(**place)) {
    const auto visit = order.VisitOf(**place, number++);
    EXPECT_THAT(visit, test::Succeeds());
    std::vector<Sample> samples;
    for (const BlockSlice& slice : visit->slices) {
      const auto& shard = manifest.shards[slice.shard_index];
      for (std::uint32_t row = slice.begin; row < slice.end; ++row) {
        samples.push_back(
            {slice.shard_index, std::uint64_t{slice.block_index} * shard.block_samples + row});
      }
    }
    EXPECT_EQ(visit->epoch, (*place)->epoch);
    EXPECT_GT(visit->order.count(), 0u);
    for (std::uint64_t i = 0; i < visit->order.count(); ++i) {
      const std::uint64_t at = visit->order(i);
      EXPECT_LT(at, samples.size());
      if (visit->order.in_order()) {
        EXPECT_EQ(at, i);
      }
      visited[visit->epoch].push_back(samples.at(at));
    }
  }
  return visited;
}

std::vector<std::vector<ShardShape>> Shapes() {
  return {{{41, 4}, {42, 4}, {3, 7}, {30, 7}, {1, 4}},
          {{64, 8}, {64, 8}},
          {{9, 3}},
          {{1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}};
}

std::vector<Settings> AllSettings() {
  std::vector<Settings> all;
  for (const bool shuffle : {true, false}) {
    for (const std::uint64_t lanes : {1u, 4u}) {
      for (const std::uint64_t window : {4u, 16u, 60u, 1000u}) {
        for (const std::uint32_t run : {1u, 3u}) all.push_back({shuffle, window, run, lanes});
      }
    }
  }
  return all;
}

TEST(StreamOrderTest, VisitsEverySampleOnceAnEpochInAnOrderOfItsOwn) {
  for (const auto& shape : Shapes()) {
    const shard::Manifest manifest = ManifestOf(shape);
    for (const Settings& settings : AllSettings()) {
      auto visited = Visit(manifest, MakeOrder(manifest, Begin(settings), {}, 3));
      ASSERT_EQ(visited.size(), 3u);
      for (const auto& [epoch, samples] : visited) {
        EXPECT_EQ(samples.size(), manifest.splits[0].samples);
        EXPECT_EQ(std::set<Sample>(samples.begin(), samples.end()).size(), samples.size());
      }
      if (!settings.shuffle) {
        EXPECT_TRUE(std::is_sorted(visited[0].begin(), visited[0].end()));
        EXPECT_EQ(visited[0], visited[1]);
      } else if (manifest.splits[0].samples > 10) {
        EXPECT_NE(visited[0], visited[1]);
        EXPECT_NE(visited[1], visited[2]);
      }
    }
  }
}

// The samples of all workers in the global order: lane by lane, row by row.
std::vector<Sample> Together(const shard::Manifest& manifest, const StreamPosition& begin,
                             std::uint32_t workers, std::uint64_t epoch) {
  std::vector<std::vector<Sample>> each;
  for (std::uint32_t w = 0; w < workers; ++w) {
    each.push_back(Visit(manifest, MakeOrder(manifest, begin, {w, workers}, epoch + 1))[epoch]);
  }
  const std::size_t group = begin.rows.size() / workers;
  std::vector<Sample> all;
  std::vector<std::size_t> next(workers, 0);
  for (std::size_t i = 0; all.size() < manifest.splits[0].samples; ++i) {
    const std::size_t w = i % begin.rows.size() / group;
    all.push_back(each[w].at(next[w]++));
  }
  return all;
}

TEST(StreamOrderTest, IsTheSameForAnyNumberOfWorkers) {
  for (const auto& shape : Shapes()) {
    const shard::Manifest manifest = ManifestOf(shape);
    if (manifest.splits[0].samples < 8) continue;
    for (Settings settings : AllSettings()) {
      settings.lanes = 8;
      settings.window = (settings.window + 7) / 8 * 8;
      for (const std::uint64_t epoch : {0u, 1u}) {
        const std::vector<Sample> alone = Together(manifest, Begin(settings), 1, epoch);
        for (const std::uint32_t workers : {2u, 4u, 8u}) {
          ASSERT_EQ(Together(manifest, Begin(settings), workers, epoch), alone);
        }
      }
    }
  }
}

TEST(StreamOrderTest, NeedsOnlyItsShareOfTheBlocks) {
  const shard::Manifest manifest = ManifestOf({{4096, 4}});
  const StreamPosition begin = Begin({.window = 512, .lanes = 8});
  std::size_t slices = 0;
  const StreamOrder order = MakeOrder(manifest, begin, {3, 8}, 1);
  for (auto place = order.First(); place->has_value(); place = order.After(**place)) {
    slices += order.VisitOf(**place, 0)->slices.size();
  }
  // An eighth of 1024 blocks, and one at each end of some windows.
  EXPECT_LE(slices, 128u + 2 * 16);
}

// `workers` go on from `begin` and take `each` samples each; where they are then, and
// what they took.
StreamPosition Advance(const shard::Manifest& manifest, const StreamPosition& begin,
                       std::uint32_t workers, std::uint64_t each, std::multiset<Sample>* taken) {
  StreamPosition after;
  for (std::uint32_t w = 0; w < workers; ++w) {
    const StreamOrder order = MakeOrder(manifest, begin, {w, workers}, begin.epoch + 1);
    const std::vector<Sample> samples = Visit(manifest, order)[begin.epoch];
    const std::uint64_t count = std::min<std::uint64_t>(each, samples.size());
    taken->insert(samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(count));
    if (w == 0) after = order.After(begin.epoch, count);
    if (w > 0 && count == each) {
      EXPECT_EQ(order.After(begin.epoch, count), after);
    }
  }
  return after;
}

TEST(StreamOrderTest, GoesOnFromAnySampleWithTheNext) {
  for (const auto& shape : Shapes()) {
    const shard::Manifest manifest = ManifestOf(shape);
    for (const Settings& settings : AllSettings()) {
      const StreamOrder whole = MakeOrder(manifest, Begin(settings), {}, 2);
      auto visited = Visit(manifest, whole);
      for (const std::uint64_t epoch : {0u, 1u}) {
        for (std::uint64_t count = 0; count <= visited[epoch].size(); count += 5) {
          const StreamPosition position = whole.After(epoch, count);
          EXPECT_EQ(position.samples_consumed(), count);
          auto rest = Visit(manifest, MakeOrder(manifest, position, {}, 2));
          const std::vector<Sample> expected(
              visited[epoch].begin() + static_cast<std::ptrdiff_t>(count), visited[epoch].end());
          ASSERT_EQ(rest[epoch], expected);
          if (epoch == 0) {
            ASSERT_EQ(rest[1], visited[1]);
          }
        }
      }
    }
  }
}

TEST(StreamOrderTest, GoesOnWithAnyOtherNumberOfWorkersAndLosesNothing) {
  const shard::Manifest manifest = ManifestOf({{41, 4}, {42, 4}, {3, 7}, {30, 7}, {12, 4}});
  for (const bool shuffle : {true, false}) {
    for (const std::uint64_t each : {1u, 2u, 3u, 7u, 8u, 13u}) {
      for (const std::uint32_t first : {1u, 2u, 8u}) {
        for (const std::uint32_t second : {1u, 4u, 8u}) {
          StreamPosition position = Begin({.shuffle = shuffle, .window = 24, .lanes = 8});
          std::multiset<Sample> taken;
          position = Advance(manifest, position, first, each, &taken);
          EXPECT_EQ(position.samples_consumed(), taken.size());
          position = Advance(manifest, position, second, each, &taken);
          position = Advance(manifest, position, first, 1000, &taken);
          EXPECT_EQ(taken.size(), manifest.splits[0].samples);
          EXPECT_EQ(std::set<Sample>(taken.begin(), taken.end()).size(), taken.size());
          EXPECT_EQ(position.samples_consumed(), taken.size());
        }
      }
    }
  }
}

TEST(StreamOrderTest, KnowsWhenABlockIsNeededNext) {
  const shard::Manifest manifest = ManifestOf({{41, 4}, {42, 4}, {30, 7}});
  for (const bool shuffle : {true, false}) {
    for (const std::uint32_t workers : {1u, 4u}) {
      const StreamPosition begin =
          Begin({.shuffle = shuffle, .window = 16, .run_blocks = 2, .lanes = 4});
      const StreamOrder order = MakeOrder(manifest, begin, {1 % workers, workers}, 3);
      std::map<std::uint64_t, std::set<std::pair<std::uint32_t, std::uint32_t>>> needed;
      for (auto place = order.First(); place->has_value(); place = order.After(**place)) {
        const auto visit = order.VisitOf(**place, 0);
        EXPECT_EQ(visit->ordinal, order.Ordinal(**place));
        for (const BlockSlice& slice : visit->slices) {
          needed[visit->ordinal].insert({slice.shard_index, slice.block_index});
        }
      }
      const std::uint64_t epoch_ordinals = order.WindowCount(0);
      for (std::uint64_t from = 0; from < 3 * epoch_ordinals; ++from) {
        for (std::uint32_t shard = 0; shard < 3; ++shard) {
          for (std::uint32_t block = 0; block < 5; ++block) {
            std::uint64_t expected = UINT64_MAX;
            const std::uint64_t end = (from / epoch_ordinals + 2) * epoch_ordinals;
            for (const auto& [ordinal, blocks] : needed) {
              if (ordinal >= from && ordinal < end && blocks.contains({shard, block})) {
                expected = std::min(expected, ordinal);
              }
            }
            const auto need = order.NextNeed(shard, block, from);
            ASSERT_THAT(need, test::Succeeds());
            ASSERT_EQ(*need, expected) << from << " " << shard << " " << block;
          }
        }
      }
    }
  }
}

TEST(StreamOrderTest, BeginsTheFirstEpochWithSmallWindows) {
  const shard::Manifest manifest = ManifestOf({{64000, 4}});
  const StreamOrder order = MakeOrder(manifest, Begin({.window = 16000, .lanes = 4}), {}, 2);
  std::vector<std::uint64_t> sizes;
  for (auto place = order.First(); place->has_value(); place = order.After(**place)) {
    sizes.push_back(order.VisitOf(**place, 0)->order.count());
  }
  const std::vector<std::uint64_t> expected = {256,   512,   1024,  2048,  4096,  8192, 16000,
                                               16000, 15872, 16000, 16000, 16000, 16000};
  EXPECT_EQ(sizes, expected);
}

TEST(StreamOrderTest, RefusesWhatDoesNotFit) {
  const shard::Manifest manifest = ManifestOf({{20, 4}});
  const auto create = [&](const StreamPosition& begin, const Worker& worker) {
    return StreamOrder::Create(&manifest, begin, worker, 1).status();
  };
  EXPECT_THAT(create(Begin({.lanes = 4}), {0, 3}),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("3 workers")));
  EXPECT_THAT(create(Begin({.lanes = 4}), {4, 4}), test::FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_THAT(create(Begin({.window = 18, .lanes = 4}), {}),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("18 samples")));
  EXPECT_THAT(create(Begin({.window = 32, .lanes = 32}), {31, 32}),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("no sample")));
  StreamPosition beyond = Begin({.lanes = 4});
  beyond.rows = {6, 5, 5, 5};
  EXPECT_THAT(create(beyond, {}), test::FailsWith(ErrorCode::kCorrupt, HasSubstr("20 samples")));
  EXPECT_THAT(create(Begin({.lanes = 0}), {}), test::FailsWith(ErrorCode::kInvalidArgument));
}

}  // namespace
}  // namespace dnc::stream
