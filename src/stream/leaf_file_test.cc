// The cache lies in a folder of the user's, survives kills, and is read by processes that
// did not write it: what is not ours stays, what is damaged is not there.

#include "stream/leaf_file.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <memory>
#include <vector>

#include "base/file.h"
#include "shard/content_id.h"
#include "stream/leaf_keeper.h"
#include "testing/testing.h"

namespace dnc::stream {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kSlot = shard::kLeafBytes + 4096;

Bytes LeafBytes(int number, std::size_t size = 1000) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + number * 13);
  return bytes;
}

StoredLeaf LeafOf(const Bytes& bytes, std::uint32_t first = 0, std::uint32_t last = 0) {
  return {Sha256(bytes), static_cast<std::uint32_t>(bytes.size()), first, last};
}

class LeafFileTest : public ::testing::Test {
 protected:
  std::unique_ptr<LeafFile> Open(int slots) {
    auto file = LeafFile::Open(folder_.path(), 4096 + slots * kSlot);
    EXPECT_THAT(file, test::Succeeds());
    return std::move(file).value();
  }
  static void Put(LeafFile* file, std::uint32_t slot, const Bytes& bytes) {
    ASSERT_THAT(file->Write(slot, LeafOf(bytes, 3, 5), bytes), test::Succeeds());
  }
  static bool Holds(const LeafFile& file, const Bytes& bytes) {
    Bytes out(file.SizeOf(Sha256(bytes)));
    return !out.empty() && file.Read(Sha256(bytes), out).ok() && out == bytes;
  }
  std::string path() const { return folder_.path() + "/" + kLeafFileName; }

  test::TemporaryFolder folder_;
};

TEST_F(LeafFileTest, KeepsLeavesForTheNextProcess) {
  Put(Open(3).get(), 1, LeafBytes(1));
  const auto file = Open(3);
  EXPECT_TRUE(Holds(*file, LeafBytes(1)));
  EXPECT_FALSE(Holds(*file, LeafBytes(2)));
  EXPECT_EQ(file->Contents()[1], LeafOf(LeafBytes(1), 3, 5));
  EXPECT_EQ(file->Contents()[0].bytes, 0u);
}

TEST_F(LeafFileTest, PutsALeafInPlaceOfAnother) {
  const auto file = Open(1);
  Put(file.get(), 0, LeafBytes(1));
  Put(file.get(), 0, LeafBytes(2, 500));
  EXPECT_FALSE(Holds(*file, LeafBytes(1)));
  EXPECT_TRUE(Holds(*file, LeafBytes(2, 500)));
  ASSERT_THAT(file->Clear(0), test::Succeeds());
  EXPECT_FALSE(file->Has(Sha256(LeafBytes(2, 500))));
}

TEST_F(LeafFileTest, NeverGrowsBeyondItsBytesAndIsCutToThem) {
  {
    const auto file = Open(3);
    for (int i = 0; i < 3; ++i) {
      Put(file.get(), static_cast<std::uint32_t>(i), LeafBytes(i, shard::kLeafBytes));
    }
    EXPECT_EQ(file->file_bytes(), 4096 + 3 * kSlot);
  }
  const auto file = Open(2);
  EXPECT_EQ(file->file_bytes(), 4096 + 2 * kSlot);
  EXPECT_TRUE(Holds(*file, LeafBytes(1, shard::kLeafBytes)));
  EXPECT_FALSE(Holds(*file, LeafBytes(2, shard::kLeafBytes)));
}

TEST_F(LeafFileTest, RefusesBytesForNoLeafWithTheLeast) {
  EXPECT_EQ(LeafFile::SlotCount(4096 + kSlot - 1), 0u);
  EXPECT_EQ(LeafFile::SlotCount(4096 + kSlot), 1u);
  EXPECT_THAT(LeafFile::Open(folder_.path(), 100),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("100 B")));
}

TEST_F(LeafFileTest, RefusesASecondProcessNamingTheFirst) {
  const auto file = Open(1);
  EXPECT_THAT(
      LeafFile::Open(folder_.path(), 4096 + kSlot),
      test::FailsWith(ErrorCode::kAlreadyExists, HasSubstr("process " + std::to_string(getpid()))));
}

TEST_F(LeafFileTest, LeavesAFileThatIsNotOursAsItIs) {
  for (const std::string text : {"my thesis", "DNCLEAVES 2\n and more of it"}) {
    ASSERT_THAT(WriteFileAtomically(path(), AsBytes(text)), test::Succeeds());
    EXPECT_THAT(LeafFile::Open(folder_.path(), 4096 + kSlot),
                test::FailsWith(ErrorCode::kAlreadyExists, HasSubstr(path())));
    const auto after = ReadFile(path(), 1000);
    ASSERT_THAT(after, test::Succeeds());
    EXPECT_EQ(*after, text);
  }
}

TEST_F(LeafFileTest, ForgetsALeafWhoseRecordHasAnyByteChanged) {
  Put(Open(1).get(), 0, LeafBytes(1));
  const auto intact = ReadFile(path(), 3 * kSlot);
  ASSERT_THAT(intact, test::Succeeds());
  for (std::size_t i = 0; i < 64; ++i) {
    SCOPED_TRACE(i);
    std::string damaged(*intact);
    damaged[4096 + i] = static_cast<char>(damaged[4096 + i] ^ 0x20);
    ASSERT_THAT(WriteFileAtomically(path(), AsBytes(damaged)), test::Succeeds());
    EXPECT_EQ(Open(1)->Contents()[0].bytes, 0u);
  }
}

