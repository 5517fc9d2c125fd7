#include "divide/verify.h"

#include <gtest/gtest.h>

#include "divide/dataset_for_test.h"
#include "divide/divide.h"
#include "testing/testing.h"

namespace dnc::divide {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class VerifyTest : public ::testing::Test {
 protected:
  VerifyTest() {
    DivideOptions options;
    options.name = "made up";
    options.shard_bytes = kShardBytesMin;
    options.zstd_level = 1;
    options.splits = {{"train", 0.5}, {"test", 0.5}};
    SourceForTest source({.samples = 3000});
    auto report = Divide(&source, store_.get(), options);
    EXPECT_THAT(report, test::Succeeds());
    manifest_ = std::move(report->manifest);
  }

  void Replace(const std::string& key, const Bytes& bytes) {
    EXPECT_THAT(store::PutObject(store_.get(), key, bytes), test::Succeeds());
  }
  Bytes Get(const std::string& key) {
    auto bytes = store::GetObject(*store_, key, 1 << 20);
    EXPECT_THAT(bytes, test::Succeeds());
    return std::move(bytes).value();
  }

  std::unique_ptr<store::ObjectStore> store_ = store::MakeMemoryStore();
  shard::Manifest manifest_;
};

TEST_F(VerifyTest, PassesAWholeDatasetAndCountsIt) {
  std::uint64_t calls = 0;
  const auto checked = Verify(manifest_, *store_, {}, [&](const VerifyProgress& progress) {
    EXPECT_EQ(progress.shards_done, ++calls);
    return true;
  });
  ASSERT_THAT(checked, test::Succeeds());
  EXPECT_EQ(calls, manifest_.shards.size());
  EXPECT_EQ(checked->shards_done, checked->shards_total);
  EXPECT_EQ(checked->samples_done, 3000u);
  EXPECT_EQ(checked->bytes_done, checked->bytes_total);
}

TEST_F(VerifyTest, NamesTheShardAndLeafThatWereChanged) {
  const std::string& cid = manifest_.shards.back().cid;
  Bytes bytes = Get(cid);
  bytes[bytes.size() / 2] ^= std::byte{1};
  Replace(cid, bytes);
  EXPECT_THAT(Verify(manifest_, *store_),
              test::FailsWith(ErrorCode::kCorrupt, AllOf(HasSubstr(cid), HasSubstr("leaf 0"))));
}

TEST_F(VerifyTest, NamesAShardOfAnotherLength) {
  const std::string& cid = manifest_.shards[0].cid;
  Bytes bytes = Get(cid);
  bytes.pop_back();
  Replace(cid, bytes);
  EXPECT_THAT(Verify(manifest_, *store_),
              test::FailsWith(ErrorCode::kCorrupt, AllOf(HasSubstr(cid), HasSubstr("bytes"))));
}

TEST_F(VerifyTest, NamesAShardThatIsMissing) {
  ASSERT_THAT(store_->Delete(manifest_.shards[1].cid), test::Succeeds());
  EXPECT_THAT(Verify(manifest_, *store_),
              test::FailsWith(ErrorCode::kNotFound, HasSubstr(manifest_.shards[1].cid)));
}

TEST_F(VerifyTest, RefusesAManifestThatSaysSomethingElse) {
  const std::vector<std::pair<std::string, void (*)(shard::Manifest*)>> lies = {
      {"samples in blocks", [](shard::Manifest* m) { m->shards[0].samples += 1; }},
      {"samples in blocks", [](shard::Manifest* m) { m->shards[0].block_samples += 1; }},
      {"columns", [](shard::Manifest* m) { m->columns.pop_back(); }},
      {"\"y\"", [](shard::Manifest* m) { m->columns[2].name = "z"; }},
      {"float32", [](shard::Manifest* m) { m->columns[2].dtype = array::DType::kFloat32; }},
      {"content id",
       [](shard::Manifest* m) { std::swap(m->shards[0].leaves, m->shards[1].leaves); }},
      {"leaves", [](shard::Manifest* m) { m->shards[0].leaves.clear(); }},
      {"not one of the manifest's", [](shard::Manifest* m) { m->shards[0].split = "other"; }},
      {"1500 samples, but the manifest says 1499",
       [](shard::Manifest* m) { m->splits[0].samples -= 1; }},
      {"column \"number\"", [](shard::Manifest* m) { m->splits[1].statistics[1].mean += 1e-9; }},
      {"column \"y\"", [](shard::Manifest* m) { m->splits[0].statistics[2].class_counts[3]++; }},
  };
  for (const auto& [message, lie] : lies) {
    SCOPED_TRACE(message);
    shard::Manifest manifest = manifest_;
    lie(&manifest);
    EXPECT_THAT(Verify(manifest, *store_),
                test::FailsWith(ErrorCode::kCorrupt, HasSubstr(message)));
  }
}

TEST_F(VerifyTest, LeavesOutTheStatisticsIfAsked) {
  manifest_.splits[0].statistics[0].mean += 1;
  EXPECT_THAT(Verify(manifest_, *store_, {.statistics = false}), test::Succeeds());
  EXPECT_THAT(Verify(manifest_, *store_), test::FailsWith(ErrorCode::kCorrupt));
}

TEST_F(VerifyTest, StopsWhenItIsTold) {
  EXPECT_THAT(Verify(manifest_, *store_, {}, [](const VerifyProgress&) { return false; }),
              test::FailsWith(ErrorCode::kCancelled));
}

}  // namespace
}  // namespace dnc::divide
