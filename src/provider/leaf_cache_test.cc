#include "provider/leaf_cache.h"

#include <filesystem>
#include <fstream>

#include "base/prng.h"
#include "shard/content_id.h"
#include "testing/testing.h"

namespace dnc::provider {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

Bytes SomeBytes(std::size_t size, std::uint64_t seed) {
  Prng prng(seed);
  Bytes bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(prng.Next());
  return bytes;
}

std::uint64_t BytesIn(const std::string& folder) {
  std::uint64_t total = 0;
  for (const auto& file : fs::recursive_directory_iterator(folder)) {
    if (file.is_regular_file()) total += file.file_size();
  }
  return total;
}

std::vector<std::string> NamesIn(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& file : fs::directory_iterator(folder)) names.push_back(file.path().filename());
  return names;
}

void Write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

struct Leaf {
  explicit Leaf(std::uint64_t seed, std::size_t size = 10'000)
      : bytes(SomeBytes(size, seed)), digest(Sha256(bytes)) {}
  void PutInto(LeafCache* cache) const { cache->Put(digest, bytes); }
  bool IsIn(LeafCache* cache) const {
    Bytes out(bytes.size());
    return cache->Get(digest, out) && out == bytes;
  }
  Bytes bytes;
  Digest digest;
};

std::unique_ptr<LeafCache> OpenCache(const std::string& folder, std::uint64_t disk_bytes) {
  auto cache = LeafCache::Open(folder, disk_bytes);
  EXPECT_THAT(cache, test::Succeeds());
  return std::move(cache).value();
}

TEST(LeafCacheTest, GivesBackWhatWasPut) {
  const test::TemporaryFolder folder;
  const auto cache = OpenCache(folder.path(), 1 << 20);
  const Leaf first(1);
  const Leaf second(2);
  first.PutInto(cache.get());
  EXPECT_TRUE(first.IsIn(cache.get()));
  EXPECT_FALSE(second.IsIn(cache.get()));
}

TEST(LeafCacheTest, RemovesTheLeafNotUsedForTheLongestTime) {
  const test::TemporaryFolder folder;
  const auto cache = OpenCache(folder.path(), 3 * 12'288);  // 10,000 bytes are three blocks.
  const Leaf a(1), b(2), c(3), d(4);
  a.PutInto(cache.get());
  b.PutInto(cache.get());
  c.PutInto(cache.get());
  ASSERT_TRUE(a.IsIn(cache.get()));  // Now b is the oldest.
  d.PutInto(cache.get());
  EXPECT_FALSE(b.IsIn(cache.get()));
  EXPECT_TRUE(a.IsIn(cache.get()));
  EXPECT_TRUE(c.IsIn(cache.get()));
  EXPECT_TRUE(d.IsIn(cache.get()));
  EXPECT_EQ(cache->statistics().evictions, 1u);
}

TEST(LeafCacheTest, NeverExceedsItsBudget) {
  const test::TemporaryFolder folder;
  const std::uint64_t budget = 100'000;
  const auto cache = OpenCache(folder.path(), budget);
  Prng prng(5);
  for (std::uint64_t i = 0; i < 300; ++i) {
    Leaf(i, prng.Below(60'000)).PutInto(cache.get());
    ASSERT_LE(BytesIn(folder.path()), budget);
  }
  // The peak counts a file from before its first byte is written.
  EXPECT_LE(cache->statistics().disk_bytes_peak, budget);
  EXPECT_GT(cache->statistics().disk_bytes_peak, budget / 2);
}

TEST(LeafCacheTest, ALeafAboveTheWholeBudgetIsNotKeptAndEvictsNothing) {
  const test::TemporaryFolder folder;
  const auto cache = OpenCache(folder.path(), 20'000);
  const Leaf small(1);
  const Leaf large(2, 30'000);
  small.PutInto(cache.get());
  large.PutInto(cache.get());
  EXPECT_TRUE(small.IsIn(cache.get()));
  EXPECT_FALSE(large.IsIn(cache.get()));
}

TEST(LeafCacheTest, WithoutABudgetItTouchesNoDisk) {
  const test::TemporaryFolder folder;
  const auto cache = OpenCache(folder / "never", 0);
  const Leaf leaf(1);
  leaf.PutInto(cache.get());
  EXPECT_FALSE(leaf.IsIn(cache.get()));
  EXPECT_FALSE(PathExists(folder / "never"));
}

TEST(LeafCacheTest, ADamagedFileCountsAsAbsentAndIsRemoved) {
  const test::TemporaryFolder folder;
  const auto cache = OpenCache(folder.path(), 1 << 20);
  const Leaf changed(1), cut(2), gone(3);
  for (const Leaf* leaf : {&changed, &cut, &gone}) leaf->PutInto(cache.get());
  const auto path = [&](const Leaf& leaf) { return cache->folder() + "/" + leaf.digest.Hex(); };
  {
    std::fstream file(path(changed), std::ios::in | std::ios::out);
    file.seekp(5'000);
    file.put(static_cast<char>(changed.bytes[5'000] ^ std::byte{1}));
  }
  fs::resize_file(path(cut), 100);
  fs::remove(path(gone));
  for (const Leaf* leaf : {&changed, &cut, &gone}) {
    EXPECT_FALSE(leaf->IsIn(cache.get()));
    EXPECT_FALSE(PathExists(path(*leaf)));
    leaf->PutInto(cache.get());
    EXPECT_TRUE(leaf->IsIn(cache.get()));
  }
  EXPECT_EQ(cache->statistics().damaged, 3u);
}

TEST(LeafCacheTest, TwoCachesInOneFolderDoNotShareFiles) {
  const test::TemporaryFolder folder;
  const auto first = OpenCache(folder.path(), 1 << 20);
  const auto second = OpenCache(folder.path(), 1 << 20);
  EXPECT_NE(first->folder(), second->folder());
  const Leaf leaf(1);
  leaf.PutInto(first.get());
  EXPECT_FALSE(leaf.IsIn(second.get()));
}

TEST(LeafCacheTest, TakesOverWhatAnEndedRunLeftUpToItsBudget) {
  const test::TemporaryFolder folder;
  const Leaf a(1), b(2), c(3);
  {
    const auto cache = OpenCache(folder.path(), 1 << 20);
    for (const Leaf* leaf : {&a, &b, &c}) leaf->PutInto(cache.get());
  }
  const auto cache = OpenCache(folder.path(), 2 * 12'288);
  EXPECT_LE(cache->statistics().disk_bytes, 2u * 12'288);
  EXPECT_EQ(a.IsIn(cache.get()) + b.IsIn(cache.get()) + c.IsIn(cache.get()), 2);
}

TEST(LeafCacheTest, RemovesOnlyItsOwnFilesOfEndedRuns) {
  const test::TemporaryFolder folder;
  {
    const auto first = OpenCache(folder.path(), 1 << 20);
    const auto second = OpenCache(folder.path(), 1 << 20);
    Leaf(1).PutInto(first.get());
    Leaf(2).PutInto(second.get());
    Write(first->folder() + "/leaf.part", "torn");
    Write(second->folder() + "/leaf.part", "torn");
  }
  Write(folder / "leaves-1/diary.txt", "mine");
  fs::create_directory(folder / "leaves-7");
  Write(folder / "leaves-7/" + Leaf(3).digest.Hex(), "not made by a cache");
  Write(folder / "notes.txt", "mine");

  const auto cache = OpenCache(folder.path(), 1 << 20);
  EXPECT_EQ(cache->folder(), folder / "leaves-0");
  EXPECT_THAT(NamesIn(folder / "leaves-0"), UnorderedElementsAre("lock", Leaf(1).digest.Hex()));
  EXPECT_THAT(NamesIn(folder / "leaves-1"), ElementsAre("diary.txt"));
  EXPECT_TRUE(PathExists(folder / "leaves-7/" + Leaf(3).digest.Hex()));
  EXPECT_TRUE(PathExists(folder / "notes.txt"));
}

TEST(LeafCacheTest, RefusesAFolderThatIsAFile) {
  const test::TemporaryFolder folder;
  Write(folder / "file", "text");
  EXPECT_FALSE(LeafCache::Open(folder / "file", 1 << 20).ok());
}

// A manifest with one shard of two and a half leaves, served by a server that can
// spoil what it sends.
class CachedShardsTest : public ::testing::Test {
 protected:
  CachedShardsTest() : bytes_(SomeBytes(2 * shard::kLeafBytes + 500'000, 9)) {
    shard::ShardInfo shard;
    shard.cid = "bafytest";
    shard.bytes = bytes_.size();
    for (std::size_t begin = 0; begin < bytes_.size(); begin += shard::kLeafBytes) {
      shard.leaves.push_back(Sha256(ByteSpan(bytes_).subspan(
          begin, std::min<std::size_t>(shard::kLeafBytes, bytes_.size() - begin))));
    }
    manifest_.name = "data";
    manifest_.shards.push_back(shard);
    cache_ = OpenCache(folder_.path(), 16 << 20);
    shards_ = std::make_unique<CachedShards>(
        &manifest_, cache_.get(),
        [this](const std::string&, std::uint64_t offset, std::span<std::byte> out) -> Status {
          ++fetches_;
          if (unavailable_) return Error{ErrorCode::kUnavailable, "no server"};
          std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), out.size(),
                      out.begin());
          if (spoiled_ > 0) {
            --spoiled_;
            out[out.size() / 2] ^= std::byte{1};
          }
          return {};
        });
  }

  Result<Bytes> ReadRange(std::uint64_t offset, std::uint64_t size) {
    Bytes out(size);
    DNC_TRY(shards_->Read("bafytest", offset, out));
    return out;
  }
  Bytes Expected(std::uint64_t offset, std::uint64_t size) {
    const auto begin = bytes_.begin() + static_cast<std::ptrdiff_t>(offset);
    return Bytes(begin, begin + static_cast<std::ptrdiff_t>(size));
  }

  const test::TemporaryFolder folder_;
  const Bytes bytes_;
  shard::Manifest manifest_;
  std::unique_ptr<LeafCache> cache_;
  std::unique_ptr<CachedShards> shards_;
  int fetches_ = 0;
  int spoiled_ = 0;
  bool unavailable_ = false;
};

TEST_F(CachedShardsTest, FetchesALeafOnlyOnce) {
  EXPECT_EQ(*ReadRange(0, bytes_.size()), bytes_);
  EXPECT_EQ(fetches_, 3);
  EXPECT_EQ(*ReadRange(0, bytes_.size()), bytes_);
  EXPECT_EQ(fetches_, 3);
}

TEST_F(CachedShardsTest, ReadsAnyRange) {
  const std::uint64_t leaf = shard::kLeafBytes;
  for (const auto& [offset, size] : std::vector<std::pair<std::uint64_t, std::uint64_t>>{
           {0, 1}, {1, leaf}, {leaf - 1, 2}, {leaf, leaf}, {2 * leaf + 1, 499'999}, {5, 0}}) {
    SCOPED_TRACE(offset);
    EXPECT_EQ(*ReadRange(offset, size), Expected(offset, size));
  }
}

TEST_F(CachedShardsTest, FetchesADamagedLeafAgain) {
  ASSERT_THAT(ReadRange(0, bytes_.size()), test::Succeeds());
  Write(cache_->folder() + "/" + manifest_.shards[0].leaves[1].Hex(), "wrong");
  EXPECT_EQ(*ReadRange(0, bytes_.size()), bytes_);
  EXPECT_EQ(fetches_, 4);
}

TEST_F(CachedShardsTest, ForgivesOneSpoiledTransferButNotTwo) {
  spoiled_ = 1;
  EXPECT_EQ(*ReadRange(0, 100), Expected(0, 100));
  spoiled_ = 2;
  EXPECT_THAT(ReadRange(shard::kLeafBytes, 100),
              test::FailsWith(ErrorCode::kCorrupt, HasSubstr("bafytest, leaf 1")));
  EXPECT_EQ(*ReadRange(shard::kLeafBytes, 100), Expected(shard::kLeafBytes, 100));
}

TEST_F(CachedShardsTest, PassesOnTheErrorOfTheServer) {
  unavailable_ = true;
  EXPECT_THAT(ReadRange(0, 100), test::FailsWith(ErrorCode::kUnavailable));
}

TEST_F(CachedShardsTest, RefusesWhatIsNotInTheManifest) {
  Bytes out(1);
  EXPECT_THAT(shards_->Read("bafyother", 0, out), test::FailsWith(ErrorCode::kNotFound));
  EXPECT_THAT(ReadRange(bytes_.size(), 1), test::FailsWith(ErrorCode::kCorrupt));
  EXPECT_THAT(ReadRange(UINT64_MAX, 1), test::FailsWith(ErrorCode::kCorrupt));
  EXPECT_THAT(shards_->Create(), test::FailsWith(ErrorCode::kUnsupported));
  EXPECT_THAT(shards_->Delete("bafytest"), test::FailsWith(ErrorCode::kUnsupported));
}

}  // namespace
}  // namespace dnc::provider
