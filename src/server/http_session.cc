#include "server/http_session.h"

#include <sys/socket.h>

#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>

#include "base/human.h"

namespace dnc::server {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

constexpr std::size_t kChunkBytes = 64u << 10;
constexpr std::uint32_t kHeadBytesMax = 16u << 10;
constexpr Duration kLingerMax = Duration::Seconds(2);

const char* ReasonPhrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 416:
      return "Range Not Satisfiable";
    default:
      return status < 400 ? "OK" : "Error";
  }
}

}  // namespace

// The Exchange of one request. It keeps the session, and with it the connection, for
// as long as an answer may come.
class SessionExchange final : public Exchange {
 public:
  SessionExchange(std::shared_ptr<HttpSession> session, std::uint64_t number)
      : session_(std::move(session)), number_(number) {}

  void Respond(Response response) override {
    if (IsCurrent()) session_->Answer(std::move(response));
  }

  void OnAbandoned(std::function<void()> task) override {
    if (!IsCurrent()) return;
    session_->on_abandoned_ = std::move(task);
    session_->Watch();
  }

 private:
  bool IsCurrent() const {
    return session_->exchange_number_ == number_ && session_->awaiting_answer_;
  }

  std::shared_ptr<HttpSession> session_;
  std::uint64_t number_;
};

HttpSession::HttpSession(std::shared_ptr<HttpServer::Impl> server, asio::ip::tcp::socket socket)
    : server_(std::move(server)), socket_(std::move(socket)), timer_(socket_.get_executor()) {}

HttpSession::~HttpSession() { server_->Ended(this); }

void HttpSession::Start() {
  server_->sessions.insert(this);
  boost::system::error_code ignored;
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  ReadHead(true);
}

void HttpSession::Arm(Duration timeout) {
  timer_.expires_after(std::chrono::microseconds(timeout.us));
  timer_.async_wait([self = weak_from_this()](ErrorOf error) {
    const std::shared_ptr<HttpSession> session = self.lock();
    if (!error && session != nullptr) session->Abort();
  });
}

void HttpSession::Abort() {
  boost::system::error_code ignored;
  socket_.close(ignored);  // Ends whatever operation is in progress.
  timer_.cancel();
}

void HttpSession::CloseWhenIdle() {
  if (in_exchange_) {
    close_after_ = true;
  } else {
    Abort();
  }
}

void HttpSession::ReadHead(bool first) {
  in_exchange_ = false;
  on_abandoned_ = nullptr;
  parser_.emplace();
  parser_->header_limit(kHeadBytesMax);
  parser_->body_limit(UINT64_MAX);  // Counted by TakeBody.
  if (server_->draining) return Abort();
  const auto read = [self = shared_from_this()](ErrorOf error) {
    if (error) return;
    self->Arm(self->server_->options.header_timeout);
    http::async_read_header(self->socket_, self->buffer_, *self->parser_,
                            [self](ErrorOf read_error, std::size_t) { self->OnHead(read_error); });
  };
  if (buffer_.size() > 0) return read({});
  buffer_.shrink_to_fit();  // An idle connection holds no memory for reading.
  chunk_ = {};
  Arm(first ? server_->options.header_timeout : server_->options.keep_alive_timeout);
  socket_.async_wait(asio::ip::tcp::socket::wait_read, read);
}

void HttpSession::OnHead(ErrorOf error) {
  if (error == http::error::end_of_stream) return Finish();
  if (error && error.category() != make_error_code(http::error::bad_version).category()) {
    return Finish();  // The network's, or our own timer.
  }
  ++exchange_number_;
  in_exchange_ = true;
  close_after_ = true;
  body_unread_ = true;
  plan_ = {};
  bytes_in_ = bytes_out_ = 0;
  if (error == http::error::partial_message) return Finish();
  if (error == http::error::header_limit) {
    return Refuse(
        {ErrorCode::kTooLarge, "the request's head is above " + FormatByteCount(kHeadBytesMax)});
  }
  if (error) return Refuse({ErrorCode::kInvalidArgument, "not HTTP/1.1: " + error.message()});

  const auto& message = parser_->get();
  RequestHead head;
  head.method = std::string(message.method_string());
  const std::string target(message.target());
  const auto question = target.find('?');
  head.path = target.substr(0, question);
  if (question != std::string::npos) head.query = target.substr(question + 1);
  const std::string authorization(message[http::field::authorization]);
  if (authorization.starts_with("Bearer ")) head.token = authorization.substr(7);
  head.range = std::string(message[http::field::range]);
  if (const auto length = parser_->content_length()) {
    head.has_length = true;
    head.content_length = *length;
  }
  Begin(head);
}

