#include "store/object_store.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/prng.h"
#include "store/open_store.h"
#include "store/servers_for_test.h"
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

enum class Kind { kMemory, kDirectory, kHttp, kS3, kIpfs };

const char* KindName(Kind kind) {
  switch (kind) {
    case Kind::kMemory:
      return "Memory";
    case Kind::kDirectory:
      return "Directory";
    case Kind::kHttp:
      return "Http";
    case Kind::kS3:
      return "S3";
    case Kind::kIpfs:
      return "Ipfs";
  }
  return "";
}

// Reads through one store what is written through another to the same place: HTTP is read
// only, and what it serves comes from a folder.
class WrittenElsewhere final : public ObjectStore {
 public:
  WrittenElsewhere(std::unique_ptr<ObjectStore> reader, std::unique_ptr<ObjectStore> writer)
      : reader_(std::move(reader)), writer_(std::move(writer)) {}

  Result<std::unique_ptr<ObjectWriter>> Create() override { return writer_->Create(); }
  Result<std::uint64_t> Size(const std::string& key) const override { return reader_->Size(key); }
  Status Read(const std::string& key, std::uint64_t offset,
              std::span<std::byte> out) const override {
    return reader_->Read(key, offset, out);
  }
  Status Delete(const std::string& key) override { return writer_->Delete(key); }
  Result<std::vector<std::string>> List() const override { return writer_->List(); }
  std::string Describe() const override { return reader_->Describe(); }

 private:
  std::unique_ptr<ObjectStore> reader_;
  std::unique_ptr<ObjectStore> writer_;
};

// Servers are started when the first test needs them, and end with the process.
template <typename Server>
Server* SharedServer() {
  static Server server;
  return &server;
}

class ObjectStoreTest : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    static int counter = 0;
    const std::string name = "store-" + std::to_string(++counter);
    StoreOptions options;
    options.create = true;
    std::string location = folder_ / "objects";
    const TestServer* server = nullptr;
    switch (GetParam()) {
      case Kind::kMemory:
        store_ = MakeMemoryStore();
        return;
      case Kind::kDirectory:
        break;
      case Kind::kHttp: {
        NginxServer* const nginx = SharedServer<NginxServer>();
        server = nginx;
        OpenHttp(*nginx, name);
        break;
      }
      case Kind::kS3:
        server = SharedServer<S3Server>();
        ::setenv("AWS_ACCESS_KEY_ID", S3Server::kAccessKey, 1);
        ::setenv("AWS_SECRET_ACCESS_KEY", S3Server::kSecretKey, 1);
        options.s3_endpoint = server->url();
        location = "s3://bucket/" + name;
        break;
      case Kind::kIpfs:
        server = SharedServer<KuboServer>();
        options.ipfs_api = server->url();
        location = "ipfs://" + name;
        break;
    }
    if (server != nullptr && !server->problem().empty()) GTEST_SKIP() << server->problem();
    if (store_ != nullptr) return;
    auto opened = OpenStore(location, options);
    ASSERT_THAT(opened, Succeeds());
    store_ = std::move(*opened);
  }

  void OpenHttp(const NginxServer& nginx, const std::string& name) {
    if (!nginx.problem().empty()) return;
    auto writer = OpenDirectoryStore(nginx.root() + "/" + name);
    auto reader = OpenStore(nginx.url() + "/" + name, {});
    ASSERT_THAT(writer, Succeeds());
    ASSERT_THAT(reader, Succeeds());
    store_ = std::make_unique<WrittenElsewhere>(std::move(*reader), std::move(*writer));
  }

  std::string Text(const std::string& key) {
    const auto bytes = GetObject(*store_, key, 1 << 20);
    return bytes.ok() ? std::string(AsText(*bytes)) : bytes.error().message;
  }

  test::TemporaryFolder folder_;
  std::unique_ptr<ObjectStore> store_;
};

INSTANTIATE_TEST_SUITE_P(Stores, ObjectStoreTest,
                         ::testing::Values(Kind::kMemory, Kind::kDirectory, Kind::kHttp, Kind::kS3,
                                           Kind::kIpfs),
                         [](const auto& kind) { return KindName(kind.param); });

TEST_P(ObjectStoreTest, GivesBackWhatWasPut) {
  Bytes bytes(2'500'000);  // More than a leaf of IPFS.
  Prng prng(1);
  for (std::byte& b : bytes) b = static_cast<std::byte>(prng.Next());
  ASSERT_THAT(PutObject(store_.get(), "a-key_1.bin", bytes), Succeeds());
  EXPECT_EQ(*store_->Size("a-key_1.bin"), bytes.size());
  EXPECT_EQ(*GetObject(*store_, "a-key_1.bin", bytes.size()), bytes);
  Bytes part(1000);
  for (const std::ptrdiff_t offset : {77, (1 << 20) - 500, 2'499'000}) {
    ASSERT_THAT(store_->Read("a-key_1.bin", static_cast<std::uint64_t>(offset), part), Succeeds());
    EXPECT_TRUE(std::equal(part.begin(), part.end(), bytes.begin() + offset)) << offset;
  }
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
  if (GetParam() == Kind::kDirectory) {
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
