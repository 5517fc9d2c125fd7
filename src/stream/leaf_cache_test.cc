// Bytes of a shard come from machines nobody vouches for: whatever the store
// answers, nothing but the manifest's bytes may come through.

#include "stream/leaf_cache.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/hash.h"
#include "stream/dataset_for_test.h"
#include "stream/verified_source.h"
#include "testing/testing.h"

namespace dnc::stream {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr std::uint64_t kLeaf = shard::kLeafBytes;

class LeafCacheTest : public ::testing::Test {
 protected:
  LeafCacheTest() {
    // Leaves that differ from each other in every place but a few.
    bytes_.resize(3 * kLeaf + 100);
    for (std::size_t i = 0; i < bytes_.size(); ++i) {
      bytes_[i] = static_cast<std::byte>(i * 31 + i / kLeaf * 7);
    }
    shard::ContentHasher hasher;
    hasher.Update(bytes_);
    const auto identity = hasher.Finish();
    info_.cid = identity.cid;
    info_.bytes = identity.bytes;
    info_.leaves = identity.leaves;
    store_.object(info_.cid) = bytes_;
  }

  // Reads through a cache of `leaf_count_max` leaves.
  Result<Bytes> Read(std::uint64_t offset, std::size_t size, std::uint64_t leaf_count_max = 2) {
    LeafCache leaves(&store_, {.leaf_bytes = kLeaf, .leaf_count_max = leaf_count_max}, &meter_,
                     &stop_);
    Bytes out(size);
    DNC_TRY(VerifiedSource(&info_, 0, &leaves).ReadAt(offset, out));
    return out;
  }
  Bytes Expected(std::uint64_t offset, std::size_t size) const {
    return Bytes(bytes_.begin() + static_cast<std::ptrdiff_t>(offset),
                 bytes_.begin() + static_cast<std::ptrdiff_t>(offset + size));
  }

