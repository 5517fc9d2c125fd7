// Dividing either leaves a whole dataset or what was there before; these tests
// stop it and fail it at every step that changes the store.

#include "divide/divide.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <set>

#include "array/samples.h"
#include "divide/dataset_for_test.h"
#include "divide/verify.h"
#include "shard/shard_reader.h"
#include "testing/testing.h"

namespace dnc::divide {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

DivideOptions SmallShards() {
  DivideOptions options;
  options.name = "made up";
  options.shard_bytes = kShardBytesMin;
  options.zstd_level = 1;
  return options;
}

std::vector<std::string> Keys(const store::ObjectStore& store) {
  auto keys = store.List();
  EXPECT_THAT(keys, test::Succeeds());
  return std::move(keys).value();
}

// The "number" of every sample of a split, in the order of its shards.
std::vector<std::int64_t> Numbers(const shard::Manifest& manifest, const store::ObjectStore& store,
                                  const std::string& split) {
  std::vector<std::int64_t> numbers;
  shard::BlockDecoder decoder;
  for (const shard::ShardInfo& info : manifest.shards) {
    if (info.split != split) continue;
    auto source = store::OpenObject(&store, info.cid);
    EXPECT_THAT(source, test::Succeeds());
    auto reader = shard::ShardReader::Open(source->get());
    EXPECT_THAT(reader, test::Succeeds());
    for (std::uint32_t b = 0; b < reader->summary().block_count; ++b) {
      array::SampleBlock block;
      EXPECT_THAT(decoder.Decode(*reader, b, &block), test::Succeeds());
      const std::size_t before = numbers.size();
      numbers.resize(before + block.sample_count);
      std::memcpy(numbers.data() + before, block.columns[1].data(), block.sample_count * 8);
    }
  }
  return numbers;
}

Result<DivideReport> DivideInto(store::ObjectStore* store, std::uint64_t samples,
                                const DivideOptions& options) {
  SourceForTest source({.samples = samples});
  return Divide(&source, store, options);
}

TEST(DivideTest, KeepsEverySampleInItsOrder) {
  const auto store = store::MakeMemoryStore();
  const auto report = DivideInto(store.get(), 10000, SmallShards());
  ASSERT_THAT(report, test::Succeeds());
  const std::vector<std::int64_t> numbers = Numbers(report->manifest, *store, "train");
  ASSERT_EQ(numbers.size(), 10000u);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    ASSERT_EQ(numbers[i], static_cast<std::int64_t>(i));
  }
  EXPECT_THAT(Verify(report->manifest, *store), test::Succeeds());
}

TEST(DivideTest, ClosesShardsNearTheSizeThatWasAskedFor) {
  const auto store = store::MakeMemoryStore();
  const auto report = DivideInto(store.get(), 20000, SmallShards());
  ASSERT_THAT(report, test::Succeeds());
  const auto& shards = report->manifest.shards;
  EXPECT_GT(shards.size(), 10u);
  for (std::size_t i = 0; i + 1 < shards.size(); ++i) {
    EXPECT_GT(shards[i].bytes, kShardBytesMin * 3 / 4);
    EXPECT_LT(shards[i].bytes, kShardBytesMin * 5 / 4);
  }
}

TEST(DivideTest, CutsEverySplitIntoAsManyEqualBatchesAsWereAskedFor) {
  for (const std::uint64_t samples : {10u, 768u, 30001u}) {
    SCOPED_TRACE(samples);
    SourceForTest source({.samples = samples});
    const auto store = store::MakeMemoryStore();
    DivideOptions options;
    options.batches = 4;
    options.splits = {{"train", 0.6}, {"test", 0.4}};
    const auto report = Divide(&source, store.get(), options);
    ASSERT_THAT(report, test::Succeeds());
    std::map<std::string, std::vector<std::uint64_t>> batches;
    for (const shard::ShardInfo& shard : report->manifest.shards) {
      batches[shard.split].push_back(shard.samples);
    }
    for (const shard::SplitInfo& split : report->manifest.splits) {
      ASSERT_EQ(batches[split.name].size(), 4);
      const auto [least, most] = std::ranges::minmax(batches[split.name]);
      EXPECT_LE(most - least, 1);
      EXPECT_EQ(std::accumulate(batches[split.name].begin(), batches[split.name].end(), 0ull),
                split.samples);
    }
    EXPECT_THAT(Verify(report->manifest, *store), test::Succeeds());
  }
}

