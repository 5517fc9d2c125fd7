#include <atomic>
#include <map>

#include "base/prng.h"
#include "ipfs/car.h"
#include "ipfs/unixfs.h"
#include "store/loopback_server_for_test.h"
#include "store/open_store.h"
#include "store/servers_for_test.h"
#include "testing/testing.h"

// What is IPFS's own: content by its id from gateways that nobody trusts, with and without
// CARs, and what a real node keeps. What it shares with all stores is in
// object_store_test.cc.

namespace dnc::store {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Bytes Noise(std::size_t size) {
  Bytes bytes(size);
  Prng prng(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(prng.Next());
  return bytes;
}

// The blocks of a file and of a folder that holds it as "file".
struct Content {
  explicit Content(Bytes file_bytes) : bytes(std::move(file_bytes)) {
    std::vector<Digest> leaves;
    for (std::uint64_t i = 0; i < ipfs::LeafCount(bytes.size()); ++i) {
      const ByteSpan leaf = ByteSpan(bytes).subspan(
          i * ipfs::kLeafBytes, std::min(ipfs::kLeafBytes, bytes.size() - i * ipfs::kLeafBytes));
      leaves.push_back(Sha256(leaf));
      blocks[{ipfs::Codec::kRaw, leaves.back()}] = Bytes(leaf.begin(), leaf.end());
    }
    const auto keep = [this](const ipfs::Cid& cid, ByteSpan block) {
      blocks[cid] = Bytes(block.begin(), block.end());
    };
    const ipfs::Root root = ipfs::BuildFile(leaves, bytes.size(), keep);
    file = root.cid;
    folder = ipfs::BuildDirectory({{"file", root.cid, root.total_bytes}}, keep)->cid;
  }

  Bytes bytes;
  ipfs::Cid file;
  ipfs::Cid folder;
  std::map<ipfs::Cid, Bytes> blocks;
};

std::string CidIn(const SeenRequest& request) {
  const std::size_t begin = std::string("/ipfs/").size();
  return request.target.substr(begin, request.target.find_first_of("?/", begin) - begin);
}

// A gateway that gives blocks only; `spoil` may change what it gives.
LoopbackServer::Handler BlockGateway(const Content& content,
                                     std::function<void(std::string*)> spoil = {}) {
  return [&content, spoil](const SeenRequest& request) {
    ScriptedReply reply;
    if (request.target.find("format=raw") == std::string::npos) {
      reply.status = 406;
      return reply;
    }
    const auto cid = ipfs::ParseCid(CidIn(request));
    const auto found = cid ? content.blocks.find(*cid) : content.blocks.end();
    if (found == content.blocks.end()) {
      reply.status = 404;
      return reply;
    }
    reply.body = AsText(found->second);
    if (spoil) spoil(&reply.body);
    return reply;
  };
}

Result<std::unique_ptr<ObjectStore>> OpenBy(const std::string& location,
                                            std::vector<std::string> gateways,
                                            FailureReport report = {}) {
  StoreOptions options;
  options.ipfs_gateways = std::move(gateways);
  options.attempts_max = 2;
  options.retry_wait_first = Duration::Milliseconds(1);
  options.report = std::move(report);
  return OpenStore(location, options);
}

TEST(IpfsGatewayTest, ReadsAFolderAFileAndContentByItsIdWithoutCars) {
  const Content content(Noise(2'500'000));
  const LoopbackServer gateway(BlockGateway(content));
  const auto folder = OpenBy("ipfs://" + content.folder.Text(), {gateway.url() + "/"});
  ASSERT_THAT(folder, Succeeds());
  EXPECT_THAT(*(*folder)->List(), ElementsAre("file"));
  EXPECT_EQ(*GetObject(**folder, "file", content.bytes.size()), content.bytes);
  Bytes part(1000);
  ASSERT_THAT((*folder)->Read("file", (1 << 20) - 500, part), Succeeds());
  EXPECT_TRUE(std::equal(part.begin(), part.end(), content.bytes.begin() + (1 << 20) - 500));

  const auto file = OpenBy("ipfs://" + content.file.Text(), {gateway.url()});
  ASSERT_THAT(file, Succeeds());
  EXPECT_EQ(*(*file)->Size("manifest.json"), content.bytes.size());
  const auto any = OpenBy("ipfs://", {gateway.url()});
  ASSERT_THAT(any, Succeeds());
  EXPECT_EQ(*GetObject(**any, content.file.Text(), content.bytes.size()), content.bytes);
  EXPECT_THAT((*any)->Size(ipfs::CidOf(ipfs::Codec::kRaw, AsBytes("else")).Text()),
              FailsWith(ErrorCode::kNotFound));
  EXPECT_THAT((*any)->List(), FailsWith(ErrorCode::kUnsupported));
}

TEST(IpfsGatewayTest, NeverTakesBytesThatAreNotThoseOfTheId) {
  const Content content(Noise(100'000));
  for (const auto& spoil : std::vector<std::function<void(std::string*)>>{
           [](std::string* body) { (*body)[body->size() / 2] ^= 1; },
           [](std::string* body) { body->pop_back(); },
           [](std::string* body) { body->append("x"); }, [](std::string* body) { body->clear(); },
           [](std::string* body) { body->append(5 << 20, 'x'); }}) {
    const LoopbackServer gateway(BlockGateway(content, spoil));
    const auto store = OpenBy("ipfs://" + content.folder.Text(), {gateway.url()});
    ASSERT_THAT(store, Succeeds());
    EXPECT_FALSE(GetObject(**store, "file", content.bytes.size()).ok());
  }
}

TEST(IpfsGatewayTest, TakesFromTheNextGatewayWhatOneSpoilsAndSaysSoOnce) {
  const Content content(Noise(2'500'000));
  const LoopbackServer bad(BlockGateway(content, [](std::string* body) { (*body)[0] ^= 1; }));
  const LoopbackServer good(BlockGateway(content));
  std::vector<std::string> reported;
  const auto store = OpenBy("ipfs://" + content.folder.Text(), {bad.url(), good.url()},
                            [&](const Error& error) { reported.push_back(error.message); });
  ASSERT_THAT(store, Succeeds());
  EXPECT_EQ(*GetObject(**store, "file", content.bytes.size()), content.bytes);
  EXPECT_THAT(reported, ElementsAre(HasSubstr(bad.url())));
}

TEST(IpfsGatewayTest, RefusesWhatNamesNothing) {
  EXPECT_THAT(OpenBy("ipfs://a/b", {}), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("a/b")));
  const std::string cid = ipfs::CidOf(ipfs::Codec::kRaw, {}).Text();
  EXPECT_THAT(OpenBy("ipfs://" + cid, {"host:80"}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("host:80")));
  StoreOptions create;
  create.create = true;
  EXPECT_THAT(OpenStore("ipfs://" + cid, create),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("ipfs://NAME")));
}

// ---- A real node

class KuboTest : public ::testing::Test {
 protected:
  static KuboServer* node() {
    static KuboServer node;
    return &node;
  }

