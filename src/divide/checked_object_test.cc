// Bytes of a store are used only once their leaf is the one of the manifest.

#include "divide/checked_object.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/hash.h"
#include "base/prng.h"
#include "shard/content_id.h"
#include "store/open_store.h"
#include "testing/testing.h"

namespace dnc::divide {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class CheckedObjectTest : public ::testing::Test {
 protected:
  CheckedObjectTest() : bytes_(6 * shard::kLeafBytes + 12'345) {
    Prng prng(1);
    for (std::byte& byte : bytes_) byte = static_cast<std::byte>(prng.Next());
    info_.bytes = bytes_.size();
    for (std::size_t begin = 0; begin < bytes_.size(); begin += shard::kLeafBytes) {
      info_.leaves.push_back(Sha256(ByteSpan(bytes_).subspan(
          begin, std::min<std::size_t>(shard::kLeafBytes, bytes_.size() - begin))));
    }
    info_.cid = shard::ContentIdFromLeaves(info_.leaves, info_.bytes);
  }
  std::unique_ptr<store::ObjectStore> StoreOf(const Bytes& bytes) const {
    auto store = store::MakeMemoryStore();
    EXPECT_THAT(store::PutObject(store.get(), info_.cid, bytes), test::Succeeds());
    return store;
  }

  Bytes bytes_;
  shard::ShardInfo info_;
};

TEST_F(CheckedObjectTest, ReadsAnyRange) {
  const auto store = StoreOf(bytes_);
  const CheckedObject object(store.get(), &info_);
  EXPECT_EQ(object.size(), bytes_.size());
  Prng prng(2);
  for (int i = 0; i < 200; ++i) {
    const std::uint64_t begin = prng.Below(bytes_.size() + 1);
    Bytes out(prng.Below(std::min<std::uint64_t>(bytes_.size() - begin, 3u << 20) + 1));
    ASSERT_THAT(object.ReadAt(begin, out), test::Succeeds());
    EXPECT_TRUE(std::equal(out.begin(), out.end(), bytes_.begin() + static_cast<long>(begin)));
  }
}

TEST_F(CheckedObjectTest, RefusesARangeBeyondItsEnd) {
  const auto store = StoreOf(bytes_);
  const CheckedObject object(store.get(), &info_);
  Bytes out(2);
  EXPECT_THAT(object.ReadAt(bytes_.size() - 1, out), test::FailsWith(ErrorCode::kCorrupt));
  EXPECT_THAT(object.ReadAt(UINT64_MAX, out), test::FailsWith(ErrorCode::kCorrupt));
}

TEST_F(CheckedObjectTest, NamesTheLeafThatWasChanged) {
  Bytes changed = bytes_;
  changed[shard::kLeafBytes + 5] ^= std::byte{1};
  const auto store = StoreOf(changed);
  const CheckedObject object(store.get(), &info_);
  EXPECT_THAT(object.Leaf(0), test::Succeeds());
  for (int i = 0; i < 2; ++i) {  // Nothing wrong is kept.
    EXPECT_THAT(object.Leaf(1), test::FailsWith(ErrorCode::kCorrupt,
                                                AllOf(HasSubstr(info_.cid), HasSubstr("leaf 1"))));
  }
  EXPECT_THAT(object.Leaf(2), test::Succeeds());
}

TEST_F(CheckedObjectTest, TakesAWrongLeafFromAnotherMirror) {
  Bytes changed = bytes_;
  for (std::size_t at = 0; at < changed.size(); at += shard::kLeafBytes) {
    changed[at] ^= std::byte{1};
  }
  std::vector<std::unique_ptr<store::ObjectStore>> stores;
  stores.push_back(StoreOf(changed));
  stores.push_back(StoreOf(bytes_));
  const auto mirrors = store::MakeMirrors(std::move(stores));
  const CheckedObject object(mirrors.get(), &info_);
  Bytes out(bytes_.size());
  ASSERT_THAT(object.ReadAt(0, out), test::Succeeds());
  EXPECT_EQ(out, bytes_);
}

TEST_F(CheckedObjectTest, PassesOnThatItIsNotThere) {
  const auto store = store::MakeMemoryStore();
  const CheckedObject object(store.get(), &info_);
  EXPECT_THAT(object.Leaf(0), test::FailsWith(ErrorCode::kNotFound));
}

}  // namespace
}  // namespace dnc::divide
