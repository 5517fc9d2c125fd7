// What a loader hands out is compared, byte by byte, with what the plan says; its
// memory, its errors and its end are driven through a store that counts its reads
// and fails on purpose.

#include "stream/loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "shard/content_id.h"
#include "stream/dataset_for_test.h"
#include "stream/memory_need.h"
#include "testing/testing.h"

namespace dnc::stream {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;

Plan MakePlan(const shard::Manifest& manifest, const PlanOptions& options) {
  auto plan = Plan::Create(&manifest, options);
  EXPECT_THAT(plan, test::Succeeds());
  return std::move(plan).value();
}

// All samples of the plan in order, column by column.
std::vector<Bytes> Expected(const Plan& plan) {
  const auto& columns = plan.manifest().columns;
  std::vector<Bytes> result(columns.size());
  for (std::uint64_t window = 0; window < plan.window_count(); ++window) {
    std::vector<std::pair<std::uint32_t, std::uint64_t>> samples;
    for (const BlockSlice& slice : plan.WindowSlices(window)) {
      const auto& shard = plan.manifest().shards[slice.shard_index];
      for (std::uint32_t row = slice.begin; row < slice.end; ++row) {
        samples.push_back(
            {slice.shard_index, std::uint64_t{slice.block_index} * shard.block_samples + row});
      }
    }
    const Permutation order = plan.WindowOrder(window);
    for (std::uint64_t i = 0; i < samples.size(); ++i) {
      const auto& [shard, row] = samples[order(i)];
      for (std::size_t c = 0; c < columns.size(); ++c) {
        for (std::size_t b = 0; b < columns[c].sample_bytes(); ++b) {
          result[c].push_back(ByteForTest(shard, row, c, b));
        }
      }
    }
  }
  return result;
}

// Everything that the loader hands out, in batches of `batch`.
Result<std::vector<Bytes>> Drain(Loader* loader, const shard::Manifest& manifest,
                                 std::uint64_t batch) {
  std::vector<Bytes> result(manifest.columns.size());
  std::vector<Bytes> buffers;
  std::vector<std::byte*> destinations;
  for (const array::ColumnSpec& column : manifest.columns) {
    destinations.push_back(buffers.emplace_back(batch * column.sample_bytes()).data());
  }
  for (;;) {
    DNC_ASSIGN(const std::uint64_t count, loader->Next(batch, destinations));
    if (count == 0) return result;
    EXPECT_LE(count, batch);
    for (std::size_t c = 0; c < buffers.size(); ++c) {
      const std::size_t bytes = count * manifest.columns[c].sample_bytes();
      result[c].insert(result[c].end(), buffers[c].begin(),
                       buffers[c].begin() + static_cast<std::ptrdiff_t>(bytes));
    }
  }
}

Result<std::vector<Bytes>> Load(const DatasetForTest& dataset, const PlanOptions& plan_options,
                                std::uint64_t batch, std::uint64_t skip_samples = 0) {
  Plan plan = MakePlan(dataset.manifest, plan_options);
  LoaderOptions options;
  options.memory_bytes = MemoryNeeded(plan);
  options.skip_samples = skip_samples;
  DNC_ASSIGN(const auto loader, Loader::Open(std::move(plan), &dataset.store, options));
  return Drain(loader.get(), dataset.manifest, batch);
}

std::vector<ShardShape> Shapes() {
  return {{41, 4}, {9, 3, "test"}, {42, 4}, {3, 7}, {30, 7}, {1, 4}};
}

TEST(LoaderTest, HandsOutTheSamplesOfThePlanInOrder) {
  const auto dataset = MakeDataset(Shapes(), {5, 1});
  for (const bool shuffle : {true, false}) {
    for (const std::uint64_t window : {1u, 3u, 16u, 50u, 1000u}) {
      for (const std::uint64_t batch : {1u, 7u, 32u, 500u}) {
        const PlanOptions options{.seed = 3, .shuffle = shuffle, .window_samples = window};
        const auto loaded = Load(*dataset, options, batch);
        ASSERT_THAT(loaded, test::Succeeds());
        EXPECT_TRUE(*loaded == Expected(MakePlan(dataset->manifest, options)))
            << "window " << window << ", batch " << batch;
      }
    }
  }
}

TEST(LoaderTest, CopiesElementsOfEverySize) {
  const auto dataset = MakeDataset({{300, 40}}, {1, 2, 3, 4, 8, 16, 32, 33, 100, 0});
  const PlanOptions options{.seed = 1, .window_samples = 290};
  const auto loaded = Load(*dataset, options, 280);
  ASSERT_THAT(loaded, test::Succeeds());
  EXPECT_TRUE(*loaded == Expected(MakePlan(dataset->manifest, options)));
}

TEST(LoaderTest, LeavesOutColumnsWithoutADestination) {
  const auto dataset = MakeDataset({{20, 4}}, {6, 2});
  const Plan plan = MakePlan(dataset->manifest, {.window_samples = 20});
  auto loader = Loader::Open(plan, &dataset->store, {});
  ASSERT_THAT(loader, test::Succeeds());
  Bytes labels(40);
  const std::vector<std::byte*> destinations = {nullptr, labels.data()};
  const auto count = (*loader)->Next(20, destinations);
  ASSERT_THAT(count, test::Succeeds());
  EXPECT_EQ(*count, 20u);
  EXPECT_EQ(labels, Expected(plan)[1]);
}

TEST(LoaderTest, ResumesAtAnySample) {
  const auto dataset = MakeDataset({{23, 4}, {10, 3}}, {3});
  const PlanOptions options{.seed = 6, .begin = 2, .end = 31, .window_samples = 8};
  const Bytes all = Expected(MakePlan(dataset->manifest, options))[0];
  for (std::uint64_t skip = 0; skip <= 29; ++skip) {
    const auto rest = Load(*dataset, options, 5, skip);
    ASSERT_THAT(rest, test::Succeeds());
    EXPECT_TRUE((*rest)[0] == Bytes(all.begin() + static_cast<std::ptrdiff_t>(3 * skip), all.end()))
        << "after " << skip;
  }
  EXPECT_THAT(Load(*dataset, options, 5, 30),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("29")));
}

