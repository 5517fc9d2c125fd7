// What a client that is broken, slow or hostile sends, by plain sockets; and how the
// server starts.

#include <arpa/inet.h>
#include <poll.h>
#include <sqlite3.h>
#include <sys/socket.h>

#include "loopback/loopback.h"
#include "testing/testing.h"

namespace dnc::loopback {
namespace {

using test::FailsWith;
using test::Succeeds;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class RawConnection {
 public:
  explicit RawConnection(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    DNC_ASSERT(::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  }
  ~RawConnection() { ::close(fd_); }

  void Send(const std::string& bytes) {
    static_cast<void>(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL));
  }
  // What arrives until the server closes, or `enough` is in it, or 20 s have passed.
  std::string Receive(const std::string& enough = "") {
    std::string received;
    const Instant end = MonotonicNow() + Duration::Seconds(20);
    while (MonotonicNow() < end) {
      pollfd ready{fd_, POLLIN, 0};
      if (::poll(&ready, 1, 50) <= 0) continue;
      char buffer[4096];
      const auto got = ::recv(fd_, buffer, sizeof buffer, 0);
      if (got <= 0) {
        closed_ = true;
        break;
      }
      received.append(buffer, static_cast<std::size_t>(got));
      if (!enough.empty() && received.find(enough) != std::string::npos) break;
    }
    return received;
  }
  bool closed() const { return closed_; }

 private:
  int fd_;
  bool closed_ = false;
};

class HttpTest : public ::testing::Test {
 protected:
  void Begin(server::ServerOptions options = {}) {
    server_ = std::make_unique<TestServer>(folder_ / "state", options);
  }
  std::uint16_t port() { return server_->server().port(); }

