#include <map>
#include <memory>

#include "store/open_store.h"
#include "testing/testing.h"

// Mirrors fail, lack objects and hold wrong bytes; what is read is right all the same,
// and each failure is told once.

namespace dnc::store {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A memory store that fails on command and counts its reads.
class MoodyStore final : public ObjectStore {
 public:
  explicit MoodyStore(std::string name) : name_(std::move(name)) {}

  Result<std::unique_ptr<ObjectWriter>> Create() override { return inner_->Create(); }
  Result<std::uint64_t> Size(const std::string& key) const override {
    ++reads;
    if (failure) return *failure;
    return inner_->Size(key);
  }
  Status Read(const std::string& key, std::uint64_t offset,
              std::span<std::byte> out) const override {
    ++reads;
    if (delay > Duration{}) {
      const Instant end = MonotonicNow() + delay;
      while (MonotonicNow() < end) {
      }
    }
    if (failure) return *failure;
    return inner_->Read(key, offset, out);
  }
  Status Delete(const std::string& key) override { return inner_->Delete(key); }
  Result<std::vector<std::string>> List() const override {
    if (failure) return *failure;
    return inner_->List();
  }
  std::string Describe() const override { return name_; }

  mutable int reads = 0;
  Duration delay;
  std::optional<Error> failure;

 private:
  std::string name_;
  std::unique_ptr<ObjectStore> inner_ = MakeMemoryStore();
};

class MirrorsTest : public ::testing::Test {
 protected:
  MirrorsTest() {
    std::vector<std::unique_ptr<ObjectStore>> stores;
    for (const char* name : {"A", "B", "C"}) {
      auto store = std::make_unique<MoodyStore>(name);
      EXPECT_THAT(PutObject(store.get(), "k", AsBytes("right bytes")), Succeeds());
      each_.push_back(store.get());
      stores.push_back(std::move(store));
    }
    mirrors_ = MakeMirrors(std::move(stores),
                           [this](const Error& error) { reports_.push_back(error.message); });
  }
  std::string Text() {
    const auto bytes = GetObject(*mirrors_, "k", 100);
    return bytes.ok() ? std::string(AsText(*bytes)) : bytes.error().message;
  }
  std::string ReadAt(std::uint64_t offset, std::size_t size) {
    Bytes out(size);
    const Status status = mirrors_->Read("k", offset, out);
    return status.ok() ? std::string(AsText(out)) : status.error().message;
  }
  Error Down() const { return {ErrorCode::kUnavailable, "down on purpose"}; }

  std::vector<MoodyStore*> each_;
  std::vector<std::string> reports_;
  std::unique_ptr<ObjectStore> mirrors_;
};

TEST_F(MirrorsTest, ReadsFromAnotherWhereOneIsDownAndSaysSoOnce) {
  each_[0]->failure = Down();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Text(), "right bytes");
  EXPECT_THAT(reports_, ElementsAre("down on purpose"));
}

TEST_F(MirrorsTest, LetsAMirrorRestAfterAFailure) {
  each_[0]->failure = Down();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(ReadAt(0, 5), "right");
  EXPECT_EQ(each_[0]->reads, 1);
}

TEST_F(MirrorsTest, FailsOnlyWhereAllFail) {
  for (MoodyStore* store : each_) store->failure = Down();
  EXPECT_THAT(mirrors_->Size("k"), FailsWith(ErrorCode::kUnavailable));
  EXPECT_EQ(Text(), "down on purpose");
  EXPECT_THAT(mirrors_->List(), FailsWith(ErrorCode::kUnavailable));
  each_[2]->failure.reset();
  EXPECT_EQ(Text(), "right bytes");
}

TEST_F(MirrorsTest, TakesAnObjectFromTheOneThatHasIt) {
  ASSERT_THAT(PutObject(each_[2], "rare", AsBytes("x")), Succeeds());
  EXPECT_EQ(*mirrors_->Size("rare"), 1u);
  EXPECT_EQ(*mirrors_->Size("rare"), 1u);
  EXPECT_THAT(reports_, IsEmpty());
  EXPECT_THAT(mirrors_->Size("gone"), FailsWith(ErrorCode::kNotFound, HasSubstr("gone")));
}