  Bytes bytes_;
  shard::ShardInfo info_;
  StoreForTest store_;
  MemoryMeter meter_{64 << 20};
  std::atomic<bool> stop_ = false;
};

TEST_F(LeafCacheTest, ReadsAnyRange) {
  const std::vector<std::pair<std::uint64_t, std::size_t>> ranges = {
      {0, 1},           {0, kLeaf},           {5, kLeaf},      {kLeaf - 1, 2},      {kLeaf, kLeaf},
      {3 * kLeaf, 100}, {0, 3 * kLeaf + 100}, {17, 3 * kLeaf}, {3 * kLeaf + 100, 0}};
  for (const auto& [offset, size] : ranges) {
    SCOPED_TRACE(offset);
    const auto read = Read(offset, size);
    ASSERT_THAT(read, test::Succeeds());
    EXPECT_TRUE(*read == Expected(offset, size));
  }
}

TEST_F(LeafCacheTest, RefusesAnyLeafWithAByteChanged) {
  for (std::uint64_t leaf = 0; leaf < 4; ++leaf) {
    SCOPED_TRACE(leaf);
    std::byte& byte = store_.object(info_.cid)[leaf * kLeaf + 50];
    byte ^= std::byte{0x10};
    const std::string name = "leaf " + std::to_string(leaf);
    // A part of the leaf, and all of it, take different ways.
    EXPECT_THAT(Read(leaf * kLeaf + 60, 1),
                test::FailsWith(ErrorCode::kCorrupt, AllOf(HasSubstr(info_.cid), HasSubstr(name))));
    EXPECT_THAT(Read(leaf * kLeaf, leaf == 3 ? 100 : kLeaf), test::FailsWith(ErrorCode::kCorrupt));
    EXPECT_THAT(Read((leaf + 1) % 4 * kLeaf, 100), test::Succeeds());
    byte ^= std::byte{0x10};
  }
}

TEST_F(LeafCacheTest, TriesALeafAgainAfterAnError) {
  LeafCache leaves(&store_, {.leaf_bytes = kLeaf, .leaf_count_max = 1}, &meter_, &stop_);
  const VerifiedSource source(&info_, 0, &leaves);
  store_.FailRead(1);
  Bytes out(10);
  EXPECT_THAT(source.ReadAt(0, out), test::Succeeds());
  EXPECT_THAT(source.ReadAt(kLeaf, out), test::FailsWith(ErrorCode::kUnavailable));
  EXPECT_THAT(source.ReadAt(kLeaf, out), test::Succeeds());
  EXPECT_EQ(out, Expected(kLeaf, 10));
  EXPECT_THAT(source.ReadAt(0, out), test::Succeeds());
  EXPECT_EQ(out, Expected(0, 10));
}

TEST_F(LeafCacheTest, RefusesToReadPastTheEnd) {
  EXPECT_THAT(Read(3 * kLeaf + 99, 2), test::FailsWith(ErrorCode::kCorrupt, HasSubstr(info_.cid)));
  EXPECT_THAT(Read(UINT64_MAX, 2), test::FailsWith(ErrorCode::kCorrupt));
}

TEST_F(LeafCacheTest, PassesOnAShortObject) {
  store_.object(info_.cid).resize(2 * kLeaf + 7);
  EXPECT_THAT(Read(2 * kLeaf, 1), test::FailsWith(ErrorCode::kCorrupt));
}

TEST_F(LeafCacheTest, KeepsTheLastLeavesAndCountsThem) {
  LeafCache leaves(&store_, {.leaf_bytes = kLeaf, .leaf_count_max = 2}, &meter_, &stop_);
  const VerifiedSource source(&info_, 0, &leaves);
  Bytes out(1);
  for (const std::uint64_t leaf : {0u, 1u, 0u, 1u, 2u, 1u, 0u}) {
    ASSERT_THAT(source.ReadAt(leaf * kLeaf, out), test::Succeeds());
    EXPECT_EQ(out, Expected(leaf * kLeaf, 1));
  }
  // 0 and 1 once, 2 in the place of 0, 0 in the place of 2.
  EXPECT_EQ(store_.reads().size(), 4u);
  EXPECT_EQ(leaves.counters().fetched_bytes, 4 * kLeaf);
  EXPECT_EQ(meter_.held(), 2 * kLeaf);
}

TEST_F(LeafCacheTest, FetchesSeveralLeavesAtOnce) {
  LeafCache leaves(&store_, {.leaf_bytes = kLeaf, .leaf_count_max = 4}, &meter_, &stop_);
  const VerifiedSource source(&info_, 0, &leaves);
  Bytes out(1);
  ASSERT_THAT(source.ReadAt(2 * kLeaf, out), test::Succeeds());
  const std::vector<LeafRef> refs = {
      {&info_, 0, 0}, {&info_, 0, 1}, {&info_, 0, 2}, {&info_, 0, 3}};
  leaves.Expect(refs);
  for (std::uint64_t leaf = 0; leaf < 4; ++leaf) {
    ASSERT_THAT(source.ReadAt(leaf * kLeaf + 5, out), test::Succeeds());
    EXPECT_EQ(out, Expected(leaf * kLeaf + 5, 1));
  }
  EXPECT_EQ(store_.reads().size(), 4u);
}

TEST_F(LeafCacheTest, KeepsNoLeafOfABatchThatIsNotTheManifests) {
  for (std::uint64_t changed = 0; changed < 4; ++changed) {
    SCOPED_TRACE(changed);
    LeafCache leaves(&store_, {.leaf_bytes = kLeaf, .leaf_count_max = 4}, &meter_, &stop_);
    std::byte& byte = store_.object(info_.cid)[changed * kLeaf + 50];
    byte ^= std::byte{0x10};
    const std::vector<LeafRef> refs = {
        {&info_, 0, 3}, {&info_, 0, 2}, {&info_, 0, 1}, {&info_, 0, 0}};
    leaves.Expect(refs);
    for (std::uint64_t leaf = 0; leaf < 4; ++leaf) {
      if (leaf == changed) continue;
      EXPECT_THAT(leaves.Get({&info_, 0, leaf}), test::Succeeds());
    }
    for (int i = 0; i < 2; ++i) {
      EXPECT_THAT(
          leaves.Get({&info_, 0, changed}),
          test::FailsWith(ErrorCode::kCorrupt, HasSubstr("leaf " + std::to_string(changed) + " ")));
    }
    byte ^= std::byte{0x10};
  }
}

TEST_F(LeafCacheTest, GivesItsMemoryBack) {
  EXPECT_THAT(Read(0, 100), test::Succeeds());
  EXPECT_EQ(meter_.held(), 0u);
}

TEST_F(LeafCacheTest, TellsShardsApart) {
  shard::ShardInfo other = info_;
  other.cid = "other";
  Bytes changed = bytes_;
  changed[0] ^= std::byte{1};
  other.leaves[0] = Sha256(ByteSpan(changed).first(kLeaf));
  store_.object("other") = changed;
  LeafCache leaves(&store_, {.leaf_bytes = kLeaf, .leaf_count_max = 4}, &meter_, &stop_);
  Bytes out(1);
  ASSERT_THAT(VerifiedSource(&info_, 0, &leaves).ReadAt(0, out), test::Succeeds());
  ASSERT_THAT(VerifiedSource(&other, 1, &leaves).ReadAt(0, out), test::Succeeds());
  EXPECT_EQ(out[0], changed[0]);
}

TEST_F(LeafCacheTest, ReadsOfBlocksOnThisMachineWhatIsWantedAndHashesTheRest) {
  store_.SetLocal();
  LeafCache leaves(&store_, {.leaf_bytes = kLeaf, .leaf_count_max = 1}, &meter_, &stop_);
  VerifiedSource blocks(&info_, 0, &leaves);
  blocks.ReadBlocksOnly();
  Bytes out(10);
  for (const std::uint64_t offset : {5 * kLeaf / 2, kLeaf - 5}) {
    ASSERT_THAT(blocks.ReadAt(offset, out), test::Succeeds());
    EXPECT_EQ(out, Expected(offset, 10));
  }
  EXPECT_EQ(leaves.counters().fetched_bytes, 20u);
  // The index is no block.
  const VerifiedSource index(&info_, 0, &leaves);
  ASSERT_THAT(index.ReadAt(5, out), test::Succeeds());
  EXPECT_EQ(leaves.counters().fetched_bytes, 20 + kLeaf);
  store_.object(info_.cid)[kLeaf + 99] ^= std::byte{1};
  EXPECT_THAT(index.ReadAt(kLeaf, out), test::FailsWith(ErrorCode::kCorrupt));
  stop_ = true;
  EXPECT_THAT(blocks.ReadAt(0, out), test::FailsWith(ErrorCode::kCancelled));
}

TEST_F(LeafCacheTest, HashesBlocksThatAreNotOfThisMachine) {
  LeafCache leaves(&store_, {.leaf_bytes = kLeaf, .leaf_count_max = 1}, &meter_, &stop_);
  VerifiedSource blocks(&info_, 0, &leaves);
  blocks.ReadBlocksOnly();
  store_.object(info_.cid)[99] ^= std::byte{1};
  Bytes out(10);
  EXPECT_THAT(blocks.ReadAt(0, out), test::FailsWith(ErrorCode::kCorrupt));
}

class LeafCacheNeighbourTest : public LeafCacheTest {
 protected:
  std::string Cid(std::uint64_t leaf) const {
    return shard::ContentIdFromLeaves({info_.leaves[leaf]}, LeafSize(info_, leaf));
  }
  Bytes& Hold(std::uint64_t leaf) {
    return neighbours_.object(Cid(leaf)) = Expected(leaf * kLeaf, LeafSize(info_, leaf));
  }
  // All four leaves, one after another.
  void ReadAll() {
    LeafCache leaves(&store_,
                     {.leaf_bytes = kLeaf, .leaf_count_max = 1, .neighbours = &neighbours_},
                     &meter_, &stop_);
    for (std::uint64_t leaf = 0; leaf < 4; ++leaf) {
      const auto got = leaves.Get({&info_, 0, leaf});
      ASSERT_THAT(got, test::Succeeds());
      EXPECT_TRUE(std::ranges::equal(*got, Expected(leaf * kLeaf, LeafSize(info_, leaf))));
    }
    counters_ = leaves.counters();
  }