void HttpSession::Begin(const RequestHead& head) {
  Result<BodyPlan> plan = server_->handler->OnHead(head);
  if (!plan.ok()) {
    // Without a body to come there is no reason to close.
    if (parser_->is_done() || (head.has_length && head.content_length == 0)) {
      close_after_ = !parser_->keep_alive() || server_->draining;
      body_unread_ = false;
    }
    return Refuse(plan.error());
  }
  plan_ = std::move(*plan);
  body_.clear();
  if (head.has_length && head.content_length > plan_.bytes_max) {
    return Refuse({ErrorCode::kTooLarge, "the body has " + FormatCount(head.content_length) +
                                             " bytes; the limit here is " +
                                             FormatCount(plan_.bytes_max)});
  }
  if (parser_->is_done()) return Handle();
  chunk_.resize(kChunkBytes);
  const std::string expect(parser_->get()[http::field::expect]);
  if (expect.empty()) return ReadBody();
  if (!boost::beast::iequals(expect, "100-continue")) {
    return Refuse({ErrorCode::kUnsupported, "Expect: " + expect + " is not supported"});
  }
  out_ = "HTTP/1.1 100 Continue\r\n\r\n";
  Arm(server_->options.silence_timeout);
  asio::async_write(socket_, asio::buffer(out_),
                    [self = shared_from_this()](ErrorOf error, std::size_t) {
                      if (error) return self->Finish();
                      self->ReadBody();
                    });
}

void HttpSession::ReadBody() {
  Arm(server_->options.silence_timeout);
  auto& body = parser_->get().body();
  body.data = chunk_.data();
  body.size = chunk_.size();
  body.more = true;
  http::async_read_some(
      socket_, buffer_, *parser_,
      [self = shared_from_this()](ErrorOf error, std::size_t) { self->OnBody(error); });
}

void HttpSession::OnBody(ErrorOf error) {
  if (error && error != http::error::need_buffer) {
    if (error.category() == make_error_code(http::error::bad_version).category() &&
        error != http::error::partial_message) {
      return Refuse({ErrorCode::kInvalidArgument, "not HTTP/1.1: " + error.message()});
    }
    return Finish();
  }
  if (!TakeBody(chunk_.size() - parser_->get().body().size)) return;
  if (parser_->is_done()) return Handle();
  ReadBody();
}

bool HttpSession::TakeBody(std::size_t bytes) {
  bytes_in_ += bytes;
  if (bytes_in_ > plan_.bytes_max) {
    Refuse({ErrorCode::kTooLarge,
            "the body is above the limit of " + FormatCount(plan_.bytes_max) + " bytes"});
    return false;
  }
  if (!plan_.sink) {
    body_.append(chunk_.data(), bytes);
    return true;
  }
  const ByteSpan span(reinterpret_cast<const std::byte*>(chunk_.data()), bytes);
  if (const Status taken = plan_.sink(span); !taken.ok()) {
    Refuse(taken.error());
    return false;
  }
  return true;
}

void HttpSession::Handle() {
  timer_.cancel();
  body_unread_ = false;
  close_after_ = !parser_->keep_alive() || server_->draining;
  awaiting_answer_ = true;
  const auto handle = std::move(plan_.handle);
  plan_.handle = nullptr;
  plan_.sink = nullptr;
  handle(std::move(body_), std::make_shared<SessionExchange>(shared_from_this(), exchange_number_));
  body_ = {};
}

