// The client against a server of the test's own, which says and does what no honest
// one would. What it does with the real one is tested in the room loopback.

#include "client/client.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <deque>
#include <mutex>
#include <thread>

#include "testing/testing.h"

namespace dnc::client {
namespace {

using test::FailsWith;
using test::Succeeds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string HttpAnswer(int status, const std::string& body) {
  return "HTTP/1.1 " + std::to_string(status) +
         " X\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

constexpr char kHangUp[] = "hang up";   // Closes without a word.
constexpr char kSilence[] = "silence";  // Says nothing for ever.

// Answers one request a connection, each with the next text of a script.
class ScriptedServer {
 public:
  explicit ScriptedServer(std::deque<std::string> script) : script_(std::move(script)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    DNC_ASSERT(::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0);
    DNC_ASSERT(::listen(listener_, 16) == 0);
    DNC_ASSERT(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    url_ = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    thread_ = std::thread([this] { Run(); });
  }
  ~ScriptedServer() {
    stop_ = true;
    thread_.join();
    ::close(listener_);
  }

  const std::string& url() const { return url_; }
  std::vector<std::string> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void Run() {
    while (!stop_) {
      pollfd ready{listener_, POLLIN, 0};
      if (::poll(&ready, 1, 5) <= 0) continue;
      const int fd = ::accept(listener_, nullptr, nullptr);
      if (fd < 0) continue;
      Serve(fd);
      ::close(fd);
    }
  }

  // Reads a head and the body that it promises.
  std::string ReadRequest(int fd) {
    std::string request;
    while (!stop_) {
      const auto end = request.find("\r\n\r\n");
      if (end != std::string::npos) {
        const auto at = request.find("Content-Length: ");
        const std::size_t body = at < end ? std::stoul(request.substr(at + 16)) : 0;
        if (request.size() >= end + 4 + body) break;
      }
      pollfd ready{fd, POLLIN, 0};
      if (::poll(&ready, 1, 5) <= 0) continue;
      char buffer[65536];
      const auto got = ::recv(fd, buffer, sizeof buffer, 0);
      if (got <= 0) break;
      request.append(buffer, static_cast<std::size_t>(got));
    }
    return request;
  }

  void Serve(int fd) {
    const std::string request = ReadRequest(fd);
    std::string answer = kHangUp;
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
      if (!script_.empty()) {
        answer = script_.front();
        script_.pop_front();
      }
    }
    if (answer == kHangUp) return;
    if (answer == kSilence) {
      while (!stop_) ::usleep(2000);
      return;
    }
    static_cast<void>(::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL));
    ::shutdown(fd, SHUT_WR);
  }

  int listener_ = -1;
  std::string url_;
  std::thread thread_;
  std::atomic<bool> stop_ = false;
  std::mutex mutex_;
  std::deque<std::string> script_;
  std::vector<std::string> requests_;
};

ClientOptions QuickOptions(const std::string& url) {
  ClientOptions options;
  options.base_url = url;
  options.token = "secret-token";
  options.retry.wait_first = Duration::Milliseconds(5);
  options.retry.wait_max = Duration::Milliseconds(20);
  options.retry.give_up_after = Duration::Seconds(20);
  options.connect_timeout = Duration::Seconds(1);
  options.silence_max = Duration::Seconds(20);
  return options;
}

std::unique_ptr<Client> Make(const ClientOptions& options) {
  Result<std::unique_ptr<Client>> client = Client::Create(options);
  EXPECT_THAT(client, Succeeds());
  return std::move(*client);
}

// An address at which nobody listens.
std::string DeadUrl() {
  ScriptedServer server({});
  return server.url();
}

const std::string kAccount = R"({"name": "ada", "created_us": 5, "projects": 2})";

TEST(ClientTest, RefusesWhatIsNotAnAddress) {
  for (const char* url :
       {"", "127.0.0.1:7070", "ftp://x", "http://", "http://a b", "https://x?y"}) {
    SCOPED_TRACE(url);
    EXPECT_THAT(Client::Create({.base_url = url}),
                FailsWith(ErrorCode::kInvalidArgument, HasSubstr("http://127.0.0.1:7070")));
  }
  EXPECT_EQ(Make({.base_url = "http://localhost:1/"})->base_url(), "http://localhost:1");
}

TEST(ClientTest, SendsItsTokenAndReadsTheAnswer) {
  ScriptedServer server({HttpAnswer(200, kAccount), HttpAnswer(200, kAccount)});
  const auto client = Make(QuickOptions(server.url()));
  const Result<proto::AccountInfo> info = client->GetAccount();
  ASSERT_THAT(info, Succeeds());
  EXPECT_EQ(info->name, "ada");
  EXPECT_THAT(server.requests()[0], AllOf(HasSubstr("GET /v1/account HTTP/1.1"),
                                          HasSubstr("Authorization: Bearer secret-token")));
  client->SetToken("");
  EXPECT_THAT(client->GetAccount(), Succeeds());
  EXPECT_THAT(server.requests()[1], Not(HasSubstr("Authorization")));
  EXPECT_EQ(client->byte_counts().received, 2 * kAccount.size());
}

TEST(ClientTest, PassesOnWhatTheServerRefuses) {
  ScriptedServer server({HttpAnswer(410, proto::ErrorToJson({ErrorCode::kStale, "too late"})),
                         HttpAnswer(403, "<html>"), HttpAnswer(302, "")});
  const auto client = Make(QuickOptions(server.url()));
  EXPECT_THAT(client->GetAccount(), FailsWith(ErrorCode::kStale, std::string("too late")));
  EXPECT_THAT(client->GetAccount(), FailsWith(ErrorCode::kPermissionDenied, HasSubstr("403")));
  EXPECT_THAT(client->GetAccount(), FailsWith(ErrorCode::kCorrupt, HasSubstr("302")));
  EXPECT_EQ(server.requests().size(), 3u);
}

TEST(ClientTest, RefusesAnswersThatAreNotOurs) {
  ScriptedServer server({HttpAnswer(200, "<html>hello</html>"), HttpAnswer(200, "{}"),
                         HttpAnswer(200, std::string(2 << 20, ' '))});
  const auto client = Make(QuickOptions(server.url()));
  EXPECT_THAT(client->GetAccount(), FailsWith(ErrorCode::kCorrupt, HasSubstr("dnc server")));
  EXPECT_THAT(client->GetAccount(), FailsWith(ErrorCode::kCorrupt, HasSubstr("name")));
  EXPECT_THAT(client->GetAccount(), FailsWith(ErrorCode::kTooLarge));
}

TEST(ClientTest, RetriesAServerThatIsNotThereAndSaysSo) {
  ClientOptions options = QuickOptions(DeadUrl());
  options.retry.give_up_after = Duration::Milliseconds(300);
  int told = 0;
  options.retry.on_retry = [&](const Error& error, Duration wait) {
    ++told;
    EXPECT_EQ(error.code, ErrorCode::kUnavailable);
    EXPECT_THAT(error.message, HasSubstr("not reachable"));
    EXPECT_LE(wait, Duration::Milliseconds(20));
    EXPECT_GE(wait, Duration::Milliseconds(2));
  };
  EXPECT_THAT(Make(options)->GetAccount(),
              FailsWith(ErrorCode::kUnavailable,
                        AllOf(HasSubstr("not reachable"), HasSubstr("gave up after"))));
  EXPECT_GE(told, 1);
}

TEST(ClientTest, DoesNotRetryWithoutTimeForIt) {
  ClientOptions options = QuickOptions(DeadUrl());
  options.retry.give_up_after = {};
  options.retry.on_retry = [](const Error&, Duration) { FAIL(); };
  EXPECT_THAT(Make(options)->GetAccount(), FailsWith(ErrorCode::kUnavailable));
}

TEST(ClientTest, RetriesCallsThatMayBeRepeated) {
  ScriptedServer server(
      {kHangUp, HttpAnswer(503, ""), HttpAnswer(502, "<html>"), HttpAnswer(200, kAccount)});
  EXPECT_THAT(Make(QuickOptions(server.url()))->GetAccount(), Succeeds());
  EXPECT_EQ(server.requests().size(), 4u);
}

TEST(ClientTest, DoesNotRepeatWhatWouldHappenTwice) {
  ScriptedServer server({kHangUp, kHangUp, kHangUp, kHangUp});
  const auto client = Make(QuickOptions(server.url()));
  proto::ProjectSpec spec;
  spec.model_json = spec.manifest_json = "{}";
  EXPECT_THAT(client->SubmitProject(spec), FailsWith(ErrorCode::kUnavailable));
  EXPECT_THAT(client->CreateAccount({"a", "b"}), FailsWith(ErrorCode::kUnavailable));
  EXPECT_THAT(client->CreateProvider({"a", 1, 0}), FailsWith(ErrorCode::kUnavailable));
  EXPECT_EQ(server.requests().size(), 3u);
}

TEST(ClientTest, AnUploadThatBrokeOffBeginsAgain) {
  ScriptedServer server({HttpAnswer(404, ""), kHangUp, HttpAnswer(204, "")});
  const std::string bytes(100'000, 'b');
  const auto source = [&](std::uint64_t offset, std::span<std::byte> out) -> Result<std::size_t> {
    const std::size_t size = std::min({out.size(), bytes.size() - offset, std::size_t{7000}});
    std::copy_n(AsBytes(bytes).begin() + static_cast<std::ptrdiff_t>(offset), size, out.begin());
    return size;
  };
  const auto client = Make(QuickOptions(server.url()));
  ASSERT_THAT(client->PutObject("cid", bytes.size(), source), Succeeds());
  const std::vector<std::string> requests = server.requests();
  ASSERT_EQ(requests.size(), 3u);
  EXPECT_THAT(requests[0], HasSubstr("HEAD /v1/objects/cid"));
  EXPECT_TRUE(requests[2].ends_with("\r\n\r\n" + bytes));
  // libcurl sends once more by itself where a connection that it kept turns out closed.
  EXPECT_GE(client->byte_counts().sent, 2 * bytes.size());
}

TEST(ClientTest, PassesOnTheErrorsOfSourceAndSink) {
  const auto put = [](const Client::UploadSource& source) {
    ScriptedServer server({HttpAnswer(404, ""), HttpAnswer(204, "")});
    return Make(QuickOptions(server.url()))->PutObject("cid", 10, source);
  };
  EXPECT_THAT(put([](std::uint64_t, std::span<std::byte>) -> Result<std::size_t> {
                return Error{ErrorCode::kIo, "the disk is gone"};
              }),
              FailsWith(ErrorCode::kIo, HasSubstr("the disk is gone")));
  EXPECT_THAT(put([](std::uint64_t, std::span<std::byte>) -> Result<std::size_t> {
                return std::size_t{0};
              }),
              FailsWith(ErrorCode::kIo, HasSubstr("ended after 0 of 10")));
  ScriptedServer server({HttpAnswer(200, "bytes")});
  const auto sink = [](ByteSpan) -> Status {
    return Error{ErrorCode::kResourceExhausted, "the disk is full"};
  };
  EXPECT_THAT(Make(QuickOptions(server.url()))->GetObject("cid", sink),
              FailsWith(ErrorCode::kResourceExhausted, HasSubstr("the disk is full")));
}

TEST(ClientTest, ARangeHasToBeTheOneAskedFor) {
  ScriptedServer server({HttpAnswer(206, "12345"), HttpAnswer(206, "123"),
                         HttpAnswer(206, "1234567"), HttpAnswer(200, "12345"),
                         HttpAnswer(200, "12345")});
  const auto client = Make(QuickOptions(server.url()));
  Bytes out(5);
  ASSERT_THAT(client->GetObjectRange("cid", 10, out), Succeeds());
  EXPECT_EQ(AsText(out), "12345");
  EXPECT_THAT(server.requests()[0], HasSubstr("Range: bytes=10-14"));
  EXPECT_THAT(client->GetObjectRange("cid", 10, out),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("ends after 3")));
  EXPECT_THAT(client->GetObjectRange("cid", 10, out), FailsWith(ErrorCode::kCorrupt));
  EXPECT_THAT(client->GetObjectRange("cid", 10, out),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("ignored the range")));
  EXPECT_THAT(client->GetObjectRange("cid", 0, out), Succeeds());
}

TEST(ClientTest, ASilentServerIsGivenUp) {
  ScriptedServer server({kSilence});
  ClientOptions options = QuickOptions(server.url());
  options.retry.give_up_after = {};
  options.silence_max = Duration::Milliseconds(50);
  options.connect_timeout = Duration::Milliseconds(50);
  EXPECT_THAT(Make(options)->GetAccount(),
              FailsWith(ErrorCode::kUnavailable, HasSubstr("no answer for")));
}

TEST(ClientTest, ALongPollEndsSoonAfterItIsCancelled) {
  ScriptedServer server({kSilence});
  std::atomic<bool> cancelled = false;
  ClientOptions options = QuickOptions(server.url());
  options.cancelled = &cancelled;
  const auto client = Make(options);
  std::thread canceller([&] {
    while (server.requests().empty()) ::usleep(1000);
    cancelled = true;
  });
  EXPECT_THAT(client->RequestLease(Duration::Seconds(30)), FailsWith(ErrorCode::kCancelled));
  canceller.join();
  EXPECT_THAT(client->GetAccount(), FailsWith(ErrorCode::kCancelled));
}

TEST(ClientTest, AWaitBetweenTriesEndsSoonAfterItIsCancelled) {
  std::atomic<bool> cancelled = false;
  ClientOptions options = QuickOptions(DeadUrl());
  options.cancelled = &cancelled;
  options.retry.wait_first = options.retry.wait_max = Duration::Minutes(10);
  options.retry.give_up_after = Duration::Minutes(60);
  options.retry.on_retry = [&](const Error&, Duration) { cancelled = true; };
  EXPECT_THAT(Make(options)->GetAccount(), FailsWith(ErrorCode::kCancelled));
}

TEST(ClientTest, LeasesAreReadAndNoWorkIsNoLease) {
  proto::LeaseGrant grant;
  grant.lease_id = {4};
  grant.project_id = {2};
  grant.renew_every_ms = 1000;
  ScriptedServer server({HttpAnswer(200, ToJson(grant)), "HTTP/1.1 204 No Content\r\n\r\n"});
  const auto client = Make(QuickOptions(server.url()));
  const auto lease = client->RequestLease(Duration::Seconds(99));
  ASSERT_THAT(lease, Succeeds());
  ASSERT_TRUE(lease->has_value());
  EXPECT_EQ((*lease)->lease_id, LeaseId{4});
  EXPECT_THAT(server.requests()[0], HasSubstr("\"wait_ms\":30000"));
  const auto none = client->RequestLease({});
  ASSERT_THAT(none, Succeeds());
  EXPECT_FALSE(none->has_value());
}

TEST(ClientTest, AProxyOfTheEnvironmentIsNotAskedForLoopback) {
  ScriptedServer server({HttpAnswer(200, kAccount)});
  ::setenv("http_proxy", "http://127.0.0.1:1", 1);
  ::setenv("all_proxy", "http://127.0.0.1:1", 1);
  EXPECT_THAT(Make(QuickOptions(server.url()))->GetAccount(), Succeeds());
  ::unsetenv("http_proxy");
  ::unsetenv("all_proxy");
}

TEST(ClientTest, ThreadsMayShareAClient) {
  std::deque<std::string> script(40, HttpAnswer(200, kAccount));
  ScriptedServer server(std::move(script));
  const auto client = Make(QuickOptions(server.url()));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10; ++i) EXPECT_THAT(client->GetAccount(), Succeeds());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(client->byte_counts().received, 40 * kAccount.size());
}

}  // namespace
}  // namespace dnc::client
