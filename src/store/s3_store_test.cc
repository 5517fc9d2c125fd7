#include <cstdlib>
#include <map>

#include "base/human.h"
#include "base/prng.h"
#include "store/loopback_server_for_test.h"
#include "store/open_store.h"
#include "store/presign.h"
#include "store/s3_account.h"
#include "store/s3_xml.h"
#include "store/servers_for_test.h"
#include "store/stores.h"
#include "testing/testing.h"

// What is S3's own: whose bucket, where it is, signatures, uploads in parts, long lists
// and its XML. What it shares with all stores is in object_store_test.cc.

namespace dnc::store {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// ---- Accounts

Environment Variables(std::map<std::string, std::string> variables) {
  return [variables](const char* name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
}

const std::map<std::string, std::string> kKeys = {{"AWS_ACCESS_KEY_ID", "access"},
                                                  {"AWS_SECRET_ACCESS_KEY", "secret"}};

std::string BaseUrl(const std::string& location, const StoreOptions& options,
                    std::map<std::string, std::string> variables = {}) {
  variables.insert(kKeys.begin(), kKeys.end());
  const auto account = OpenS3Account(location, options, Variables(std::move(variables)));
  return account.ok() ? account->base_url + account->prefix : account.error().message;
}

TEST(S3AccountTest, PutsTheBucketIntoTheHostOrThePath) {
  EXPECT_EQ(BaseUrl("s3://bucket/a b/c", {}), "https://bucket.s3.us-east-1.amazonaws.com/a%20b/c/");
  EXPECT_EQ(BaseUrl("s3://my.bucket", {}), "https://s3.us-east-1.amazonaws.com/my.bucket/");
  EXPECT_EQ(BaseUrl("s3://bucket", {.s3_region = "eu-west-1", .s3_path_style = true}),
            "https://s3.eu-west-1.amazonaws.com/bucket/");
  EXPECT_EQ(BaseUrl("s3://bucket/", {.s3_endpoint = "http://127.0.0.1:9000/"}),
            "http://127.0.0.1:9000/bucket/");
  EXPECT_EQ(BaseUrl("s3://bucket", {.s3_endpoint = "https://{bucket}.host"}),
            "https://bucket.host/");
  EXPECT_EQ(BaseUrl("s3://bucket", {}, {{"AWS_ENDPOINT_URL", "http://one"}}), "http://one/bucket/");
  EXPECT_EQ(BaseUrl("s3://bucket", {},
                    {{"AWS_ENDPOINT_URL", "http://one"}, {"AWS_ENDPOINT_URL_S3", "http://two"}}),
            "http://two/bucket/");
  EXPECT_EQ(BaseUrl("s3://bucket", {}, {{"AWS_DEFAULT_REGION", "eu-north-1"}}),
            "https://bucket.s3.eu-north-1.amazonaws.com/");
}

TEST(S3AccountTest, TakesCredentialsFromTheFilesOfTheAwsTool) {
  const test::TemporaryFolder folder;
  std::filesystem::create_directory(folder / ".aws");
  std::ofstream(folder / ".aws/credentials")
      << "# keys\n[default]\naws_access_key_id=one\naws_secret_access_key = two\n"
         "[other]\naws_access_key_id = three\naws_secret_access_key = four\n"
         "aws_session_token = five=5\n";
  std::ofstream(folder / ".aws/config") << "[profile other]\nregion = eu-west-3\n";
  const std::string home = folder / "";
  const auto first = OpenS3Account("s3://bucket", {}, Variables({{"HOME", home}}));
  ASSERT_THAT(first, Succeeds());
  EXPECT_EQ(first->signer->access_key, "one");
  EXPECT_EQ(first->signer->secret_key, "two");
  EXPECT_EQ(first->region, "us-east-1");
  const auto other =
      OpenS3Account("s3://bucket", {}, Variables({{"HOME", home}, {"AWS_PROFILE", "other"}}));
  ASSERT_THAT(other, Succeeds());
  EXPECT_EQ(other->signer->access_key, "three");
  EXPECT_EQ(other->signer->session_token, "five=5");
  EXPECT_EQ(other->signer->region, "eu-west-3");
}

TEST(S3AccountTest, SaysWhereCredentialsAreLookedFor) {
  EXPECT_THAT(OpenS3Account("s3://bucket", {}, Variables({})),
              FailsWith(ErrorCode::kUnauthenticated,
                        AllOf(HasSubstr("AWS_ACCESS_KEY_ID"), HasSubstr("[default]"),
                              HasSubstr("--s3-anonymous"))));
  const auto anonymous = OpenS3Account("s3://bucket", {.s3_anonymous = true}, Variables({}));
  ASSERT_THAT(anonymous, Succeeds());
  EXPECT_FALSE(anonymous->signer.has_value());
}

TEST(S3AccountTest, RefusesWhatIsNoBucketRegionOrEndpoint) {
  for (const char* location : {"s3://", "s3:///a", "s3://AB", "s3://ab", "s3://a_b.-/x",
                               "s3://bucket//a", "s3://bucket/a/../b", "s3://bucket/./b"}) {
    EXPECT_THAT(OpenS3Account(location, {}, Variables(kKeys)),
                FailsWith(ErrorCode::kInvalidArgument, HasSubstr(location)));
  }
  EXPECT_THAT(BaseUrl("s3://bucket", {.s3_region = "a/b"}), HasSubstr("no region"));
  EXPECT_THAT(BaseUrl("s3://bucket", {.s3_endpoint = "host:9000"}), HasSubstr("no endpoint"));
  EXPECT_THAT(BaseUrl("s3://bucket", {.s3_endpoint = "http://u:secret@h?x"}),
              AllOf(HasSubstr("no endpoint"), Not(HasSubstr("secret"))));
}

// ---- Signatures

TEST(PresignTest, SignsAsTheExampleOfTheReference) {
  // "Authenticating Requests: Using Query Parameters", Amazon S3 API reference.
  const S3Signer signer{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "",
                        "us-east-1"};
  PresignOptions options;
  options.valid_for = Duration::Seconds(86400);
  options.now = Instant{1369353600ll * 1'000'000};  // 2013-05-24.
  EXPECT_EQ(PresignUrl("https://examplebucket.s3.amazonaws.com/test.txt", signer, options),
            "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
            "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
            "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
            "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
}

TEST(PresignTest, ComputesHmacAsItsRfcDoes) {
  // RFC 4231, test cases 2 and 6.
  EXPECT_EQ(HmacSha256(AsBytes("Jefe"), AsBytes("what do ya want for nothing?")).Hex(),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  const Bytes long_key(131, std::byte{0xaa});
  EXPECT_EQ(
      HmacSha256(long_key, AsBytes("Test Using Larger Than Block-Size Key - Hash Key First")).Hex(),
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(PresignTest, RefusesWhatIsNoObjectAndTimesThatS3DoesNotTake) {
  EXPECT_THAT(MakePresignedUrl("s3://bucket", {}, {}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("s3://bucket/prefix/key")));
  EXPECT_THAT(MakePresignedUrl("http://host/key", {}, {}), FailsWith(ErrorCode::kInvalidArgument));
  PresignOptions week;
  week.valid_for = Duration::Minutes(7 * 24 * 60 + 1);
  EXPECT_THAT(MakePresignedUrl("s3://bucket/key", week, {}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("7 days")));
}

// ---- A real server

class S3ServerTest : public ::testing::Test {
 protected:
  static S3Server* server() {
    static S3Server server;
    return &server;
  }

  void SetUp() override {
    if (!server()->problem().empty()) GTEST_SKIP() << server()->problem();
    ::setenv("AWS_ACCESS_KEY_ID", S3Server::kAccessKey, 1);
    ::setenv("AWS_SECRET_ACCESS_KEY", S3Server::kSecretKey, 1);
    options_.s3_endpoint = server()->url();
    static int counter = 0;
    location_ = "s3://bucket/own-" + std::to_string(++counter);
  }

  std::unique_ptr<ObjectStore> Open(const StoreOptions& options) {
    auto store = OpenStore(location_, options);
    EXPECT_THAT(store, Succeeds());
    return store.ok() ? std::move(*store) : nullptr;
  }

  std::string Text(const ObjectStore& store, const std::string& key) {
    const auto bytes = GetObject(store, key, 1 << 20);
    return bytes.ok() ? std::string(AsText(*bytes)) : bytes.error().message;
  }

  StoreOptions options_;
  std::string location_;
};

TEST_F(S3ServerTest, FindsTheBucketByItsHostName) {
  const auto in_path = Open(options_);
  ASSERT_THAT(PutObject(in_path.get(), "k", AsBytes("v")), Succeeds());
  StoreOptions by_host = options_;
  // libcurl takes every name under localhost for this machine.
  by_host.s3_endpoint.replace(by_host.s3_endpoint.find("127.0.0.1"), 9, "{bucket}.localhost");
  const auto store = Open(by_host);
  EXPECT_EQ(Text(*store, "k"), "v");
  ASSERT_THAT(PutObject(store.get(), "l", AsBytes("w")), Succeeds());
  EXPECT_THAT(*in_path->List(), ElementsAre("k", "l"));
}

TEST_F(S3ServerTest, ReadsALinkThatNeedsNoCredentials) {
  const auto store = Open(options_);
  ASSERT_THAT(PutObject(store.get(), "k", AsBytes("0123456789")), Succeeds());
  PresignOptions presign;
  presign.now = Instant{std::chrono::duration_cast<std::chrono::microseconds>(
                            std::chrono::system_clock::now().time_since_epoch())
                            .count()};
  const auto url = MakePresignedUrl(location_ + "/k", presign, options_);
  ASSERT_THAT(url, Succeeds());
  const auto links = MakeLinkStore({{"name", {*url}}}, {});
  ASSERT_THAT(links, Succeeds());
  Bytes out(3);
  ASSERT_THAT((*links)->Read("name", 4, out), Succeeds());
  EXPECT_EQ(AsText(out), "456");
  const auto forged = MakeLinkStore({{"name", {*url + "0"}}}, {});
  ASSERT_THAT(forged, Succeeds());
  const auto read = (*forged)->Read("name", 4, out);
  ASSERT_FALSE(read.ok());
  EXPECT_THAT(read.error().message, Not(HasSubstr("X-Amz-Signature")));
}

TEST_F(S3ServerTest, SendsALargeObjectInParts) {
  const auto store = Open(options_);
  auto writer = store->Create();
  ASSERT_THAT(writer, Succeeds());
  // Above 64 MiB; the last part is a short one.
  Bytes piece(1 << 20);
  Prng prng(3);
  for (std::byte& b : piece) b = static_cast<std::byte>(prng.Next());
  constexpr std::uint64_t kPieces = 70;
  for (std::uint64_t i = 0; i < kPieces; ++i) {
    piece[0] = static_cast<std::byte>(i);
    ASSERT_THAT((*writer)->Write(piece), Succeeds());
  }
  ASSERT_THAT((*writer)->Write(AsBytes("end")), Succeeds());
  ASSERT_THAT((*writer)->Commit("large"), Succeeds());
  EXPECT_EQ(*store->Size("large"), (kPieces << 20) + 3);
  Bytes out(piece.size());
  for (const std::uint64_t i : {std::uint64_t{0}, std::uint64_t{16}, kPieces - 1}) {
    ASSERT_THAT(store->Read("large", i << 20, out), Succeeds());
    piece[0] = static_cast<std::byte>(i);
    EXPECT_EQ(out, piece);
  }
}

TEST_F(S3ServerTest, ListsMoreThanOnePage) {
  const auto store = Open(options_);
  const std::string folder = server()->bucket_folder() + location_.substr(11);
  std::filesystem::create_directories(folder + "/deeper");
  std::vector<std::string> expected;
  for (int i = 0; i < 1'100; ++i) {
    expected.push_back("k" + std::to_string(10'000 + i));
    std::ofstream(folder + "/" + expected.back()) << i;
  }
  std::ofstream(folder + "/deeper/k") << "not a key of this store";
  EXPECT_EQ(*store->List(), expected);
}

TEST_F(S3ServerTest, SaysWhenItIsNotLetIn) {
  const auto store = Open(options_);
  ASSERT_THAT(PutObject(store.get(), "k", AsBytes("v")), Succeeds());
  StoreOptions anonymous = options_;
  anonymous.s3_anonymous = true;
  EXPECT_FALSE(GetObject(*Open(anonymous), "k", 10).ok());
  ::setenv("AWS_SECRET_ACCESS_KEY", "wrong", 1);
  EXPECT_THAT(PutObject(Open(options_).get(), "k", AsBytes("w")),
              FailsWith(ErrorCode::kUnauthenticated,
                        AllOf(HasSubstr("SignatureDoesNotMatch"), Not(HasSubstr("wrong")))));
  ::setenv("AWS_SECRET_ACCESS_KEY", S3Server::kSecretKey, 1);
  EXPECT_EQ(Text(*store, "k"), "v");
}

TEST_F(S3ServerTest, NamesTheBucketThatIsMissing) {
  auto store = OpenStore("s3://no-such-bucket", options_);
  ASSERT_THAT(store, Succeeds());
  EXPECT_THAT((*store)->List(), FailsWith(ErrorCode::kNotFound, HasSubstr("NoSuchBucket")));
  EXPECT_THAT(PutObject(store->get(), "k", AsBytes("v")), FailsWith(ErrorCode::kNotFound));
}

// ---- Servers that answer badly

TEST(S3StoreTest, TellsInWhichRegionTheBucketLies) {
  ::setenv("AWS_ACCESS_KEY_ID", "a", 1);
  ::setenv("AWS_SECRET_ACCESS_KEY", "b", 1);
  const LoopbackServer server([](const SeenRequest&) {
    ScriptedReply reply;
    reply.status = 301;
    reply.headers = {"x-amz-bucket-region: eu-west-2", "Location: http://127.0.0.1:1/"};
    return reply;
  });
  const auto store = OpenStore("s3://bucket", {.s3_endpoint = server.url()});
  ASSERT_THAT(store, Succeeds());
  EXPECT_THAT((*store)->List(),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("--s3-region eu-west-2")));
}

TEST(S3StoreTest, EndsAListThatNeverEnds) {
  ::setenv("AWS_ACCESS_KEY_ID", "a", 1);
  ::setenv("AWS_SECRET_ACCESS_KEY", "b", 1);
  const LoopbackServer server([](const SeenRequest&) {
    return ScriptedReply{.body =
                             "<ListBucketResult><IsTruncated>true</IsTruncated>"
                             "</ListBucketResult>"};
  });
  const auto store = OpenStore("s3://bucket", {.s3_endpoint = server.url()});
  ASSERT_THAT(store, Succeeds());
  EXPECT_THAT((*store)->List(), FailsWith(ErrorCode::kCorrupt));
}

// ---- XML

TEST(S3XmlTest, ReadsAListWithItsEntities) {
  const auto page = ParseS3ListPage(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://x/\">"
      "<Name>b</Name><IsTruncated>true</IsTruncated><Contents><Key>a&amp;b&lt;c</Key>"
      "<Size>1</Size></Contents><Contents><Key>d</Key></Contents>"
      "<NextContinuationToken>t/=</NextContinuationToken></ListBucketResult>");
  ASSERT_THAT(page, Succeeds());
  EXPECT_THAT(page->keys, ElementsAre("a&b<c", "d"));
  EXPECT_EQ(page->next_token, "t/=");
}

TEST(S3XmlTest, RefusesWhatIsNotWellFormed) {
  for (const char* text :
       {"", "text", "<a>", "<a></b>", "<a><b></a></b>", "<a>&unknown;</a>", "<a/><b/>",
        "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>", "<a", "<a>\0</a>", "<a b=\"c></a>"}) {
    EXPECT_THAT(ParseXml(text), FailsWith(ErrorCode::kCorrupt)) << text;
  }
  std::string deep;
  for (int i = 0; i < 1000; ++i) deep += "<a>";
  EXPECT_THAT(ParseXml(deep), FailsWith(ErrorCode::kTooLarge));
  std::string wide = "<a>";
  for (int i = 0; i < 200'000; ++i) wide += "<b/>";
  EXPECT_THAT(ParseXml(wide + "</a>"), FailsWith(ErrorCode::kTooLarge));
}

TEST(S3XmlTest, ReadsErrorsAndUploadIds) {
  const auto error = ParseS3Error(
      "<Error><Code>NoSuchKey</Code><Message>gone</Message><Region>r</Region></Error>");
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->code, "NoSuchKey");
  EXPECT_EQ(error->message, "gone");
  EXPECT_EQ(error->region, "r");
  EXPECT_FALSE(ParseS3Error("<html>no</html>").has_value());
  EXPECT_EQ(*ParseS3UploadId("<InitiateMultipartUploadResult><UploadId>u</UploadId>"
                             "</InitiateMultipartUploadResult>"),
            "u");
  EXPECT_THAT(ParseS3UploadId("<InitiateMultipartUploadResult/>"), FailsWith(ErrorCode::kCorrupt));
  const std::string completion = FormatS3Completion({"\"a\"", "b&c"});
  const auto parsed = ParseXml(completion);
  ASSERT_THAT(parsed, Succeeds());
  ASSERT_EQ(parsed->children.size(), 2u);
  EXPECT_EQ(parsed->children[0].TextOf("ETag"), "\"a\"");
  EXPECT_EQ(parsed->children[1].TextOf("PartNumber"), "2");
  EXPECT_EQ(parsed->children[1].TextOf("ETag"), "b&c");
}

}  // namespace
}  // namespace dnc::store