TEST_F(LeafFileTest, TakesAFileThatEndsAnywhere) {
  {
    const auto file = Open(2);
    Put(file.get(), 0, LeafBytes(1));
    Put(file.get(), 1, LeafBytes(2));
  }
  for (const std::uint64_t size : {std::uint64_t{50}, std::uint64_t{4096}, 4096 + kSlot,
                                   4096 + kSlot + 63, 4096 + kSlot + 4096 + 10}) {
    SCOPED_TRACE(size);
    std::filesystem::resize_file(path(), size);
    const auto file = Open(2);
    Bytes out(1000);
    if (file->Has(Sha256(LeafBytes(2)))) {
      EXPECT_THAT(file->Read(Sha256(LeafBytes(2)), out), test::FailsWith(ErrorCode::kIo));
    }
    std::filesystem::resize_file(path(), 4096 + 2 * kSlot);
  }
}

TEST_F(LeafFileTest, WithoutAFolderItLeavesNoName) {
  ::setenv("TMPDIR", folder_.path().c_str(), 1);
  const auto file = LeafFile::Open("", 4096 + kSlot);
  ::unsetenv("TMPDIR");
  ASSERT_THAT(file, test::Succeeds());
  Put(file->get(), 0, LeafBytes(1));
  EXPECT_TRUE(Holds(**file, LeafBytes(1)));
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

// ---- Which leaves stay.

class LeafKeeperTest : public LeafFileTest {
 protected:
  LeafKeeperTest() : file_(Open(2)) { Restart(0); }
  // Leaf i is of shard i; needs_[i] are the times at which it is needed.
  void Restart(std::uint64_t now) {
    keeper_ = std::make_unique<LeafKeeper>(
        file_.get(), now,
        [this](const LeafBlocks& blocks, std::uint64_t from) {
          for (const std::uint64_t time : needs_[blocks.shard_index]) {
            if (time >= from) return time;
          }
          return LeafKeeper::kNever;
        },
        [](const Digest& digest) {
          for (std::uint32_t i = 0; i < 10; ++i) {
            if (Sha256(LeafBytes(static_cast<int>(i))) == digest) return i;
          }
          return UINT32_MAX;
        });
  }
  void Offer(std::uint32_t leaf) {
    const Bytes bytes = LeafBytes(static_cast<int>(leaf));
    ASSERT_THAT(keeper_->Offer(Sha256(bytes), bytes, {leaf, 0, 0}), test::Succeeds());
  }
  std::vector<std::uint32_t> Kept() const {
    std::vector<std::uint32_t> kept;
    for (std::uint32_t i = 0; i < 10; ++i) {
      if (Holds(*file_, LeafBytes(static_cast<int>(i)))) kept.push_back(i);
    }
    return kept;
  }

  std::map<std::uint32_t, std::vector<std::uint64_t>> needs_;
  std::unique_ptr<LeafFile> file_;
  std::unique_ptr<LeafKeeper> keeper_;
};

using Leaves = std::vector<std::uint32_t>;

TEST_F(LeafKeeperTest, TheOneThatIsNeededLatestGoes) {
  needs_ = {{0, {5}}, {1, {9}}, {2, {7}}, {3, {8}}};
  for (const std::uint32_t leaf : {0u, 1u, 2u, 3u}) Offer(leaf);
  EXPECT_EQ(Kept(), (Leaves{0, 2}));
}

TEST_F(LeafKeeperTest, WhatIsNotNeededAgainGoesFirst) {
  needs_ = {{0, {0}}, {1, {9}}, {2, {1000}}};
  for (const std::uint32_t leaf : {0u, 1u, 2u}) Offer(leaf);
  EXPECT_EQ(Kept(), (Leaves{1, 2}));
}

TEST_F(LeafKeeperTest, TimeThatHasPassedIsNoNeed) {
  needs_ = {{0, {2}}, {1, {3, 20}}, {2, {15}}};
  Offer(0);
  Offer(1);
  keeper_->Advance(4);  // Now 0 is not needed again, and 1 at 20.
  Offer(2);
  EXPECT_EQ(Kept(), (Leaves{1, 2}));
}

TEST_F(LeafKeeperTest, KnowsWhatTheLastRunLeft) {
  needs_ = {{0, {50}}, {1, {6}}, {2, {7}}};
  Offer(0);
  Offer(1);
  Restart(0);
  EXPECT_EQ(keeper_->size(), 2u);
  Offer(2);
  EXPECT_EQ(Kept(), (Leaves{1, 2}));
}

TEST_F(LeafKeeperTest, LeavesOfOtherDataGoFirst) {
  const Bytes foreign = LeafBytes(77);
  ASSERT_THAT(file_->Write(0, LeafOf(foreign), foreign), test::Succeeds());
  Restart(0);
  needs_ = {{1, {6}}, {2, {7}}};
  Offer(1);
  Offer(2);
  EXPECT_EQ(Kept(), (Leaves{1, 2}));
}

TEST_F(LeafKeeperTest, ForgetsWhatWasWrong) {
  needs_ = {{0, {5}}};
  Offer(0);
  keeper_->Drop(Sha256(LeafBytes(0)));
  EXPECT_EQ(Kept(), Leaves());
  Offer(0);
  EXPECT_EQ(Kept(), (Leaves{0}));
}

}  // namespace
}  // namespace dnc::stream