TEST(LoaderTest, StaysWithinItsBudgetAndUsesWhatItIsGiven) {
  const auto dataset = MakeDataset({{3000, 100}, {3000, 100}, {750, 100}}, {700});
  const Plan plan = MakePlan(dataset->manifest, {.seed = 1, .window_samples = 500});
  const std::uint64_t needed = MemoryNeeded(plan);
  std::uint64_t fetched_least = UINT64_MAX;
  for (const std::uint64_t spare : {0u, 2u << 20, 30u << 20}) {
    LoaderOptions options;
    options.memory_bytes = needed + spare;
    auto loader = Loader::Open(plan, &dataset->store, options);
    ASSERT_THAT(loader, test::Succeeds());
    ASSERT_THAT(Drain(loader->get(), dataset->manifest, 256), test::Succeeds());
    const LoaderStatistics statistics = (*loader)->statistics();
    EXPECT_EQ(statistics.samples, 6750u);
    EXPECT_LE(statistics.memory_peak_bytes, options.memory_bytes);
    // The bound is not far above what is used.
    EXPECT_GT(statistics.memory_peak_bytes, needed * 9 / 10);
    // More memory, fewer fetches: with all of it, every leaf once.
    EXPECT_LT(statistics.fetched_bytes, fetched_least);
    fetched_least = statistics.fetched_bytes;
  }
  std::uint64_t bytes = 0;
  for (const auto& shard : dataset->manifest.shards) bytes += shard.bytes;
  EXPECT_EQ(fetched_least, bytes);
}

TEST(LoaderTest, RefusesABudgetBelowTheNeedWithTheArithmetic) {
  const auto dataset = MakeDataset({{6000, 100}}, {700});
  const Plan plan = MakePlan(dataset->manifest, {.window_samples = 1000});
  LoaderOptions options;
  options.memory_bytes = MemoryNeeded(plan) - 1;
  EXPECT_THAT(Loader::Open(plan, &dataset->store, options),
              test::FailsWith(ErrorCode::kInvalidArgument,
                              AllOf(HasSubstr("2 windows of 683.6 KiB (1,000 samples of 700 B)"),
                                    HasSubstr("a leaf of 1 MiB"), HasSubstr("; given "))));
}

TEST(LoaderTest, FindsTheLargestWindowForABudget) {
  const auto dataset = MakeDataset({{6000, 100}, {3005, 100}}, {700});
  const shard::Manifest& manifest = dataset->manifest;
  for (const std::uint64_t memory : {3u << 20, 5u << 20}) {
    const auto window = WindowForMemory(manifest, "train", memory);
    ASSERT_THAT(window, test::Succeeds());
    // All but an eighth, which is left for leaves.
    EXPECT_LE(MemoryNeeded(MakePlan(manifest, {.window_samples = *window})), memory * 7 / 8);
    EXPECT_GT(MemoryNeeded(MakePlan(manifest, {.window_samples = *window + 1})), memory * 7 / 8);
  }
  const auto all = WindowForMemory(manifest, "train", 1u << 30);
  ASSERT_THAT(all, test::Succeeds());
  EXPECT_EQ(*all, 9005u);
  EXPECT_THAT(WindowForMemory(manifest, "train", 100 << 10),
              test::FailsWith(ErrorCode::kInvalidArgument,
                              AllOf(HasSubstr("at least"), HasSubstr("given 100 KiB"))));
  EXPECT_THAT(WindowForMemory(manifest, "other", 1 << 30), test::FailsWith(ErrorCode::kNotFound));
}

