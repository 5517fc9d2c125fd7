// The few header fields of an HTTP answer that a store acts on, out of a server that
// nobody vouches for. A field that is malformed counts as absent.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"

namespace dnc::store {

// "bytes 0-99/1234": the first and last byte of what follows, and the whole's size.
struct ContentRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;              // >= first.
  std::optional<std::uint64_t> total;  // > last. "*": not known.

  friend bool operator==(const ContentRange&, const ContentRange&) = default;
};

struct HttpHeaders {
  std::optional<std::uint64_t> content_length;
  std::optional<ContentRange> content_range;
  // Of "bytes */1234", which goes with status 416.
  std::optional<std::uint64_t> unsatisfied_total;
  std::optional<Duration> retry_after;  // At most an hour.
  std::string content_encoding;         // Lower case; empty for "identity".
  std::string etag;
  std::string bucket_region;  // x-amz-bucket-region.

  // Takes one line, "Name: value" with or without its end. `now` (wall clock) is what a
  // date in Retry-After is compared with.
  void AddLine(std::string_view line, Instant now);
};

std::optional<ContentRange> ParseContentRange(std::string_view value);
// Seconds, or an HTTP date ("Sun, 06 Nov 1994 08:49:37 GMT").
std::optional<Duration> ParseRetryAfter(std::string_view value, Instant now);
// Decimal digits only.
std::optional<std::uint64_t> ParseDecimal(std::string_view text);

}  // namespace dnc::store
