// One object behind a URL: its size, and any part of it by range, from servers that may
// know no ranges, break off, or lie. Private to this room.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "store/http_client.h"

namespace dnc::store {

struct HttpObject {
  std::string url;
  std::string key;    // For messages,
  std::string store;  // as both together.
  std::vector<std::string> headers;
  const S3Signer* signer = nullptr;
  bool follow_redirects = true;
  // Makes the error of a status that is not 2xx; null: as HTTP alone says.
  Error (*status_error)(const HttpObject& object, const HttpResponse& response) = nullptr;
};

// "KEY in STORE (URL)".
std::string NameOf(const HttpObject& object);

// By HEAD; where that says nothing, by asking for the first byte. A server that tells no
// length at all is read to the end, without keeping anything.
// Errors: kNotFound; kUnsupported, an answer that is encoded; those of HttpClient::Run.
Result<std::uint64_t> HttpObjectSize(HttpClient* client, const HttpObject& object);

// Fills all of `out`, one range a request. What was broken off goes on where it stopped.
// A server without ranges sends the object from its start; what lies before `offset` is
// passed over, and the rest is not taken.
// Errors: kCorrupt, the object ends before, or the server sends another range than asked;
// those of HttpObjectSize.
Status ReadHttpObject(HttpClient* client, const HttpObject& object, std::uint64_t offset,
                      std::span<std::byte> out);

}  // namespace dnc::store