TEST(DivideTest, RefusesBatchesOfASourceThatIsTooShortOrDoesNotKnowItsLength) {
  DivideOptions options;
  options.batches = 4;
  for (const bool count_known : {true, false}) {
    SourceForTest source({.samples = 3, .count_known = count_known});
    const auto store = store::MakeMemoryStore();
    EXPECT_THAT(
        Divide(&source, store.get(), options),
        test::FailsWith(ErrorCode::kInvalidArgument,
                        HasSubstr(count_known ? "3 samples cannot make 4" : "does not say")));
  }
}

// Texts of the lengths given, one after the other.
class LengthsSource final : public source::SampleSource {
 public:
  explicit LengthsSource(std::vector<std::size_t> lengths) : lengths_(std::move(lengths)) {}
  const std::vector<array::ColumnSpec>& columns() const override { return columns_; }
  std::optional<std::uint64_t> sample_count() const override { return lengths_.size(); }
  std::string Describe() const override { return "texts"; }
  const std::vector<source::SkippedInput>& skipped() const override { return skipped_; }
  Status Read(std::uint64_t sample_count_max, array::SampleBlock* block) override {
    array::ClearSamples(columns_, block);
    while (block->sample_count < sample_count_max && next_ < lengths_.size()) {
      Prng prng(next_);
      for (std::size_t i = 0; i < lengths_[next_]; ++i) {
        block->columns[0].push_back(static_cast<std::byte>(prng.Next()));
      }
      block->ends[0].push_back(static_cast<std::uint32_t>(block->columns[0].size()));
      ++next_;
      ++block->sample_count;
    }
    read_max_ = std::max(read_max_, block->columns[0].size());
    return {};
  }
  std::size_t read_max() const { return read_max_; }

 private:
  const std::vector<std::size_t> lengths_;
  const std::vector<array::ColumnSpec> columns_ = {
      {"bytes", array::DType::kUint8, {}, {}, array::ColumnKind::kBytes, {}}};
  const std::vector<source::SkippedInput> skipped_;
  std::size_t next_ = 0;
  std::size_t read_max_ = 0;
};

