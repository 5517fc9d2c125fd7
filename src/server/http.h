// HTTP as the rest of the server sees it: plain structs, and no library. An
// HttpServer (http_server.h) reads the head of a request, asks its Handler what to do
// with the body, receives that, and hands over the Exchange to be answered, at once
// or later. All of it happens on the loop's thread.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/random_access_source.h"
#include "base/result.h"

namespace dnc::server {

struct RequestHead {
  std::string method;
  std::string path;   // Without the query; as it came, percent signs and all.
  std::string query;  // Without the '?'.
  std::string token;  // Of "Authorization: Bearer ..."; empty if there is none.
  std::string range;  // The value of "Range"; empty if there is none.
  bool has_length = false;
  std::uint64_t content_length = 0;  // If has_length.
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  // Instead of `body`: a part of something larger, sent piece by piece.
  std::shared_ptr<const RandomAccessSource> source;
  std::uint64_t source_offset = 0;
  std::uint64_t source_bytes = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // Further ones.
  // The answer to HEAD: this length in the header, and no body.
  bool head_only = false;
  std::uint64_t head_bytes = 0;
};

Response JsonResponse(std::string json, int status = 200);
Response ErrorResponse(const Error& error);

class Exchange {
 public:
  virtual ~Exchange() = default;
  // The first call counts, later ones are dropped; so is the answer to a client that
  // has gone.
  virtual void Respond(Response response) = 0;
  void Fail(const Error& error) { Respond(ErrorResponse(error)); }
  // Calls `task`, once, if the client goes before it was answered.
  virtual void OnAbandoned(std::function<void()> task) = 0;
};

// What to do with a request's body.
struct BodyPlan {
  std::uint64_t bytes_max = 0;  // A longer one is refused with kTooLarge.
  // Receives the body as it comes; an error is the answer. Empty: the body is kept in
  // memory and given to `handle`.
  std::function<Status(ByteSpan)> sink;
  // Called when the body is complete.
  std::function<void(std::string body, std::shared_ptr<Exchange> exchange)> handle;
  // Told the bytes of both bodies when the exchange is over, complete or not. May be
  // empty.
  std::function<void(std::uint64_t in, std::uint64_t out)> on_transferred;
};

class Handler {
 public:
  virtual ~Handler() = default;
  // An error is the answer, without the body having been read.
  virtual Result<BodyPlan> OnHead(const RequestHead& head) = 0;
};

}  // namespace dnc::server
