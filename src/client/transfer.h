// One HTTP exchange after another over kept-alive connections, by libcurl. Knows
// nothing of the REST interface; client.cc does.
//
// Thread-safe: each exchange in progress has a connection of its own.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "client/client.h"

namespace dnc::client {

struct Exchange {
  std::string method = "GET";
  std::string url;
  std::string token;         // Bearer token; empty: none.
  std::string range;         // "0-99"; empty: the whole.
  std::string content_type;  // Of what is sent; empty: nothing is.
  std::uint64_t upload_bytes = 0;
  const Client::UploadSource* upload = nullptr;  // Not null if content_type is set.
  const Client::DownloadSink* sink = nullptr;    // Of a 2xx body; null: Reply::body.
  std::uint64_t body_bytes_max = 0;              // Of Reply::body. An error's: at most 1 MiB.
  Duration connect_timeout;
  Duration silence_max;
  const std::atomic<bool>* cancelled = nullptr;
};

struct Reply {
  int status = 0;
  Bytes body;
  std::uint64_t content_length = 0;  // As the header says.
};

struct TransferError {
  Error error;
  bool connected = true;   // false: nothing can have reached the server.
  bool sink_used = false;  // The sink has received bytes.
};

class TransferPool {
 public:
  TransferPool();
  ~TransferPool();

  // Blocks until the exchange is over. Any HTTP status is a success here.
  // Errors: kUnavailable, kCancelled; kTooLarge, a body above body_bytes_max;
  // kInvalidArgument, a bad address; kPermissionDenied, a certificate that is not
  // trusted; those of the source and the sink.
  std::variant<Reply, TransferError> Run(const Exchange& exchange);

  std::uint64_t bytes_sent() const { return bytes_sent_; }
  std::uint64_t bytes_received() const { return bytes_received_; }

 private:
  struct Connection;
  struct State;
  std::unique_ptr<Connection> Borrow();
  void GiveBack(std::unique_ptr<Connection> connection);

  std::mutex mutex_;
  std::vector<std::unique_ptr<Connection>> idle_;
  std::atomic<std::uint64_t> bytes_sent_ = 0;
  std::atomic<std::uint64_t> bytes_received_ = 0;
};

}  // namespace dnc::client
