// A small HTTP server on loopback whose every answer a test writes itself: cut short,
// stalled, reset, redirected or plainly wrong. It ends with its destructor.

#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/assert.h"

namespace dnc::store {

struct SeenRequest {
  std::string method;
  std::string target;
  std::map<std::string, std::string> headers;  // Names in lower case.
  std::string body;

  std::string Header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

struct ScriptedReply {
  int status = 200;
  std::vector<std::string> headers;  // "Name: value".
  std::string body;
  bool length = true;                     // Says Content-Length; else the end closes.
  std::size_t body_bytes_max = SIZE_MAX;  // Closes after so many.
  bool reset = false;                     // Closes before any answer.
  bool stall = false;                     // Keeps silent after what it sends.
};

class LoopbackServer {
 public:
  using Handler = std::function<ScriptedReply(const SeenRequest&)>;

  explicit LoopbackServer(Handler handler) : handler_(std::move(handler)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    DNC_ASSERT(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    DNC_ASSERT(::listen(listener_, 64) == 0);
    socklen_t size = sizeof address;
    DNC_ASSERT(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { Accept(); });
  }
  ~LoopbackServer() {
    stop_ = true;
    acceptor_.join();
    for (std::thread& thread : connections_) thread.join();
    ::close(listener_);
  }
  LoopbackServer(const LoopbackServer&) = delete;
  LoopbackServer& operator=(const LoopbackServer&) = delete;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  std::vector<SeenRequest> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  int connection_count() const { return connection_count_; }

 private:
  static constexpr int kPollMs = 20;

  bool WaitReadable(int fd) const {
    while (!stop_) {
      pollfd poll{fd, POLLIN, 0};
      if (::poll(&poll, 1, kPollMs) > 0) return true;
    }
    return false;
  }

  void Accept() {
    while (WaitReadable(listener_)) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) continue;
      ++connection_count_;
      connections_.emplace_back([this, fd] {
        while (ServeOne(fd)) {
        }
        ::close(fd);
      });
    }
  }

  // More bytes into `text`; false at the end.
  bool Receive(int fd, std::string* text) const {
    char buffer[16384];
    if (!WaitReadable(fd)) return false;
    const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
    if (got <= 0) return false;
    text->append(buffer, static_cast<std::size_t>(got));
    return true;
  }

  bool ReceiveRequest(int fd, SeenRequest* request) const {
    std::string text;
    std::size_t end = 0;
    while ((end = text.find("\r\n\r\n")) == std::string::npos) {
      if (!Receive(fd, &text)) return false;
    }
    request->body = text.substr(end + 4);
    std::string head = text.substr(0, end);
    const std::size_t line_end = std::min(head.find("\r\n"), head.size());
    const std::string line = head.substr(0, line_end);
    const std::size_t space = line.find(' ');
    request->method = line.substr(0, space);
    request->target = line.substr(space + 1, line.rfind(' ') - space - 1);
    for (std::size_t at = line_end; at < head.size();) {
      at += 2;
      const std::size_t next = std::min(head.find("\r\n", at), head.size());
      const std::string field = head.substr(at, next - at);
      const std::size_t colon = std::min(field.find(':'), field.size());
      std::string name = field.substr(0, colon);
      std::transform(name.begin(), name.end(), name.begin(),
                     [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      const std::size_t value = field.find_first_not_of(' ', colon + 1);
      request->headers[name] = value == std::string::npos ? "" : field.substr(value);
      at = next;
    }
    std::size_t length = 0;
    const std::string said = request->Header("content-length");
    std::from_chars(said.data(), said.data() + said.size(), length);
    while (request->body.size() < length) {
      if (!Receive(fd, &request->body)) return false;
    }
    return true;
  }

  bool ServeOne(int fd) {
    SeenRequest request;
    if (!ReceiveRequest(fd, &request)) return false;
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
    }
    const ScriptedReply reply = handler_(request);
    if (reply.reset) {
      const linger now{1, 0};
      ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
      return false;
    }
    std::string text = "HTTP/1.1 " + std::to_string(reply.status) + " Said\r\n";
    if (reply.length) text += "Content-Length: " + std::to_string(reply.body.size()) + "\r\n";
    for (const std::string& header : reply.headers) text += header + "\r\n";
    text += "\r\n";
    if (request.method != "HEAD") text += reply.body.substr(0, reply.body_bytes_max);
    for (std::size_t sent = 0; sent < text.size();) {
      const ssize_t count = ::send(fd, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (count <= 0) return false;
      sent += static_cast<std::size_t>(count);
    }
    while (reply.stall && !stop_) {
      ::poll(nullptr, 0, kPollMs);
    }
    return reply.length && reply.body.size() <= reply.body_bytes_max;
  }

  const Handler handler_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<bool> stop_ = false;
  std::atomic<int> connection_count_ = 0;
  mutable std::mutex mutex_;
  std::vector<SeenRequest> requests_;
  std::vector<std::thread> connections_;  // Of the acceptor alone, until it ended.
  std::thread acceptor_;
};

// Serves `body` with ranges, as a good server does.
inline ScriptedReply ServeRange(const SeenRequest& request, const std::string& body) {
  const std::string range = request.Header("range");
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  if (!range.starts_with("bytes=")) return {.body = body};
  const char* const end = range.data() + range.size();
  const auto dash = std::from_chars(range.data() + 6, end, first).ptr;
  std::from_chars(dash + 1, end, last);
  const std::string total = std::to_string(body.size());
  if (first >= body.size()) return {.status = 416, .headers = {"Content-Range: bytes */" + total}};
  last = std::min<std::uint64_t>(last, body.size() - 1);
  return {.status = 206,
          .headers = {"Content-Range: bytes " + std::to_string(first) + "-" + std::to_string(last) +
                      "/" + total},
          .body = body.substr(first, last - first + 1)};
}

}  // namespace dnc::store