  void SetUp() override {
    if (!node()->problem().empty()) GTEST_SKIP() << node()->problem();
    options_.ipfs_api = node()->url();
    options_.create = true;
    static int counter = 0;
    name_ = "own-" + std::to_string(++counter);
    auto store = OpenStore("ipfs://" + name_, options_);
    ASSERT_THAT(store, Succeeds());
    store_ = std::move(*store);
  }

  StoreOptions options_;
  std::string name_;
  std::unique_ptr<ObjectStore> store_;
};

TEST_F(KuboTest, NamesContentAsWeDo) {
  const Content content(Noise(2'500'000));
  ASSERT_THAT(PutObject(store_.get(), "file", content.bytes), Succeeds());
  EXPECT_EQ(node()->Run({"files", "stat", "--hash", "/dnc/" + name_ + "/file"}),
            content.file.Text());
  EXPECT_EQ(*store_->PublicLocation(), "ipfs://" + content.folder.Text());
}

TEST_F(KuboTest, PinsWhatIsPutAndUnpinsWhatIsDeletedOrReplaced) {
  const Content content(Noise(1'500'000));
  ASSERT_THAT(PutObject(store_.get(), "file", content.bytes), Succeeds());
  EXPECT_THAT(node()->Run({"pin", "ls", "--type=recursive", "-q"}), HasSubstr(content.file.Text()));
  ASSERT_THAT(PutObject(store_.get(), "file", AsBytes("another")), Succeeds());
  const std::string pins = node()->Run({"pin", "ls", "--type=recursive", "-q"});
  EXPECT_THAT(pins, ::testing::Not(HasSubstr(content.file.Text())));
  EXPECT_THAT(pins, HasSubstr(ipfs::CidOf(ipfs::Codec::kRaw, AsBytes("another")).Text()));
  ASSERT_THAT(store_->Delete("file"), Succeeds());
  EXPECT_THAT(node()->Run({"pin", "ls", "--type=recursive", "-q"}),
              ::testing::Not(HasSubstr(ipfs::CidOf(ipfs::Codec::kRaw, AsBytes("another")).Text())));
}

TEST_F(KuboTest, LeavesThePinsOfOthers) {
  const Content content(Noise(70'000));
  ASSERT_THAT(PutObject(store_.get(), "file", content.bytes), Succeeds());
  node()->Run({"pin", "rm", content.file.Text()});
  node()->Run({"pin", "add", "--name=mine", content.file.Text()});
  ASSERT_THAT(PutObject(store_.get(), "file", content.bytes), Succeeds());
  ASSERT_THAT(store_->Delete("file"), Succeeds());
  EXPECT_THAT(node()->Run({"pin", "ls", "--type=recursive", "-q"}), HasSubstr(content.file.Text()));
}

TEST_F(KuboTest, ReadsTheSameThroughItsGatewayAndItsRpc) {
  const Content content(Noise(3'500'000));
  ASSERT_THAT(PutObject(store_.get(), "file", content.bytes), Succeeds());
  const auto location = store_->PublicLocation();
  ASSERT_THAT(location, Succeeds());
  const auto by_gateway = OpenBy(*location, {node()->gateway()});
  ASSERT_THAT(by_gateway, Succeeds());
  EXPECT_EQ(*GetObject(**by_gateway, "file", content.bytes.size()), content.bytes);
  StoreOptions rpc;
  rpc.ipfs_api = node()->url();
  const auto by_rpc = OpenStore(*location, rpc);
  ASSERT_THAT(by_rpc, Succeeds());
  EXPECT_EQ(*GetObject(**by_rpc, "file", content.bytes.size()), content.bytes);
  EXPECT_THAT(PutObject(by_rpc->get(), "k", {}),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("ipfs://NAME")));
}

TEST_F(KuboTest, NamesAFolderThatIsMissingAndANodeThatIsNotThere) {
  options_.create = false;
  EXPECT_THAT(OpenStore("ipfs://nothing-here", options_),
              FailsWith(ErrorCode::kNotFound, HasSubstr("/dnc/nothing-here")));
  options_.ipfs_api = "http://127.0.0.1:" + std::to_string(FreePort());
  options_.attempts_max = 1;
  EXPECT_THAT(OpenStore("ipfs://nothing-here", options_), FailsWith(ErrorCode::kUnavailable));
}

}  // namespace
}  // namespace dnc::store