TEST(DivideTest, BoundsBlocksWhateverTheLengthsOfSamples) {
  const std::size_t large = 3 << 20;
  std::vector<std::vector<std::size_t>> cases = {
      std::vector<std::size_t>(5000, 100),
      std::vector<std::size_t>(300, 0),
      {large, 5, 5, 5, large, 5},
  };
  std::vector<std::size_t> growing(4000, 10);
  for (std::size_t i = 0; i < 40; ++i) growing.push_back(200'000);
  cases.push_back(growing);
  std::vector<std::size_t> shrinking(20, 300'000);
  shrinking.resize(20'000, 7);
  cases.push_back(shrinking);
  std::vector<std::size_t> mixed;
  for (std::size_t i = 0; i < 3000; ++i) mixed.push_back(i % 100 == 0 ? 50'000 : i % 50);
  cases.push_back(mixed);
  for (const std::vector<std::size_t>& lengths : cases) {
    SCOPED_TRACE(std::to_string(lengths.front()) + " to " + std::to_string(lengths.back()));
    const auto store = store::MakeMemoryStore();
    LengthsSource source(lengths);
    DivideOptions options;
    options.zstd_level = 1;
    const auto report = Divide(&source, store.get(), options);
    ASSERT_THAT(report, test::Succeeds());
    EXPECT_LE(source.read_max(), 64u * 200'000);
    const std::uint64_t largest = *std::max_element(lengths.begin(), lengths.end());
    std::uint64_t samples = 0;
    for (const shard::ShardInfo& shard : report->manifest.shards) {
      EXPECT_LE(shard.block_bytes_max, (4u << 20) + largest + 8);
      samples += shard.samples;
    }
    EXPECT_EQ(samples, lengths.size());
    EXPECT_EQ(report->manifest.splits[0].statistics[0].count, lengths.size());
    EXPECT_EQ(report->manifest.splits[0].statistics[0].max, static_cast<double>(largest));
    EXPECT_THAT(Verify(report->manifest, *store), test::Succeeds());
    // No more blocks than needed, but for those that a change of lengths ends early.
    EXPECT_LT(report->manifest.shards.size(), 12u);
  }
}

TEST(DivideTest, RefusesASampleThatNoBlockCanHold) {
  const auto store = store::MakeMemoryStore();
  LengthsSource source({10, (64u << 20) + 1});
  EXPECT_THAT(Divide(&source, store.get(), {}),
              test::FailsWith(ErrorCode::kTooLarge, HasSubstr("--raw")));
  EXPECT_THAT(Keys(*store), IsEmpty());
}

TEST(DivideTest, DescribesWhatItDid) {
  const auto store = store::MakeMemoryStore();
  DivideOptions options = SmallShards();
  options.description = "for tests";
  options.seed = 7;
  options.parameters = {{"resize", "8x8"}};
  const auto report = DivideInto(store.get(), 5000, options);
  ASSERT_THAT(report, test::Succeeds());
  const shard::Manifest& manifest = report->manifest;
  EXPECT_EQ(manifest.name, "made up");
  EXPECT_EQ(manifest.description, "for tests");
  EXPECT_EQ(manifest.columns[2].class_names, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_THAT(manifest.parameters,
              AllOf(Contains(Pair("source", "samples for tests")), Contains(Pair("seed", "7")),
                    Contains(Pair("splits", "train=1")), Contains(Pair("resize", "8x8"))));
  ASSERT_EQ(manifest.splits.size(), 1u);
  const auto& statistics = manifest.splits[0].statistics;
  EXPECT_EQ(statistics[1].mean, 2499.5);
  EXPECT_EQ(statistics[1].max, 4999);
  EXPECT_EQ(statistics[2].class_counts.at(3), 500u);
  EXPECT_EQ(report->totals.samples_done, 5000u);
  EXPECT_EQ(report->totals.bytes_in, 5000u * 64);
  std::uint64_t bytes = 0;
  for (const auto& shard : manifest.shards) bytes += shard.bytes;
  EXPECT_EQ(report->totals.bytes_out, bytes);

  // What it stored is what it says, and everything that is there is named.
  const auto text = store::GetObject(*store, kManifestKey, 1 << 20);
  ASSERT_THAT(text, test::Succeeds());
  EXPECT_EQ(AsText(*text), shard::FormatManifest(manifest));
  EXPECT_THAT(shard::ParseManifest(AsText(*text), "manifest"), test::Succeeds());
  EXPECT_EQ(Keys(*store).size(), manifest.shards.size() + 1);
}

TEST(DivideTest, GivesTheSameDatasetWithAnyNumberOfThreads) {
  std::set<std::string> manifests;
  for (const int threads : {1, 2, 5}) {
    const auto store = store::MakeMemoryStore();
    DivideOptions options = SmallShards();
    options.threads = threads;
    options.splits = {{"train", 0.8}, {"test", 0.2}};
    const auto report = DivideInto(store.get(), 9000, options);
    ASSERT_THAT(report, test::Succeeds());
    manifests.insert(shard::FormatManifest(report->manifest));
  }
  EXPECT_EQ(manifests.size(), 1u);
}

TEST(DivideTest, SplitsExactlyAndLosesNothing) {
  for (const bool count_known : {true, false}) {
    const auto store = store::MakeMemoryStore();
    DivideOptions options = SmallShards();
    options.splits = {{"train", 0.9}, {"validation", 0.1}};
    SourceForTest source({.samples = 6030, .count_known = count_known});
    const auto report = Divide(&source, store.get(), options);
    ASSERT_THAT(report, test::Succeeds());
    EXPECT_EQ(report->manifest.splits[0].samples, 5427u);
    EXPECT_EQ(report->manifest.splits[1].samples, 603u);
    std::vector<std::int64_t> all = Numbers(report->manifest, *store, "train");
    EXPECT_TRUE(std::is_sorted(all.begin(), all.end()));
    const auto validation = Numbers(report->manifest, *store, "validation");
    all.insert(all.end(), validation.begin(), validation.end());
    std::sort(all.begin(), all.end());
    ASSERT_EQ(all.size(), 6030u);
    for (std::size_t i = 0; i < all.size(); ++i) ASSERT_EQ(all[i], static_cast<std::int64_t>(i));
    EXPECT_THAT(Verify(report->manifest, *store), test::Succeeds());
  }
}

TEST(DivideTest, RefusesToReplaceADatasetUnlessItIsTold) {
  const auto store = store::MakeMemoryStore();
  ASSERT_THAT(DivideInto(store.get(), 3000, SmallShards()), test::Succeeds());
  const std::vector<std::string> before = Keys(*store);
  EXPECT_THAT(DivideInto(store.get(), 100, SmallShards()),
              test::FailsWith(ErrorCode::kAlreadyExists,
                              AllOf(HasSubstr("another folder"), HasSubstr("--overwrite"))));
  EXPECT_EQ(Keys(*store), before);

  DivideOptions options = SmallShards();
  options.overwrite = true;
  const auto report = DivideInto(store.get(), 100, options);
  ASSERT_THAT(report, test::Succeeds());
  EXPECT_EQ(report->replaced_shards, before.size() - 1);
  EXPECT_THAT(Keys(*store), ElementsAre(report->manifest.shards[0].cid, kManifestKey));
  EXPECT_THAT(Verify(report->manifest, *store), test::Succeeds());
}

TEST(DivideTest, OverwritingWithTheSameDataKeepsItsShards) {
  const auto store = store::MakeMemoryStore();
  DivideOptions options = SmallShards();
  options.overwrite = true;
  ASSERT_THAT(DivideInto(store.get(), 3000, options), test::Succeeds());
  const auto report = DivideInto(store.get(), 3000, options);
  ASSERT_THAT(report, test::Succeeds());
  EXPECT_EQ(report->replaced_shards, 0u);
  EXPECT_THAT(Verify(report->manifest, *store), test::Succeeds());
}

TEST(DivideTest, OverwritesAManifestThatCannotBeRead) {
  const auto store = store::MakeMemoryStore();
  ASSERT_THAT(store::PutObject(store.get(), kManifestKey, AsBytes("{")), test::Succeeds());
  DivideOptions options = SmallShards();
  options.overwrite = true;
  EXPECT_THAT(DivideInto(store.get(), 100, options), test::Succeeds());
}

TEST(DivideTest, LeavesNothingBehindWhicheverStepFindsTheDiskFull) {
  DivideOptions options = SmallShards();
  options.splits = {{"train", 0.75}, {"test", 0.25}};
  int fail_index = 0;
  for (;; ++fail_index) {
    ASSERT_LT(fail_index, 1000) << "dividing never ends";
    const auto store = store::MakeMemoryStore();
    // A file of someone else, which has to survive everything.
    ASSERT_THAT(store::PutObject(store.get(), "notes.txt", AsBytes("mine")), test::Succeeds());
    FaultyStore faulty(store.get(), fail_index);
    const auto report = DivideInto(&faulty, 2600, options);
    if (!faulty.fired()) {
      EXPECT_THAT(report, test::Succeeds());
      break;
    }
    EXPECT_THAT(report, test::FailsWith(ErrorCode::kResourceExhausted, HasSubstr("no space")));
    EXPECT_THAT(Keys(*store), ElementsAre("notes.txt"));
  }
  EXPECT_GT(fail_index, 20);
}

TEST(DivideTest, LeavesShardsThatWereThereBeforeWhenItFails) {
  const auto store = store::MakeMemoryStore();
  ASSERT_THAT(DivideInto(store.get(), 3000, SmallShards()), test::Succeeds());
  ASSERT_THAT(store->Delete(kManifestKey), test::Succeeds());
  const std::vector<std::string> before = Keys(*store);
  ASSERT_GT(before.size(), 2u);
  // The same shards again, and then a failure.
  SourceForTest source({.samples = 5000, .fail_after = 3500});
  EXPECT_THAT(Divide(&source, store.get(), SmallShards()),
              test::FailsWith(ErrorCode::kCorrupt, HasSubstr("x.npy")));
  EXPECT_EQ(Keys(*store), before);
}

TEST(DivideTest, KeepsNothingWhenItIsCancelledBeforeAShardIsFinished) {
  int calls_allowed = 0;
  for (;; ++calls_allowed) {
    ASSERT_LT(calls_allowed, 1000);
    const auto store = store::MakeMemoryStore();
    SourceForTest source({.samples = 2600});
    int calls = 0;
    const auto report = Divide(&source, store.get(), SmallShards(),
                               [&](const DivideProgress&) { return calls++ < calls_allowed; });
    if (calls <= calls_allowed) {
      EXPECT_THAT(report, test::Succeeds());
      break;
    }
    EXPECT_THAT(report, test::FailsWith(ErrorCode::kCancelled));
    if (Keys(*store).size() > 0) {
      EXPECT_THAT(report, test::FailsWith(ErrorCode::kCancelled, HasSubstr("to go on")));
      break;
    }
    EXPECT_THAT(report, test::FailsWith(ErrorCode::kCancelled, HasSubstr("nothing")));
  }
  EXPECT_GT(calls_allowed, 5);
}

TEST(DivideTest, ReportsProgressThatEndsAtTheTotals) {
  const auto store = store::MakeMemoryStore();
  SourceForTest source({.samples = 5000});
  DivideProgress last;
  const auto report =
      Divide(&source, store.get(), SmallShards(), [&](const DivideProgress& progress) {
        EXPECT_GE(progress.samples_done, last.samples_done);
        EXPECT_GE(progress.bytes_out, last.bytes_out);
        EXPECT_EQ(progress.samples_total, 5000u);
        last = progress;
        return true;
      });
  ASSERT_THAT(report, test::Succeeds());
  EXPECT_EQ(last.samples_done, 5000u);
  EXPECT_EQ(last.bytes_in, report->totals.bytes_in);
}

TEST(DivideTest, RefusesWrongOptionsBeforeItTouchesTheStore) {
  const std::vector<std::pair<std::string, void (*)(DivideOptions*)>> wrong = {
      {"sum to",
       [](DivideOptions* o) {
         o->splits = {{"a", 0.5}};
       }},
      {"shards of 1 KiB", [](DivideOptions* o) { o->shard_bytes = 1024; }},
      {"shards of 2 GiB", [](DivideOptions* o) { o->shard_bytes = 2u << 30; }},
      {"zstd level 0", [](DivideOptions* o) { o->zstd_level = 0; }},
      {"zstd level 20", [](DivideOptions* o) { o->zstd_level = 20; }},
      {"0 threads", [](DivideOptions* o) { o->threads = 0; }},
      {"\"b\" would have none of the 100",
       [](DivideOptions* o) {
         o->splits = {{"a", 0.999}, {"b", 0.001}};
       }},
  };
  for (const auto& [message, change] : wrong) {
    SCOPED_TRACE(message);
    const auto store = store::MakeMemoryStore();
    DivideOptions options = SmallShards();
    change(&options);
    EXPECT_THAT(DivideInto(store.get(), 100, options),
                test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr(message)));
    EXPECT_THAT(Keys(*store), IsEmpty());
  }
}

TEST(DivideTest, RefusesASourceWithoutSamples) {
  for (const bool count_known : {true, false}) {
    const auto store = store::MakeMemoryStore();
    SourceForTest source({.samples = 0, .count_known = count_known});
    EXPECT_THAT(Divide(&source, store.get(), SmallShards()),
                test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("no samples")));
    EXPECT_THAT(Keys(*store), IsEmpty());
  }
}

TEST(DivideTest, RefusesASplitThatTurnsOutEmpty) {
  const auto store = store::MakeMemoryStore();
  SourceForTest source({.samples = 3, .count_known = false});
  DivideOptions options = SmallShards();
  options.splits = {{"train", 0.9}, {"test", 0.1}};
  EXPECT_THAT(Divide(&source, store.get(), options),
              test::FailsWith(ErrorCode::kInvalidArgument,
                              AllOf(HasSubstr("\"test\""), HasSubstr("3 samples"))));
  EXPECT_THAT(Keys(*store), IsEmpty());
}

}  // namespace
}  // namespace dnc::divide