  StoreForTest neighbours_;
  LeafCounters counters_;
};

TEST_F(LeafCacheNeighbourTest, AsksNeighboursFirstAndTheStoreForWhatTheyLack) {
  Hold(1);
  Hold(3);
  ReadAll();
  EXPECT_EQ(counters_.neighbour_bytes, kLeaf + 100);
  EXPECT_EQ(counters_.fetched_bytes, 2 * kLeaf);
  EXPECT_EQ(neighbours_.reads().size(), 4u);
  EXPECT_EQ(store_.reads().size(), 2u);
}

TEST_F(LeafCacheNeighbourTest, TakesFromTheStoreWhatANeighbourHasWrong) {
  Hold(2)[7] ^= std::byte{1};
  ReadAll();
  EXPECT_EQ(store_.reads().size(), 4u);
  // Of the store's mirrors none was wrong.
  EXPECT_EQ(counters_.rejected, 0u);
}

TEST_F(LeafCacheNeighbourTest, LeavesNeighboursAloneForAWhileAfterAFailure) {
  for (std::uint64_t leaf = 0; leaf < 4; ++leaf) Hold(leaf);
  neighbours_.FailRead(1);
  ReadAll();
  EXPECT_EQ(neighbours_.reads().size(), 2u);
  EXPECT_EQ(store_.reads().size(), 3u);
}

TEST_F(LeafCacheTest, StopsWhenItIsTold) {
  stop_ = true;
  EXPECT_THAT(Read(0, 1), test::FailsWith(ErrorCode::kCancelled));
}

}  // namespace
}  // namespace dnc::stream
