// A stream over real shards in memory: the promises of stream.h, as a caller sees them.

#include "stream/stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "stream/dataset_for_test.h"
#include "testing/testing.h"

namespace dnc::stream {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr std::uint64_t kSamples = 103;

std::unique_ptr<DatasetForTest> Small() { return MakeDataset({{50, 8}, {33, 8}, {20, 5}}, {6, 1}); }

StreamOptions Options(std::uint64_t epochs = 1) {
  StreamOptions options;
  options.seed = 5;
  options.epochs = epochs;
  options.memory_bytes = 4 << 20;
  options.disk_bytes = 0;
  options.window_samples = 24;
  options.batch_samples = 16;
  options.connections = 2;
  return options;
}

std::unique_ptr<Stream> OpenStream(const DatasetForTest& dataset, const StreamOptions& options) {
  auto stream = Stream::Open(&dataset.manifest, &dataset.store, options);
  EXPECT_THAT(stream, test::Succeeds());
  return std::move(stream).value();
}

using Samples = std::vector<Bytes>;  // All columns of each.

// At most `count` samples, in batches of `batch`.
Samples Take(Stream* stream, std::uint64_t count = UINT64_MAX, std::uint64_t batch = 16) {
  Samples samples;
  array::SampleBlock block;
  while (samples.size() < count) {
    const Status status =
        stream->Next(std::min<std::uint64_t>(batch, count - samples.size()), &block);
    EXPECT_THAT(status, test::Succeeds());
    if (!status.ok() || block.sample_count == 0) break;
    for (std::uint64_t i = 0; i < block.sample_count; ++i) {
      Bytes sample;
      for (std::size_t c = 0; c < block.columns.size(); ++c) {
        const std::size_t bytes = stream->columns()[c].sample_bytes();
        const auto begin = block.columns[c].begin() + static_cast<std::ptrdiff_t>(i * bytes);
        sample.insert(sample.end(), begin, begin + static_cast<std::ptrdiff_t>(bytes));
      }
      samples.push_back(sample);
    }
  }
  return samples;
}

Samples Part(const Samples& samples, std::size_t begin) {
  return Samples(samples.begin() + static_cast<std::ptrdiff_t>(begin), samples.end());
}

TEST(StreamTest, GivesEverySampleOnceAnEpochEachTimeInAnotherOrder) {
  const auto dataset = Small();
  const Samples samples = Take(OpenStream(*dataset, Options(3)).get());
  ASSERT_EQ(samples.size(), 3 * kSamples);
  std::set<Bytes> expected;
  for (std::uint64_t s = 0; s < 3; ++s) {
    for (std::uint64_t row = 0; row < dataset->manifest.shards[s].samples; ++row) {
      Bytes sample;
      for (std::size_t i = 0; i < 6; ++i) sample.push_back(ByteForTest(s, row, 0, i));
      sample.push_back(ByteForTest(s, row, 1, 0));
      expected.insert(sample);
    }
  }
  std::set<Samples> orders;
  for (std::size_t epoch = 0; epoch < 3; ++epoch) {
    const auto begin = samples.begin() + static_cast<std::ptrdiff_t>(epoch * kSamples);
    const Samples one(begin, begin + static_cast<std::ptrdiff_t>(kSamples));
    EXPECT_EQ(std::set<Bytes>(one.begin(), one.end()), expected);
    orders.insert(one);
  }
  EXPECT_EQ(orders.size(), 3u);
}

TEST(StreamTest, GoesOnAtAnySampleWithAnotherBudgetAndOtherBatches) {
  const auto dataset = Small();
  const Samples all = Take(OpenStream(*dataset, Options(2)).get());
  for (std::uint64_t count = 0; count <= all.size(); count += 7) {
    SCOPED_TRACE(count);
    const auto first = OpenStream(*dataset, Options(2));
    Take(first.get(), count, 3);
    const auto position = ParsePosition(FormatPosition(first->position()), "position");
    ASSERT_THAT(position, test::Succeeds());
    StreamOptions options = Options(2);
    options.resume = *position;
    options.memory_bytes = 8 << 20;
    options.seed = 99;  // Those of the position count.
    options.window_samples = 0;
    EXPECT_EQ(Take(OpenStream(*dataset, options).get(), UINT64_MAX, 5), Part(all, count));
  }
}

TEST(StreamTest, GivesAnyNumberOfWorkersTheSameOrder) {
  const auto dataset = Small();
  const Samples all = Take(OpenStream(*dataset, Options()).get());
  for (const std::uint32_t workers : {2u, 4u, 8u}) {
    std::vector<Samples> parts;
    for (std::uint32_t worker = 0; worker < workers; ++worker) {
      StreamOptions options = Options();
      options.worker = worker;
      options.workers = workers;
      parts.push_back(Take(OpenStream(*dataset, options).get()));
    }
    std::vector<std::size_t> next(workers, 0);
    for (std::uint64_t i = 0; i < all.size(); ++i) {
      const std::size_t worker = i % 8 * workers / 8;
      ASSERT_LT(next[worker], parts[worker].size());
      EXPECT_EQ(parts[worker][next[worker]++], all[i]) << workers << " workers, sample " << i;
    }
  }
}

TEST(StreamTest, RefusesABudgetBelowTheMinimumWithTheArithmetic) {
  const auto dataset = Small();
  StreamOptions options = Options();
  options.window_samples = 0;
  options.memory_bytes = 1000;
  EXPECT_THAT(Stream::Open(&dataset->manifest, &dataset->store, options),
              test::FailsWith(ErrorCode::kInvalidArgument,
                              AllOf(HasSubstr("needs at least"), HasSubstr("given 1000 B"))));
  options.memory_bytes = 4 << 20;
  options.disk_bytes = 4096;
  const test::TemporaryFolder folder;
  options.cache_folder = folder.path();
  EXPECT_THAT(Stream::Open(&dataset->manifest, &dataset->store, options),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("no room for a leaf")));
}

