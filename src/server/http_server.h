// The listener and its connections: HTTP/1.1 with keep-alive, under limits of time
// and number. Bodies pass through 64 KiB at a time in either direction.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "server/http.h"
#include "server/loop.h"

namespace dnc::server {

struct HttpOptions {
  std::string address;
  std::uint16_t port = 0;
  std::uint32_t connections_max = 1024;
  Duration header_timeout;      // From a request's first byte to the end of its head.
  Duration silence_timeout;     // Without a byte inside a body, either way.
  Duration keep_alive_timeout;  // Between requests.
};

class HttpServer {
 public:
  // Listens at once. `loop` and `handler` must outlive the server.
  // Errors: kInvalidArgument, not an address; kAlreadyExists, the port is in use;
  // kPermissionDenied; kIo.
  static Result<std::unique_ptr<HttpServer>> Start(Loop* loop, Handler* handler,
                                                   const HttpOptions& options);
  // After the loop has ended, or on its thread.
  ~HttpServer();

  std::uint16_t port() const;

  // On the loop's thread: takes no more connections, closes the idle ones, and calls
  // `done` when all others have been answered, or after `patience`.
  void Drain(Duration patience, std::function<void()> done);

 private:
  friend class HttpSession;
  struct Impl;  // Keeps Asio out of this header.
  explicit HttpServer(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace dnc::server