  test::TemporaryFolder folder_;
  std::unique_ptr<TestServer> server_;
};

const std::string kStatus = "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n";

TEST_F(HttpTest, AnswersRequestAfterRequestOnOneConnection) {
  Begin();
  RawConnection raw(port());
  for (int i = 0; i < 3; ++i) {
    raw.Send(kStatus);
    EXPECT_THAT(raw.Receive("tasks_leased"), StartsWith("HTTP/1.1 200 OK\r\n"));
  }
  raw.Send(kStatus + kStatus);  // Pipelined.
  std::string both = raw.Receive("tasks_leased");
  if (both.find("HTTP/1.1 200", 1) == std::string::npos) both += raw.Receive("tasks_leased");
  EXPECT_NE(both.find("HTTP/1.1 200", 1), std::string::npos);
  EXPECT_FALSE(raw.closed());
}

TEST_F(HttpTest, ClosesWhereTheClientWantsIt) {
  Begin();
  RawConnection raw(port());
  raw.Send("GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(raw.Receive(), HasSubstr("Connection: close"));
  EXPECT_TRUE(raw.closed());
  RawConnection old(port());
  old.Send("GET /v1/status HTTP/1.0\r\n\r\n");
  EXPECT_THAT(old.Receive(), HasSubstr("200"));
  EXPECT_TRUE(old.closed());
}

TEST_F(HttpTest, AnswersWhatIsNotHttpWithAnErrorAndCloses) {
  Begin();
  for (const std::string& bytes :
       {std::string("hello there\r\n\r\n"), std::string("GET\r\n\r\n"),
        std::string("GET /v1/status HTTP/9.9\r\n\r\n"), std::string("\0\1\2\3\r\n\r\n", 8),
        std::string("POST /v1/accounts HTTP/1.1\r\nContent-Length: x\r\n\r\n"),
        std::string("POST /v1/accounts HTTP/1.1\r\nContent-Length: -1\r\n\r\n")}) {
    SCOPED_TRACE(bytes);
    RawConnection raw(port());
    raw.Send(bytes);
    EXPECT_THAT(raw.Receive(), HasSubstr("invalid_argument"));
    EXPECT_TRUE(raw.closed());
  }
}

TEST_F(HttpTest, RefusesAHeadWithoutEnd) {
  Begin();
  RawConnection raw(port());
  raw.Send("GET /v1/status HTTP/1.1\r\nX: " + std::string(64 << 10, 'x'));
  EXPECT_THAT(raw.Receive(), HasSubstr("too_large"));
}

TEST_F(HttpTest, RefusesABodyThatIsNotJsonAndKeepsTheConnection) {
  Begin();
  RawConnection raw(port());
  for (const std::string body : {"{", "[]", "{\"name\": 5}", "{\"nam\": \"x\"}"}) {
    SCOPED_TRACE(body);
    raw.Send("POST /v1/accounts HTTP/1.1\r\nHost: x\r\nContent-Length: " +
             std::to_string(body.size()) + "\r\n\r\n" + body);
    EXPECT_THAT(raw.Receive("}}"), StartsWith("HTTP/1.1 400"));
  }
  raw.Send(kStatus);
  EXPECT_THAT(raw.Receive("tasks_leased"), HasSubstr("200"));
}

TEST_F(HttpTest, RefusesABodyAboveTheLimitBeforeItComes) {
  Begin();
  RawConnection raw(port());
  raw.Send("POST /v1/accounts HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n");
  EXPECT_THAT(raw.Receive(), StartsWith("HTTP/1.1 413"));
  // And one that does not say how long it is, while it comes.
  RawConnection chunked(port());
  chunked.Send("POST /v1/accounts HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 20; ++i) chunked.Send("2000\r\n" + std::string(0x2000, 'x') + "\r\n");
  EXPECT_THAT(chunked.Receive("too_large"), StartsWith("HTTP/1.1 413"));
}

TEST_F(HttpTest, TakesAChunkedBodyAndExpectContinue) {
  Begin();
  RawConnection raw(port());
  raw.Send(
      "POST /v1/sessions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
      "Expect: 100-continue\r\n\r\n");
  EXPECT_THAT(raw.Receive("\r\n\r\n"), StartsWith("HTTP/1.1 100"));
  raw.Send("a\r\n{\"name\": \"\r\n1f\r\nada\", \"password\": \"wrong one\"} \r\n0\r\n\r\n");
  EXPECT_THAT(raw.Receive("}}"), StartsWith("HTTP/1.1 401"));
}

TEST_F(HttpTest, NamesACallThatIsNotThere) {
  Begin();
  for (const std::string target : {"/", "/v1", "/v1/statu", "/v1/status/", "/v1/projects/",
                                   "/v1/objects/../../lock", "//v1/status"}) {
    SCOPED_TRACE(target);
    RawConnection raw(port());
    raw.Send("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(raw.Receive("}}"), StartsWith("HTTP/1.1 404"));
  }
}

TEST_F(HttpTest, TheAnswerToHeadHasNoBodyEvenIfItIsAnError) {
  Begin();
  RawConnection raw(port());
  raw.Send("HEAD /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n");
  const std::string head = raw.Receive("\r\n\r\n");
  EXPECT_THAT(head, StartsWith("HTTP/1.1 404"));
  EXPECT_TRUE(head.ends_with("\r\n\r\n"));
  raw.Send(kStatus);
  EXPECT_THAT(raw.Receive("tasks_leased"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpTest, ClosesConnectionsThatAreSlowOrSilent) {
  server::ServerOptions options;
  options.header_timeout = Duration::Milliseconds(400);
  options.silence_timeout = Duration::Milliseconds(400);
  options.keep_alive_timeout = Duration::Milliseconds(400);
  Begin(options);
  RawConnection silent(port());
  RawConnection slow_head(port());
  slow_head.Send("GET /v1/st");
  RawConnection slow_body(port());
  slow_body.Send("POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{");
  RawConnection idle(port());
  idle.Send(kStatus);
  EXPECT_THAT(idle.Receive("tasks_leased"), HasSubstr("200"));
  for (RawConnection* raw : {&silent, &slow_head, &slow_body, &idle}) {
    EXPECT_EQ(raw->Receive(), "");
    EXPECT_TRUE(raw->closed());
  }
}

TEST_F(HttpTest, TurnsAwayConnectionsAboveTheLimit) {
  server::ServerOptions options;
  options.connections_max = 2;
  Begin(options);
  auto first = std::make_unique<RawConnection>(port());
  RawConnection second(port());
  first->Send(kStatus);
  second.Send(kStatus);
  first->Receive("tasks_leased");
  second.Receive("tasks_leased");
  RawConnection third(port());
  EXPECT_THAT(third.Receive(), HasSubstr("503"));
  first.reset();
  for (int i = 0; i < 100; ++i) {
    RawConnection again(port());
    again.Send(kStatus);
    if (again.Receive("}").find("200 OK") != std::string::npos) return;
    ::usleep(10'000);
  }
  FAIL() << "a place that became free was not given to another";
}

TEST_F(HttpTest, AnUploadThatBreaksOffLeavesNothing) {
  Begin();
  const auto user = MakeUser(server_->url(), "ada");
  const Result<proto::SessionCreated> session = user->CreateSession({"ada", "correct horse"});
  ASSERT_THAT(session, Succeeds());
  const TinyProject project = MakeTinyProject();
  {
    RawConnection raw(port());
    raw.Send("PUT /v1/objects/" + project.shards.begin()->first +
             " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + session->token +
             "\r\nContent-Length: 1000\r\n\r\n" + std::string(500, 'x'));
    ::usleep(50'000);
  }
  const auto is_empty = [&] { return std::filesystem::is_empty(folder_ / "state/objects"); };
  for (int i = 0; i < 100 && !is_empty(); ++i) ::usleep(10'000);
  EXPECT_TRUE(is_empty());
}

// ---- Starting

TEST_F(HttpTest, RefusesAPortInUse) {
  Begin();
  server::ServerOptions options;
  options.state_dir = folder_ / "another";
  options.listen_port = port();
  options.log_to_stderr = false;
  EXPECT_THAT(server::Server::Start(options),
              FailsWith(ErrorCode::kAlreadyExists, HasSubstr(std::to_string(port()))));
  options.listen_address = "nowhere";
  EXPECT_THAT(server::Server::Start(options),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("nowhere")));
}

TEST_F(HttpTest, RefusesAStateFolderThatAnotherServerUses) {
  Begin();
  server::ServerOptions options;
  options.state_dir = folder_ / "state";
  options.listen_port = 0;
  options.log_to_stderr = false;
  EXPECT_THAT(server::Server::Start(options),
              FailsWith(ErrorCode::kAlreadyExists, HasSubstr("another server")));
  server_->Kill();
  EXPECT_THAT(server::Server::Start(options), Succeeds());
  options.state_dir = "";
  EXPECT_THAT(server::Server::Start(options), FailsWith(ErrorCode::kInvalidArgument));
}

class DatabaseFileTest : public HttpTest {
 protected:
  Status StartAgain() {
    server_->Kill();
    server::ServerOptions options;
    options.state_dir = folder_ / "state";
    options.listen_port = 0;
    options.log_to_stderr = false;
    return server::Server::Start(options).status();
  }
  void Change(const char* sql) {
    server_->Kill();
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open((folder_ / "state/dnc.sqlite").c_str(), &database), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(database, sql, nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(database);
  }
};

TEST_F(DatabaseFileTest, RefusesTablesOfALaterVersion) {
  Begin();
  Change("PRAGMA user_version = 99");
  EXPECT_THAT(StartAgain(), FailsWith(ErrorCode::kUnsupported, HasSubstr("later version")));
}

TEST_F(DatabaseFileTest, RefusesAForeignDatabaseAndAFileThatIsNone) {
  Begin();
  Change("PRAGMA application_id = 5");
  EXPECT_THAT(StartAgain(), FailsWith(ErrorCode::kCorrupt, HasSubstr("not one of a dnc server")));
  for (const char* suffix : {"", "-wal", "-shm"}) {
    std::filesystem::remove(folder_ / ("state/dnc.sqlite" + std::string(suffix)));
  }
  ASSERT_THAT(WriteFileAtomically(folder_ / "state/dnc.sqlite", AsBytes(std::string(9000, 'x'))),
              Succeeds());
  EXPECT_THAT(StartAgain(), FailsWith(ErrorCode::kCorrupt));
}

TEST_F(DatabaseFileTest, RefusesADamagedEventLog) {
  Begin();
  const auto user = MakeUser(server_->url(), "ada");
  ASSERT_THAT(Submit(user.get(), MakeTinyProject()), Succeeds());
  Change("UPDATE events SET bytes = x'00' WHERE seq = 1");
  EXPECT_THAT(StartAgain(),
              FailsWith(::testing::AnyOf(ErrorCode::kCorrupt, ErrorCode::kUnsupported),
                        HasSubstr("event 1")));
  Change("DELETE FROM events");
  EXPECT_THAT(StartAgain(), FailsWith(ErrorCode::kCorrupt, HasSubstr("not in the event log")));
}

}  // namespace
}  // namespace dnc::loopback