// Notices a client that goes while it waits: the one thing that it can do before the
// answer is to close, or to send its next request.
void HttpSession::Watch() {
  if (buffer_.size() > 0 || watching_) return;
  watching_ = true;
  socket_.async_wait(asio::ip::tcp::socket::wait_read, [self = shared_from_this()](ErrorOf error) {
    self->watching_ = false;
    if (error || !self->awaiting_answer_) return;
    char byte = 0;
    const auto got = ::recv(self->socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got > 0) return;  // Its next request; the answer comes first.
    self->Finish();
  });
}

void HttpSession::Refuse(const Error& error) {
  awaiting_answer_ = true;
  Answer(ErrorResponse(error));
}

std::string HttpSession::FormatHead(const Response& response, std::uint64_t body_bytes) const {
  std::string head =
      "HTTP/1.1 " + std::to_string(response.status) + " " + ReasonPhrase(response.status) + "\r\n";
  if (response.status != 204) {
    head += "Content-Type: " + response.content_type + "\r\n";
    head += "Content-Length: " + std::to_string(body_bytes) + "\r\n";
  }
  for (const auto& [name, value] : response.headers) head += name + ": " + value + "\r\n";
  if (close_after_) head += "Connection: close\r\n";
  head += "\r\n";
  return head;
}

void HttpSession::Answer(Response response) {
  awaiting_answer_ = false;
  on_abandoned_ = nullptr;
  if (!socket_.is_open()) return Finish();
  boost::system::error_code ignored;
  if (watching_) socket_.cancel(ignored);
  response_ = std::move(response);
  if (server_->draining) close_after_ = true;
  const std::uint64_t body_bytes = response_.head_only           ? response_.head_bytes
                                   : response_.source != nullptr ? response_.source_bytes
                                                                 : response_.body.size();
  out_ = FormatHead(response_, body_bytes);
  if (response_.head_only || parser_->get().method() == http::verb::head) {
    response_.source = nullptr;  // Also an error has no body then.
  } else if (response_.source == nullptr) {
    out_ += response_.body;
    bytes_out_ = response_.body.size();
  }
  response_.body = {};
  Arm(server_->options.silence_timeout);
  asio::async_write(socket_, asio::buffer(out_),
                    [self = shared_from_this()](ErrorOf error, std::size_t) {
                      if (error) return self->Finish();
                      if (self->response_.source != nullptr) return self->WriteSource();
                      self->AfterAnswer();
                    });
}

void HttpSession::WriteSource() {
  if (response_.source_bytes == 0) return AfterAnswer();
  const std::size_t size = std::min<std::uint64_t>(kChunkBytes, response_.source_bytes);
  chunk_.resize(kChunkBytes);
  const std::span<std::byte> out(reinterpret_cast<std::byte*>(chunk_.data()), size);
  // The length is promised already: all that is left on an error is to break off.
  if (!response_.source->ReadAt(response_.source_offset, out).ok()) {
    Abort();
    return Finish();
  }
  response_.source_offset += size;
  response_.source_bytes -= size;
  bytes_out_ += size;
  Arm(server_->options.silence_timeout);
  asio::async_write(socket_, asio::buffer(chunk_.data(), size),
                    [self = shared_from_this()](ErrorOf error, std::size_t) {
                      if (error) return self->Finish();
                      self->WriteSource();
                    });
}

void HttpSession::AfterAnswer() {
  response_ = {};
  out_ = {};
  if (plan_.on_transferred) plan_.on_transferred(bytes_in_, bytes_out_);
  plan_ = {};
  if (!close_after_) return ReadHead(false);
  boost::system::error_code ignored;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  if (!body_unread_) return Finish();
  chunk_.resize(kChunkBytes);
  Arm(kLingerMax);
  Linger();
}

void HttpSession::Linger() {
  socket_.async_read_some(asio::buffer(chunk_),
                          [self = shared_from_this()](ErrorOf error, std::size_t) {
                            if (error) return self->Finish();
                            self->Linger();
                          });
}

// The end of the connection; the last handler's hold on the session goes with it.
void HttpSession::Finish() {
  awaiting_answer_ = false;
  if (plan_.on_transferred) plan_.on_transferred(bytes_in_, bytes_out_);
  plan_ = {};
  response_ = {};
  if (on_abandoned_) std::exchange(on_abandoned_, nullptr)();
  Abort();
}

}  // namespace dnc::server