TEST(StreamTest, RefusesAPositionOfOtherData) {
  const auto dataset = Small();
  const auto other = MakeDataset({{50, 8}}, {6, 1});
  StreamOptions options = Options();
  options.resume = OpenStream(*other, Options())->position();
  EXPECT_THAT(Stream::Open(&dataset->manifest, &dataset->store, options),
              test::FailsWith(ErrorCode::kStale, HasSubstr("other data")));
}

TEST(StreamTest, RefusesWorkersThatDoNotFitTheLanes) {
  const auto dataset = Small();
  StreamOptions options = Options();
  options.workers = 3;
  options.lanes = 8;
  EXPECT_THAT(Stream::Open(&dataset->manifest, &dataset->store, options),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("lanes")));
  options.worker = 3;
  EXPECT_THAT(Stream::Open(&dataset->manifest, &dataset->store, options),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("worker 3 of 3")));
}

TEST(StreamTest, GivesWhatItHasAndThenTheErrorEachTime) {
  const auto dataset = Small();
  for (int read = 0; read < 3; ++read) {
    const auto spoiled = Small();
    Bytes& bytes = spoiled->store.object(spoiled->manifest.shards[1].cid);
    bytes[bytes.size() / 2] ^= std::byte{1};
    const auto stream = OpenStream(*spoiled, Options());
    array::SampleBlock block;
    Status status;
    for (int i = 0; i < 100 && status.ok(); ++i) status = stream->Next(16, &block);
    EXPECT_THAT(status,
                test::FailsWith(ErrorCode::kCorrupt, HasSubstr(spoiled->manifest.shards[1].cid)));
    EXPECT_THAT(stream->Next(16, &block), test::FailsWith(ErrorCode::kCorrupt));
  }
}

TEST(StreamTest, FindsAByteThatChangesOnThisMachineAfterItWasHashed) {
  const auto dataset = Small();
  dataset->store.SetLocal();
  StreamOptions options = Options(0);
  // With no room for a leaf but the one that is read.
  options.memory_bytes = OpenStream(*dataset, options)->plan().memory_needed_bytes;
  const auto stream = OpenStream(*dataset, options);
  EXPECT_EQ(Take(stream.get(), 2 * kSamples).size(), 2 * kSamples);
  for (const shard::ShardInfo& shard : dataset->manifest.shards) {
    dataset->store.object(shard.cid)[40] ^= std::byte{1};
  }
  array::SampleBlock block;
  Status status;
  for (int i = 0; i < 100 && status.ok(); ++i) status = stream->Next(16, &block);
  EXPECT_THAT(status, test::FailsWith(ErrorCode::kCorrupt, HasSubstr("shard")));
}

// Shards of a few leaves each.
std::unique_ptr<DatasetForTest> Large() {
  return MakeDataset({{800, 100}, {800, 100}, {800, 100}}, {2000});
}

StreamOptions DiskOptions(const test::TemporaryFolder& folder, std::uint64_t leaves) {
  StreamOptions options = Options(2);
  options.memory_bytes = 6 << 20;
  options.window_samples = 400;
  options.cache_folder = folder.path();
  options.disk_bytes = 4096 + leaves * ((1 << 20) + 4096);
  return options;
}

TEST(StreamTest, ADiskSavesDownloadsAndChangesNoSample) {
  const auto dataset = Large();
  StreamOptions without = Options(2);
  without.memory_bytes = 6 << 20;
  without.window_samples = 400;
  const auto plain = OpenStream(*dataset, without);
  const Samples expected = Take(plain.get());
  const test::TemporaryFolder folder;
  const auto stream = OpenStream(*dataset, DiskOptions(folder, 20));
  EXPECT_TRUE(Take(stream.get()) == expected);
  EXPECT_LT(stream->statistics().fetched_bytes, plain->statistics().fetched_bytes);
  EXPECT_GT(stream->statistics().cache_bytes, 0u);
  EXPECT_LE(stream->statistics().disk_bytes, DiskOptions(folder, 20).disk_bytes);
}

TEST(StreamTest, TheNextRunFindsWhatTheLastOneKept) {
  const auto dataset = Large();
  const test::TemporaryFolder folder;
  const Samples expected = Take(OpenStream(*dataset, DiskOptions(folder, 20)).get());
  const auto again = OpenStream(*dataset, DiskOptions(folder, 20));
  EXPECT_TRUE(Take(again.get()) == expected);
  EXPECT_LT(again->statistics().fetched_bytes, 5u << 20);
}

TEST(StreamTest, GivesLeavesOfItsDiskToNeighboursOnceTheyAreChecked) {
  const auto dataset = Large();
  const test::TemporaryFolder folder;
  const auto stream = OpenStream(*dataset, DiskOptions(folder, 20));
  Take(stream.get());
  int there = 0;
  for (const shard::ShardInfo& shard : dataset->manifest.shards) {
    for (const Digest& digest : shard.leaves) {
      const auto leaf = stream->CachedLeaf(digest);
      if (!leaf.ok()) {
        EXPECT_THAT(leaf, test::FailsWith(ErrorCode::kNotFound));
        continue;
      }
      EXPECT_EQ(Sha256(*leaf), digest);
      ++there;
    }
  }
  EXPECT_GT(there, 0);
  EXPECT_THAT(stream->CachedLeaf(Digest{}), test::FailsWith(ErrorCode::kNotFound));
}

}  // namespace
}  // namespace dnc::stream
