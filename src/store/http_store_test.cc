#include <memory>
#include <thread>

#include "base/prng.h"
#include "store/http_client.h"
#include "store/loopback_server_for_test.h"
#include "store/open_store.h"
#include "testing/testing.h"

// HTTP servers break off, keep silent, know no ranges, or answer with what nobody asked
// for. Each of these has its turn here, over real sockets on loopback.

namespace dnc::store {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string RandomText(std::size_t size) {
  std::string text(size, '\0');
  Prng prng(size);
  for (char& c : text) c = static_cast<char>(prng.Next());
  return text;
}

// Quick tries, so that a test of giving up takes milliseconds.
StoreOptions Quick() {
  StoreOptions options;
  options.retry_wait_first = Duration::Milliseconds(2);
  options.attempts_max = 4;
  return options;
}

std::unique_ptr<ObjectStore> Open(const std::string& url, const StoreOptions& options = Quick()) {
  auto store = OpenStore(url, options);
  EXPECT_THAT(store, Succeeds());
  return store.ok() ? std::move(*store) : nullptr;
}

// What a read of `size` bytes gives, or the message of its error.
std::string ReadText(const ObjectStore& store, const std::string& key, std::uint64_t offset,
                     std::size_t size) {
  Bytes out(size);
  const Status status = store.Read(key, offset, out);
  return status.ok() ? std::string(AsText(out)) : status.error().message;
}

Status TryRead(const ObjectStore& store, const std::string& key, std::uint64_t offset,
               std::size_t size) {
  Bytes out(size);
  return store.Read(key, offset, out);
}

TEST(HttpStoreTest, ReadsRangesOverOneConnection) {
  const std::string body = RandomText(300'000);
  LoopbackServer server([&](const SeenRequest& request) { return ServeRange(request, body); });
  const auto store = Open(server.url() + "/data/?token=abc#part");
  EXPECT_EQ(*store->Size("k"), body.size());
  for (const std::size_t offset : {0u, 1u, 77'777u, 299'999u}) {
    const std::size_t size = std::min<std::size_t>(100'000, body.size() - offset);
    EXPECT_TRUE(ReadText(*store, "k", offset, size) == body.substr(offset, size)) << offset;
  }
  EXPECT_EQ(server.connection_count(), 1);
  EXPECT_EQ(server.requests()[0].method, "HEAD");
  EXPECT_EQ(server.requests()[1].target, "/data/k?token=abc");
  EXPECT_EQ(server.requests()[1].Header("range"), "bytes=0-99999");
}

TEST(HttpStoreTest, ReadsFromSeveralThreadsAtOnce) {
  const std::string body = RandomText(50'000);
  LoopbackServer server([&](const SeenRequest& request) { return ServeRange(request, body); });
  StoreOptions options = Quick();
  options.connections_max = 2;
  const auto store = Open(server.url(), options);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < 20; ++i) {
        const std::size_t offset = (t * 977 + i * 1301) % 40'000;
        if (ReadText(*store, "k", offset, 9'000) != body.substr(offset, 9'000)) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(server.connection_count(), 2);
}

TEST(HttpStoreTest, FollowsRedirects) {
  const std::string body = RandomText(1000);
  LoopbackServer server([&](const SeenRequest& request) -> ScriptedReply {
    if (request.target == "/far") return ServeRange(request, body);
    return {.status = 302, .headers = {"Location: /far"}, .body = "moved"};
  });
  const auto store = Open(server.url());
  EXPECT_EQ(*store->Size("k"), 1000u);
  EXPECT_EQ(ReadText(*store, "k", 10, 100), body.substr(10, 100));
}

TEST(HttpStoreTest, EndsARingOfRedirects) {
  LoopbackServer server([](const SeenRequest&) -> ScriptedReply {
    return {.status = 302, .headers = {"Location: /again"}};
  });
  EXPECT_THAT(Open(server.url())->Size("k"),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("10 redirects")));
}

TEST(HttpStoreTest, NeverLeavesHttpForAnotherScheme) {
  LoopbackServer server([](const SeenRequest&) -> ScriptedReply {
    return {.status = 302, .headers = {"Location: file:///etc/hostname"}};
  });
  EXPECT_THAT(Open(server.url())->Size("k"), FailsWith(ErrorCode::kInvalidArgument));
}

TEST(HttpStoreTest, PassesOverTheStartWhereAServerKnowsNoRanges) {
  const std::string body = RandomText(500'000);
  LoopbackServer server([&](const SeenRequest&) -> ScriptedReply { return {.body = body}; });
  const auto store = Open(server.url());
  EXPECT_EQ(*store->Size("k"), body.size());
  EXPECT_TRUE(ReadText(*store, "k", 200'000, 100'000) == body.substr(200'000, 100'000));
  EXPECT_TRUE(ReadText(*store, "k", 0, body.size()) == body);
  EXPECT_THAT(TryRead(*store, "k", 499'999, 2), FailsWith(ErrorCode::kCorrupt));
}

TEST(HttpStoreTest, CountsTheBytesOfAnObjectWhoseLengthNobodyTells) {
  const std::string body = RandomText(300'000);
  LoopbackServer server(
      [&](const SeenRequest&) -> ScriptedReply { return {.body = body, .length = false}; });
  const auto store = Open(server.url());
  EXPECT_EQ(*store->Size("k"), body.size());
  EXPECT_TRUE(ReadText(*store, "k", 250'000, 50'000) == body.substr(250'000));
  EXPECT_THAT(TryRead(*store, "k", 250'000, 50'001),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("300000 bytes")));
}

TEST(HttpStoreTest, AsksForAByteWhereHeadIsNotAllowed) {
  for (const int status : {403, 405, 501}) {
    LoopbackServer server([&](const SeenRequest& request) -> ScriptedReply {
      if (request.method == "HEAD") return {.status = status};
      return ServeRange(request, "12345");
    });
    EXPECT_EQ(*Open(server.url())->Size("k"), 5u) << status;
    EXPECT_EQ(server.requests().back().Header("range"), "bytes=0-0");
  }
}

TEST(HttpStoreTest, KnowsAnEmptyObjectByItsRefusedRange) {
  LoopbackServer server([&](const SeenRequest& request) -> ScriptedReply {
    if (request.method == "HEAD") return {.status = 405};
    return ServeRange(request, "");
  });
  EXPECT_EQ(*Open(server.url())->Size("k"), 0u);
}

TEST(HttpStoreTest, GoesOnWhereAnAnswerBrokeOff) {
  const std::string body = RandomText(400'000);
  LoopbackServer server([&](const SeenRequest& request) {
    ScriptedReply reply = ServeRange(request, body);
    reply.body_bytes_max = 100'000;
    return reply;
  });
  // More pieces than tries: each piece is progress, and begins to count anew.
  StoreOptions options = Quick();
  options.attempts_max = 2;
  const auto store = Open(server.url(), options);
  EXPECT_TRUE(ReadText(*store, "k", 1'000, 390'000) == body.substr(1'000, 390'000));
  EXPECT_EQ(server.requests().size(), 4u);
  EXPECT_EQ(server.requests()[1].Header("range"), "bytes=101000-390999");
}

TEST(HttpStoreTest, GivesUpOnAServerThatSendsOnlyCrumbs) {
  LoopbackServer server([](const SeenRequest& request) {
    ScriptedReply reply = ServeRange(request, std::string(100'000, 'x'));
    reply.body_bytes_max = 1;
    return reply;
  });
  EXPECT_THAT(TryRead(*Open(server.url()), "k", 0, 100'000),
              FailsWith(ErrorCode::kUnavailable, HasSubstr("gave up after 4 tries")));
}

TEST(HttpStoreTest, TriesAgainAfterStatusesThatPass) {
  for (const int status : {408, 425, 429, 500, 502, 503, 504}) {
    std::atomic<int> calls = 0;
    LoopbackServer server([&](const SeenRequest& request) -> ScriptedReply {
      if (calls++ % 3 != 2) return {.status = status, .body = "busy"};
      return ServeRange(request, "12345");
    });
    const auto store = Open(server.url());
    EXPECT_EQ(ReadText(*store, "k", 1, 3), "234") << status;
    EXPECT_EQ(*store->Size("k"), 5u) << status;
    EXPECT_EQ(calls, 6);
  }
}

TEST(HttpStoreTest, TriesAgainAfterAReset) {
  std::atomic<int> calls = 0;
  LoopbackServer server([&](const SeenRequest& request) -> ScriptedReply {
    if (calls++ == 0) return {.reset = true};
    return ServeRange(request, "12345");
  });
  EXPECT_EQ(ReadText(*Open(server.url()), "k", 1, 3), "234");
}

TEST(HttpStoreTest, GivesUpWithTheStatusAndTheNumberOfTries) {
  LoopbackServer server([](const SeenRequest&) -> ScriptedReply { return {.status = 503}; });
  EXPECT_THAT(Open(server.url())->Size("k"),
              FailsWith(ErrorCode::kUnavailable,
                        AllOf(HasSubstr("status 503"), HasSubstr("gave up after 4 tries"))));
  EXPECT_EQ(server.requests().size(), 4u);
}

TEST(HttpStoreTest, WaitsAsLongAsTheServerSays) {
  std::atomic<int> calls = 0;
  LoopbackServer server([&](const SeenRequest& request) -> ScriptedReply {
    if (calls++ == 0) return {.status = 503, .headers = {"Retry-After: 1"}};
    return ServeRange(request, "12345");
  });
  const Instant begin = MonotonicNow();
  EXPECT_EQ(*Open(server.url())->Size("k"), 5u);
  EXPECT_GE(MonotonicNow() - begin, Duration::Seconds(1));
}

TEST(HttpStoreTest, GivesUpAtOnceWhenTheServerWantsAVeryLongWait) {
  LoopbackServer server([&](const SeenRequest&) -> ScriptedReply {
    return {.status = 503, .headers = {"Retry-After: 3000"}};
  });
  EXPECT_THAT(Open(server.url())->Size("k"), FailsWith(ErrorCode::kUnavailable));
  EXPECT_EQ(server.requests().size(), 1u);
}

TEST(HttpStoreTest, EndsAnAnswerWithoutProgress) {
  LoopbackServer server([](const SeenRequest& request) {
    ScriptedReply reply = ServeRange(request, std::string(1000, 'x'));
    reply.body_bytes_max = 10;
    reply.stall = true;
    return reply;
  });
  StoreOptions options = Quick();
  options.stall_timeout = Duration::Milliseconds(100);
  options.attempts_max = 2;
  EXPECT_THAT(TryRead(*Open(server.url(), options), "k", 0, 1000),
              FailsWith(ErrorCode::kUnavailable, HasSubstr("no progress for 0.1 s")));
}

TEST(HttpStoreTest, StopsWhenItIsCancelled) {
  LoopbackServer server([](const SeenRequest&) -> ScriptedReply {
    return {.body = "0123456789", .body_bytes_max = 5, .stall = true};
  });
  std::atomic<bool> cancelled = false;
  StoreOptions options = Quick();
  options.cancelled = &cancelled;
  const auto store = Open(server.url(), options);
  std::thread canceller([&] {
    while (server.requests().empty()) std::this_thread::yield();
    cancelled = true;
  });
  EXPECT_THAT(TryRead(*store, "k", 0, 10), FailsWith(ErrorCode::kCancelled));
  canceller.join();
}

TEST(HttpStoreTest, RefusesAnotherRangeThanItAskedFor) {
  for (const char* range : {"bytes 0-9/100", "bytes 11-19/100", "bytes 10-99/100", "bytes 10-5/100",
                            "bytes 10-19/15", "items 10-19/100", ""}) {
    LoopbackServer server([&](const SeenRequest&) -> ScriptedReply {
      return {.status = 206,
              .headers = {std::string("Content-Range: ") + range},
              .body = std::string(10, 'x')};
    });
    EXPECT_THAT(TryRead(*Open(server.url()), "k", 10, 10),
                FailsWith(ErrorCode::kCorrupt, HasSubstr("bytes 10 to 19 were asked for")))
        << range;
    EXPECT_EQ(server.requests().size(), 1u);
  }
}

TEST(HttpStoreTest, TakesNoMoreBytesThanItAskedFor) {
  LoopbackServer server([](const SeenRequest&) -> ScriptedReply {
    return {.status = 206,
            .headers = {"Content-Range: bytes 0-9/100"},
            .body = std::string(5'000'000, 'x'),
            .length = false};
  });
  Bytes out(11, std::byte{7});
  // The bytes that were asked for are there; what follows is neither kept nor waited for.
  const Status status = Open(server.url())->Read("k", 0, std::span(out).first(10));
  EXPECT_EQ(out[10], std::byte{7});
  EXPECT_TRUE(status.ok() || status.error().code == ErrorCode::kCorrupt);
}

TEST(HttpStoreTest, RefusesAnEncodedAnswer) {
  LoopbackServer server([](const SeenRequest& request) {
    ScriptedReply reply = ServeRange(request, "12345");
    reply.headers.push_back("Content-Encoding: gzip");
    return reply;
  });
  const auto store = Open(server.url());
  EXPECT_THAT(store->Size("k"), FailsWith(ErrorCode::kUnsupported, HasSubstr("gzip")));
  EXPECT_THAT(TryRead(*store, "k", 0, 5), FailsWith(ErrorCode::kUnsupported));
}

TEST(HttpStoreTest, TellsApartWhatIsMissingAndWhatIsNotAllowed) {
  int status = 0;
  LoopbackServer server([&](const SeenRequest&) -> ScriptedReply { return {.status = status}; });
  const auto store = Open(server.url() + "/d");
  status = 404;
  EXPECT_THAT(store->Size("k"),
              FailsWith(ErrorCode::kNotFound, HasSubstr("no object k in " + server.url() + "/d")));
  EXPECT_THAT(TryRead(*store, "k", 0, 1), FailsWith(ErrorCode::kNotFound));
  status = 401;
  EXPECT_THAT(TryRead(*store, "k", 0, 1), FailsWith(ErrorCode::kUnauthenticated));
  status = 403;
  EXPECT_THAT(TryRead(*store, "k", 0, 1), FailsWith(ErrorCode::kPermissionDenied));
  status = 418;
  EXPECT_THAT(TryRead(*store, "k", 0, 1),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("status 418")));
}

TEST(HttpStoreTest, NamesAServerThatIsNotThere) {
  std::string url;
  {
    LoopbackServer server([](const SeenRequest&) { return ScriptedReply(); });
    url = server.url();
  }
  EXPECT_THAT(Open(url)->Size("k"), FailsWith(ErrorCode::kUnavailable, HasSubstr(url)));
}

TEST(HttpStoreTest, ShowsNoSecretOfAUrl) {
  LoopbackServer server([](const SeenRequest&) -> ScriptedReply { return {.status = 403}; });
  const std::string with_password =
      "http://user:secret@" + server.url().substr(7) + "/a?X-Amz-Signature=secret";
  const auto store = Open(with_password);
  EXPECT_THAT(store->Describe(), Not(HasSubstr("secret")));
  EXPECT_THAT(TryRead(*store, "k", 0, 1),
              FailsWith(ErrorCode::kPermissionDenied, Not(HasSubstr("secret"))));
  EXPECT_EQ(server.requests()[0].Header("authorization"), "Basic dXNlcjpzZWNyZXQ=");
}

TEST(HttpStoreTest, GoesThroughAProxy) {
  LoopbackServer proxy(
      [](const SeenRequest& request) { return ServeRange(request, request.target); });
  StoreOptions options = Quick();
  options.proxy = proxy.url();
  const auto store = Open("http://far.example/data", options);
  EXPECT_EQ(ReadText(*store, "k", 0, 25), "http://far.example/data/k");
}

TEST(HttpStoreTest, HoldsTheBandwidthOfAllStoresTogether) {
  const std::string body = RandomText(200'000);
  LoopbackServer server([&](const SeenRequest& request) { return ServeRange(request, body); });
  StoreOptions options = Quick();
  options.down_bytes_per_second = 1'000'000;
  const auto store = Open(server.url(), options);
  const auto other = Open(server.url(), options);
  const Instant begin = MonotonicNow();
  std::thread thread([&] { EXPECT_THAT(TryRead(*other, "k", 0, 200'000), Succeeds()); });
  EXPECT_THAT(TryRead(*store, "k", 0, 200'000), Succeeds());
  thread.join();
  EXPECT_GE(MonotonicNow() - begin, Duration::Milliseconds(300));  // 0.4 s, less one burst.
}

TEST(HttpStoreTest, IsReadOnly) {
  const auto store = Open("https://host.example/data");
  EXPECT_THAT(store->Create(), FailsWith(ErrorCode::kUnsupported, HasSubstr("read only")));
  EXPECT_THAT(store->Delete("k"), FailsWith(ErrorCode::kUnsupported));
  EXPECT_THAT(store->Delete("../k"), FailsWith(ErrorCode::kNotFound));
  EXPECT_THAT(store->List(), FailsWith(ErrorCode::kUnsupported));
  StoreOptions options;
  options.create = true;
  EXPECT_THAT(OpenStore("https://host.example/data", options),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("nothing can be written")));
}

TEST(OpenStoreTest, RefusesWhatIsNoLocation) {
  for (const char* location : {"http://", "https://?q", "http://a b", "http:///path", "gopher://x",
                               "HTTP://x", "http://h/<>", "file://host/a", "file:///a%2"}) {
    EXPECT_THAT(OpenStore(location, {}), FailsWith(ErrorCode::kInvalidArgument)) << location;
  }
}

TEST(OpenStoreTest, OpensFoldersByPathAndByUrl) {
  const test::TemporaryFolder folder;
  EXPECT_THAT(OpenStore(folder / "a b", {}),
              FailsWith(ErrorCode::kNotFound, HasSubstr("is not there")));
  StoreOptions create;
  create.create = true;
  auto store = OpenStore(folder / "a b", create);
  ASSERT_THAT(store, Succeeds());
  ASSERT_THAT(PutObject(store->get(), "k", AsBytes("text")), Succeeds());
  const auto same = OpenStore("file://" + (folder / "a%20b"), {});
  ASSERT_THAT(same, Succeeds());
  EXPECT_EQ(AsText(*GetObject(**same, "k", 10)), "text");
}

TEST(LinkStoreTest, ReadsEachObjectByItsOwnLink) {
  LoopbackServer server(
      [](const SeenRequest& request) { return ServeRange(request, "at " + request.target); });
  const auto store =
      MakeLinkStore({{"a", {server.url() + "/x?sig=1"}}, {"b", {server.url() + "/y"}}}, Quick());
  ASSERT_THAT(store, Succeeds());
  EXPECT_EQ(AsText(*GetObject(**store, "a", 100)), "at /x?sig=1");
  EXPECT_EQ(AsText(*GetObject(**store, "b", 100)), "at /y");
  EXPECT_THAT((*store)->Size("c"), FailsWith(ErrorCode::kNotFound));
  EXPECT_EQ(*(*store)->List(), (std::vector<std::string>{"a", "b"}));
}

TEST(LinkStoreTest, TakesTheSecondLinkWhereTheFirstFails) {
  LoopbackServer server([](const SeenRequest& request) -> ScriptedReply {
    if (request.target == "/gone") return {.status = 404};
    return ServeRange(request, "text");
  });
  const auto store =
      MakeLinkStore({{"a", {server.url() + "/gone", server.url() + "/there"}}}, Quick());
  ASSERT_THAT(store, Succeeds());
  EXPECT_EQ(AsText(*GetObject(**store, "a", 100)), "text");
}

TEST(LinkStoreTest, RefusesWhatIsNoLink) {
  EXPECT_THAT(MakeLinkStore({}, {}), FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_THAT(MakeLinkStore({{"a", {}}}, {}), FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_THAT(MakeLinkStore({{"a", {"s3://bucket/x"}}}, {}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("http://")));
}

}  // namespace
}  // namespace dnc::store