TEST_F(MirrorsTest, TakesWrongBytesFromAnotherAfterTheyAreRejected) {
  ASSERT_THAT(PutObject(each_[0], "k", AsBytes("wrong bytes")), Succeeds());
  EXPECT_EQ(ReadAt(0, 5), "wrong");
  EXPECT_TRUE(mirrors_->Reject("k", 0));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(ReadAt(0, 5), "right");
  ASSERT_EQ(reports_.size(), 1u);
  EXPECT_THAT(reports_[0], HasSubstr("k at byte 0 is wrong in A; it is taken from another"));
}

TEST_F(MirrorsTest, SaysWhenEveryMirrorIsWrong) {
  EXPECT_EQ(ReadAt(0, 5), "right");
  EXPECT_TRUE(mirrors_->Reject("k", 0));
  EXPECT_EQ(ReadAt(0, 5), "right");
  EXPECT_TRUE(mirrors_->Reject("k", 0));
  EXPECT_EQ(ReadAt(0, 5), "right");
  EXPECT_FALSE(mirrors_->Reject("k", 0));
  EXPECT_EQ(reports_.size(), 3u);
}

TEST_F(MirrorsTest, RejectsOnlyWhatItServed) {
  EXPECT_FALSE(mirrors_->Reject("k", 0));
  EXPECT_EQ(ReadAt(2, 3), "ght");
  EXPECT_FALSE(mirrors_->Reject("k", 1));
  EXPECT_FALSE(mirrors_->Reject("k", 5));
  EXPECT_FALSE(mirrors_->Reject("other", 2));
  EXPECT_TRUE(mirrors_->Reject("k", 3));
  EXPECT_THAT(reports_, ElementsAre(HasSubstr("in A")));
}

TEST_F(MirrorsTest, PrefersTheFastestAndMeasuresTheOthersNowAndThen) {
  each_[0]->delay = Duration::Milliseconds(2);
  each_[1]->delay = Duration::Milliseconds(1);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(ReadAt(0, 5), "right");
  EXPECT_GT(each_[2]->reads, 150);
  EXPECT_GE(each_[0]->reads, 2);
  EXPECT_GE(each_[1]->reads, 2);
  EXPECT_THAT(reports_, IsEmpty());
}

TEST_F(MirrorsTest, WritesToTheFirst) {
  ASSERT_THAT(PutObject(mirrors_.get(), "new", AsBytes("x")), Succeeds());
  EXPECT_EQ(*each_[0]->Size("new"), 1u);
  EXPECT_FALSE(each_[1]->Size("new").ok());
  ASSERT_THAT(mirrors_->Delete("k"), Succeeds());
  EXPECT_TRUE(each_[1]->Size("k").ok());
  EXPECT_THAT(*mirrors_->List(), ElementsAre("new"));
  EXPECT_EQ(mirrors_->Describe(), "A with the mirrors B, C");
}

TEST_F(MirrorsTest, StopsAtOnceWhenItIsCancelled) {
  each_[0]->failure = Error{ErrorCode::kCancelled, "cancelled"};
  EXPECT_THAT(mirrors_->Size("k"), FailsWith(ErrorCode::kCancelled));
  EXPECT_EQ(each_[1]->reads, 0);
}

TEST(OpenStoreTest, JoinsALocationWithItsMirrors) {
  const test::TemporaryFolder folder;
  auto good = OpenDirectoryStore(folder / "good");
  ASSERT_THAT(PutObject(good->get(), "k", AsBytes("text")), Succeeds());
  int reports = 0;
  StoreOptions options;
  options.report = [&](const Error&) { ++reports; };
  options.mirrors = {folder / "good"};
  const auto store = OpenStore(folder / "missing", options);
  ASSERT_THAT(store, Succeeds());
  EXPECT_EQ(AsText(*GetObject(**store, "k", 10)), "text");
  EXPECT_EQ(reports, 1);
  options.mirrors = {folder / "gone"};
  EXPECT_THAT(OpenStore(folder / "missing", options), FailsWith(ErrorCode::kNotFound));
  options.mirrors = {"gopher://x"};
  EXPECT_THAT(OpenStore(folder / "good", options), FailsWith(ErrorCode::kInvalidArgument));
}

}  // namespace
}  // namespace dnc::store