TEST(LoaderTest, RefusesAManifestOfImpossibleSizesByTheArithmetic) {
  shard::Manifest manifest = ManifestOf({{std::uint64_t{1} << 60, UINT32_MAX}});
  manifest.columns[0].shape = {std::int64_t{1} << 40};
  StoreForTest store;
  EXPECT_THAT(Loader::Open(MakePlan(manifest, {}), &store, {}),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("given 64 MiB")));
}

TEST(LoaderTest, FetchesALeafOnceInAWindow) {
  const auto dataset = MakeDataset({{6000, 100}}, {700});  // About 4 MiB, blocks of 70 kB.
  // One window of everything, in the least memory.
  ASSERT_THAT(Load(*dataset, {.seed = 1, .window_samples = 6000}, 1000), test::Succeeds());
  std::map<std::uint64_t, int> reads;
  for (const auto& [key, offset] : dataset->store.reads()) ++reads[offset];
  const std::uint64_t last = (dataset->manifest.shards[0].leaves.size() - 1) << 20;
  for (const auto& [offset, count] : reads) {
    // The last leaf also holds the index, which is read first.
    EXPECT_LE(count, offset == last ? 2 : 1) << offset;
  }
}

TEST(LoaderTest, RefusesAShardWithAnyOneByteChanged) {
  const auto dataset = MakeDataset({{30, 8}}, {9});
  Bytes& shard = dataset->store.object(dataset->manifest.shards[0].cid);
  for (std::size_t offset = 0; offset < shard.size(); ++offset) {
    SCOPED_TRACE(offset);
    shard[offset] ^= std::byte{0x40};
    ASSERT_THAT(
        Load(*dataset, {}, 30),
        test::FailsWith(ErrorCode::kCorrupt,
                        AllOf(HasSubstr(dataset->manifest.shards[0].cid), HasSubstr("leaf 0"))));
    shard[offset] ^= std::byte{0x40};
  }
}

TEST(LoaderTest, PassesOnTheErrorWhicheverReadFails) {
  for (int read_index = 0;; ++read_index) {
    ASSERT_LT(read_index, 100) << "the loader never stops reading";
    const auto dataset = MakeDataset(Shapes(), {9});
    dataset->store.FailRead(read_index);
    const auto loaded = Load(*dataset, {.window_samples = 20}, 7);
    if (loaded.ok()) {
      EXPECT_GT(read_index, 5);
      break;  // Past the last read: nothing went wrong.
    }
    EXPECT_THAT(loaded, test::FailsWith(ErrorCode::kUnavailable, HasSubstr("on purpose")));
  }
}

TEST(LoaderTest, HandsOutWhatCameBeforeAnErrorAndThenKeepsFailing) {
  // A shard a window, so that the second shard's first read fails.
  const auto dataset = MakeDataset({{10, 10}, {10, 10}, {10, 10}}, {4});
  const Plan plan = MakePlan(dataset->manifest, {.shuffle = false, .window_samples = 10});
  dataset->store.object(dataset->manifest.shards[1].cid)[40] ^= std::byte{1};
  auto loader = Loader::Open(plan, &dataset->store, {});
  ASSERT_THAT(loader, test::Succeeds());
  Bytes out(64);
  const std::vector<std::byte*> destinations = {out.data()};
  const auto first = (*loader)->Next(16, destinations);
  ASSERT_THAT(first, test::Succeeds());
  EXPECT_EQ(*first, 10u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT((*loader)->Next(16, destinations),
                test::FailsWith(ErrorCode::kCorrupt, HasSubstr(dataset->manifest.shards[1].cid)));
  }
}

