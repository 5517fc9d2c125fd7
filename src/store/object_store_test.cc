#include "store/object_store.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/prng.h"
#include "testing/testing.h"

// What every store must do, run over each of them.

namespace dnc::store {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Bytes BytesOf(std::string_view text) {
  const ByteSpan bytes = AsBytes(text);
  return Bytes(bytes.begin(), bytes.end());
}

struct Kind {
  const char* name;
  bool is_folder;
};

class ObjectStoreTest : public ::testing::TestWithParam<Kind> {
 protected:
  ObjectStoreTest() {
    if (GetParam().is_folder) {
      auto opened = OpenDirectoryStore(folder_ / "objects");
      DNC_ASSERT(opened.ok());
      store_ = std::move(*opened);
    } else {
      store_ = MakeMemoryStore();
    }
  }
  std::string Text(const std::string& key) {
    const auto bytes = GetObject(*store_, key, 1 << 20);
    return bytes.ok() ? std::string(AsText(*bytes)) : bytes.error().message;
  }

  test::TemporaryFolder folder_;
  std::unique_ptr<ObjectStore> store_;
};

INSTANTIATE_TEST_SUITE_P(Stores, ObjectStoreTest,
                         ::testing::Values(Kind{"Memory", false}, Kind{"Directory", true}),
                         [](const auto& kind) { return kind.param.name; });

TEST_P(ObjectStoreTest, GivesBackWhatWasPut) {
  Bytes bytes(100'000);
  Prng prng(1);
  for (std::byte& b : bytes) b = static_cast<std::byte>(prng.Next());
  ASSERT_THAT(PutObject(store_.get(), "a-key_1.bin", bytes), Succeeds());
  EXPECT_EQ(*store_->Size("a-key_1.bin"), bytes.size());
  EXPECT_EQ(*GetObject(*store_, "a-key_1.bin", bytes.size()), bytes);
  Bytes part(1000);
  ASSERT_THAT(store_->Read("a-key_1.bin", 77, part), Succeeds());
  EXPECT_TRUE(std::equal(part.begin(), part.end(), bytes.begin() + 77));
}

TEST_P(ObjectStoreTest, HoldsEmptyObjects) {
  ASSERT_THAT(PutObject(store_.get(), "empty", {}), Succeeds());
  EXPECT_EQ(*store_->Size("empty"), 0u);
  EXPECT_EQ(*GetObject(*store_, "empty", 0), Bytes());
  EXPECT_THAT(store_->Read("empty", 0, {}), Succeeds());
}

TEST_P(ObjectStoreTest, ShowsAnObjectOnlyOnceItIsCommitted) {
  auto writer = store_->Create();
  ASSERT_THAT(writer, Succeeds());
  ASSERT_THAT((*writer)->Write(AsBytes("one ")), Succeeds());
  EXPECT_THAT(*store_->List(), IsEmpty());
  ASSERT_THAT((*writer)->Write(AsBytes("two")), Succeeds());
  ASSERT_THAT((*writer)->Commit("k"), Succeeds());
  EXPECT_THAT(*store_->List(), ElementsAre("k"));
  writer->reset();
  EXPECT_EQ(Text("k"), "one two");
}

TEST_P(ObjectStoreTest, LeavesNothingOfAWriterThatIsGivenUp) {
  {
    auto writer = store_->Create();
    ASSERT_THAT(writer, Succeeds());
    ASSERT_THAT((*writer)->Write(AsBytes("half")), Succeeds());
  }
  EXPECT_THAT(*store_->List(), IsEmpty());
  if (GetParam().is_folder) {
    EXPECT_TRUE(std::filesystem::is_empty(folder_ / "objects"));
  }
}

TEST_P(ObjectStoreTest, ReplacesAnObject) {
  ASSERT_THAT(PutObject(store_.get(), "k", AsBytes("a longer one")), Succeeds());
  ASSERT_THAT(PutObject(store_.get(), "k", AsBytes("new")), Succeeds());
  EXPECT_EQ(Text("k"), "new");
  EXPECT_THAT(*store_->List(), ElementsAre("k"));
}

TEST_P(ObjectStoreTest, DeletesAnObject) {
  ASSERT_THAT(PutObject(store_.get(), "k", AsBytes("x")), Succeeds());
  ASSERT_THAT(store_->Delete("k"), Succeeds());
  EXPECT_THAT(*store_->List(), IsEmpty());
  EXPECT_THAT(store_->Delete("k"), FailsWith(ErrorCode::kNotFound, HasSubstr("k")));
}

TEST_P(ObjectStoreTest, NamesTheObjectThatIsMissing) {
  Bytes out(1);
  EXPECT_THAT(store_->Size("gone"), FailsWith(ErrorCode::kNotFound, HasSubstr("gone")));
  EXPECT_THAT(store_->Read("gone", 0, out), FailsWith(ErrorCode::kNotFound, HasSubstr("gone")));
  EXPECT_THAT(store_->Delete("gone"), FailsWith(ErrorCode::kNotFound, HasSubstr("gone")));
  EXPECT_THAT(GetObject(*store_, "gone", 10), FailsWith(ErrorCode::kNotFound));
  EXPECT_THAT(OpenObject(store_.get(), "gone"), FailsWith(ErrorCode::kNotFound));
}

TEST_P(ObjectStoreTest, RefusesToReadPastTheEnd) {
  ASSERT_THAT(PutObject(store_.get(), "k", AsBytes("12345")), Succeeds());
  Bytes out(3);
  EXPECT_THAT(store_->Read("k", 2, out), Succeeds());
  EXPECT_THAT(store_->Read("k", 3, out),
              FailsWith(ErrorCode::kCorrupt, AllOf(HasSubstr("k in"), HasSubstr("5 bytes"))));
  EXPECT_THAT(store_->Read("k", 6, {}), FailsWith(ErrorCode::kCorrupt));
  EXPECT_THAT(store_->Read("k", UINT64_MAX, out), FailsWith(ErrorCode::kCorrupt));
}

TEST_P(ObjectStoreTest, RefusesAnObjectAboveTheCallersLimit) {
  ASSERT_THAT(PutObject(store_.get(), "k", AsBytes("12345")), Succeeds());
  EXPECT_THAT(GetObject(*store_, "k", 4),
              FailsWith(ErrorCode::kTooLarge, AllOf(HasSubstr("5 bytes"), HasSubstr("at most 4"))));
}

TEST_P(ObjectStoreTest, ListsKeysInOrder) {
  for (const char* key : {"b", "a", "_", "Z", "a.b", "0"}) {
    ASSERT_THAT(PutObject(store_.get(), key, AsBytes(key)), Succeeds());
  }
  EXPECT_THAT(*store_->List(), ElementsAre("0", "Z", "_", "a", "a.b", "b"));
}

TEST_P(ObjectStoreTest, RefusesKeysThatAreNoFileNames) {
  for (const std::string& key :
       {std::string(), std::string("."), std::string(".."), std::string(".tmp-1-1"),
        std::string("a/b"), std::string("../a"), std::string("a b"), std::string("a\0b", 3),
        std::string("caf\u00e9"), std::string(129, 'a')}) {
    EXPECT_FALSE(IsValidKey(key)) << key;
    EXPECT_THAT(PutObject(store_.get(), key, {}), FailsWith(ErrorCode::kInvalidArgument));
    EXPECT_THAT(store_->Size(key), FailsWith(ErrorCode::kNotFound));
    EXPECT_THAT(store_->Read(key, 0, {}), FailsWith(ErrorCode::kNotFound));
    EXPECT_THAT(store_->Delete(key), FailsWith(ErrorCode::kNotFound));
  }
  EXPECT_TRUE(IsValidKey(std::string(128, 'a')));
  EXPECT_THAT(PutObject(store_.get(), std::string(128, 'a'), {}), Succeeds());
}

TEST_P(ObjectStoreTest, KeepsTheWriterAfterAWrongKey) {
  auto writer = store_->Create();
  ASSERT_THAT(writer, Succeeds());
  ASSERT_THAT((*writer)->Write(AsBytes("x")), Succeeds());
  EXPECT_THAT((*writer)->Commit("a/b"), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("a/b")));
  EXPECT_THAT((*writer)->Commit("ab"), Succeeds());
  EXPECT_EQ(Text("ab"), "x");
}

TEST_P(ObjectStoreTest, OpensAnObjectAsASource) {
  ASSERT_THAT(PutObject(store_.get(), "k", AsBytes("0123456789")), Succeeds());
  const auto source = OpenObject(store_.get(), "k");
  ASSERT_THAT(source, Succeeds());
  EXPECT_EQ((*source)->size(), 10u);
  EXPECT_EQ((*source)->name(), "k");
  Bytes out(4);
  ASSERT_THAT((*source)->ReadAt(5, out), Succeeds());
  EXPECT_EQ(out, BytesOf("5678"));
  EXPECT_THAT((*source)->ReadAt(7, out), FailsWith(ErrorCode::kCorrupt));
}

// Readers see the old object or the new one, whole.
TEST_P(ObjectStoreTest, ServesManyThreads) {
  const Bytes old_bytes(10'000, std::byte{1});
  const Bytes new_bytes(10'000, std::byte{2});
  ASSERT_THAT(PutObject(store_.get(), "k", old_bytes), Succeeds());
  std::atomic<bool> stop = false;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      while (!stop) {
        const auto bytes = GetObject(*store_, "k", 10'000);
        if (!bytes.ok() || (*bytes != old_bytes && *bytes != new_bytes)) ++wrong;
      }
    });
  }
  for (int i = 0; i < 50; ++i) {
    EXPECT_THAT(PutObject(store_.get(), "k", i % 2 == 0 ? new_bytes : old_bytes), Succeeds());
    EXPECT_THAT(PutObject(store_.get(), "k" + std::to_string(i), old_bytes), Succeeds());
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(store_->List()->size(), 51u);
}

}  // namespace
}  // namespace dnc::store
