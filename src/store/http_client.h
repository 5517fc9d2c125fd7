// HTTP exchanges by libcurl, over connections that are kept and shared by a store's
// threads. What a request may take is bounded: its answer's size, its silence, the
// number of its redirects; the bandwidth of all of them by store/rate_limiter.h.
// Certificates are checked, and a redirect never leads from https to http.
//
// Thread-safe: a call blocks while connections_max others are under way.

#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/prng.h"
#include "base/result.h"
#include "store/http_headers.h"
#include "store/open_store.h"

namespace dnc::store {

// Who signs a request to S3; libcurl computes the signature (version 4).
struct S3Signer {
  std::string access_key;
  std::string secret_key;
  std::string session_token;  // Usually empty.
  std::string region;
};

struct HttpResponse {
  int status = 0;
  HttpHeaders headers;
  Bytes body;  // Of an error, or without a sink.

  bool ok() const { return status >= 200 && status < 300; }
};

// What is sent, and perhaps sent again from its start.
struct HttpBody {
  std::uint64_t bytes = 0;
  // Fills `out`, which ends at `bytes` at most.
  std::function<Status(std::uint64_t offset, std::span<std::byte> out)> read;
};

// A body that the caller keeps alive.
HttpBody BodyOf(ByteSpan bytes);

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  std::vector<std::string> headers;         // "Name: value".
  std::string range;                        // "0-99"; empty: the whole.
  const HttpBody* body = nullptr;           // Sent; null: none. Outlives the request.
  std::uint64_t body_bytes_max = 1u << 20;  // Of HttpResponse::body.
  // Called once the headers of a 2xx answer are there; an error ends the transfer.
  std::function<Status(const HttpResponse&)> start;
  // Takes the body of a 2xx answer, piece by piece; false: it is enough, which ends the
  // transfer well. Null: HttpResponse::body does.
  std::function<Result<bool>(ByteSpan)> sink;
  bool follow_redirects = true;
  bool internal_error_passes = true;  // Status 500, which some servers use for all errors.
  const S3Signer* signer = nullptr;   // Outlives the request.
};

// Whether an answer of this status may be another one a moment later.
bool IsPassingStatus(int status);

// A URL for messages: without password, query (which may be a signature) and fragment.
std::string DisplayUrl(std::string_view url);

// `text` with all but A-Z a-z 0-9 - . _ ~ (and '/' where it is kept) as %XX.
std::string PercentEncode(std::string_view text, bool keep_slash = false);

class HttpClient {
 public:
  explicit HttpClient(const StoreOptions& options);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // One exchange; whatever the status, it is a success.
  // Errors: kUnavailable, no connection, broken off, or no progress; kTooLarge, a body
  // above its limit; kPermissionDenied, a certificate that is not trusted; kCancelled;
  // kInvalidArgument, a bad URL; those of `start` and `sink`.
  Result<HttpResponse> Try(const HttpRequest& request);
  // Exchanges until the status does not pass, or attempts_max of them. Requires: a sink
  // that may be called from the start again, or none.
  // Errors: as Try; kUnavailable, the status that did not pass.
  Result<HttpResponse> Run(const HttpRequest& request);

  const StoreOptions& options() const { return options_; }

  // How long to wait before try `try_count` + 1: doubles, with jitter.
  Duration WaitBefore(int try_count);

 private:
  struct Connection;
  struct Exchange;
  std::unique_ptr<Connection> Borrow();
  void GiveBack(std::unique_ptr<Connection> connection);

  const StoreOptions options_;
  std::mutex mutex_;  // Guards all below.
  std::condition_variable returned_;
  std::vector<std::unique_ptr<Connection>> idle_;
  int borrowed_ = 0;
  Prng prng_;
};

// Counts the tries of one piece of work, and waits between them.
class Retry {
 public:
  explicit Retry(HttpClient* client) : client_(client) {}
  // After a failure that may pass. Errors: `error`, when tries are used up, saying so;
  // kCancelled.
  Status Next(const Error& error, std::optional<Duration> retry_after = {});
  // There was progress: begins to count anew.
  void Reset() { tries_ = 0; }

 private:
  HttpClient* client_;
  int tries_ = 0;
};

// The error of a status that is not 2xx; `what` names what was asked for.
Error StatusError(const HttpResponse& response, const std::string& what);

}  // namespace dnc::store