TEST(LoaderTest, RefusesAShardThatIsNotWhatTheManifestDescribes) {
  const std::vector<std::pair<std::string, void (*)(shard::Manifest*)>> lies = {
      {"samples", [](shard::Manifest* m) { m->shards[0].samples = 29; }},
      {"samples", [](shard::Manifest* m) { m->shards[0].block_samples = 9; }},
      {"columns", [](shard::Manifest* m) { m->columns.push_back(m->columns[0]); }},
      {"\"c0\"", [](shard::Manifest* m) { m->columns[0].name = "x"; }},
      {"uint8", [](shard::Manifest* m) { m->columns[0].dtype = array::DType::kInt8; }},
      {"(9,)",
       [](shard::Manifest* m) {
         m->columns[0].shape = {3, 3};
       }},
      {"leaves", [](shard::Manifest* m) { m->shards[0].leaves.push_back({}); }},
      {"bytes", [](shard::Manifest* m) { m->shards[0].bytes += 1; }},
      {"shard", [](shard::Manifest* m) { m->columns[0].shape = {8}; }},
  };
  for (const auto& [message, lie] : lies) {
    SCOPED_TRACE(message);
    const auto dataset = MakeDataset({{30, 8}}, {9});
    lie(&dataset->manifest);
    EXPECT_THAT(Load(*dataset, {}, 30), test::FailsWith(ErrorCode::kCorrupt, HasSubstr(message)));
  }
}

TEST(LoaderTest, FillsTheNextWindowWhileOneIsConsumed) {
  // A shard a window: each window needs one read, of its only leaf. That of the window behind
  // is read along with it, so that there may be one read more than windows in memory.
  const auto dataset = MakeDataset({{10, 10}, {10, 10}, {10, 10}, {10, 10}}, {4});
  auto loader = Loader::Open(MakePlan(dataset->manifest, {.shuffle = false, .window_samples = 10}),
                             &dataset->store, {});
  ASSERT_THAT(loader, test::Succeeds());
  Bytes out(64);
  const std::vector<std::byte*> destinations = {out.data()};
  ASSERT_THAT((*loader)->Next(1, destinations), test::Succeeds());
  dataset->store.WaitForReads(2);  // Without a call in between.
  ASSERT_THAT((*loader)->Next(9, destinations), test::Succeeds());
  dataset->store.WaitForReads(3);
  ASSERT_THAT((*loader)->Next(9, destinations), test::Succeeds());
  EXPECT_EQ(dataset->store.reads().size(), 3u);  // No fourth window in memory.
  ASSERT_THAT((*loader)->Next(1, destinations), test::Succeeds());
  dataset->store.WaitForReads(4);  // The last sample of a window makes room.
}

TEST(LoaderTest, SharesTheBlockOnTheBorderOfTwoWindows) {
  const auto dataset = MakeDataset({{100, 10}}, {50});
  const Plan plan = MakePlan(dataset->manifest, {.seed = 2, .window_samples = 25});
  auto loader = Loader::Open(plan, &dataset->store, {});
  ASSERT_THAT(loader, test::Succeeds());
  ASSERT_THAT(Drain(loader->get(), dataset->manifest, 25), test::Succeeds());
  EXPECT_EQ((*loader)->statistics().decoded_bytes, 5000u);
}

TEST(LoaderTest, StopsAtAnyMoment) {
  const auto dataset = MakeDataset({{100, 10}, {100, 10}, {100, 10}}, {50});
  for (std::uint64_t consumed = 0; consumed < 300; consumed += 20) {
    auto loader =
        Loader::Open(MakePlan(dataset->manifest, {.window_samples = 60}), &dataset->store, {});
    ASSERT_THAT(loader, test::Succeeds());
    Bytes out(50 * 300);
    ASSERT_THAT((*loader)->Next(consumed, std::vector<std::byte*>{out.data()}), test::Succeeds());
  }
}

TEST(LoaderTest, ReadsNothingMoreOnceItIsDestroyed) {
  const auto dataset = MakeDataset({{100, 10}, {100, 10}, {100, 10}}, {50});
  dataset->store.AllowReads(0);
  auto loader =
      Loader::Open(MakePlan(dataset->manifest, {.window_samples = 300}), &dataset->store, {});
  ASSERT_THAT(loader, test::Succeeds());
  dataset->store.WaitForReads(1);
  std::thread destroyer([&] { loader->reset(); });
  // The read under way is let go; the two other shards are not asked for, unless
  // it came back before the destructor began.
  dataset->store.AllowReads(3);
  destroyer.join();
  EXPECT_LE(dataset->store.reads().size(), 3u);
}

TEST(LoaderTest, HandsOutNothingAfterTheEnd) {
  const auto dataset = MakeDataset({{10, 4}}, {2});
  LoaderOptions options;
  options.skip_samples = 10;
  auto loader = Loader::Open(MakePlan(dataset->manifest, {}), &dataset->store, options);
  ASSERT_THAT(loader, test::Succeeds());
  Bytes out(20);
  for (int i = 0; i < 2; ++i) {
    const auto count = (*loader)->Next(4, std::vector<std::byte*>{out.data()});
    ASSERT_THAT(count, test::Succeeds());
    EXPECT_EQ(*count, 0u);
  }
}

}  // namespace
}  // namespace dnc::stream
