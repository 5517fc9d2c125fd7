#include "store/http_headers.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace dnc::store {
namespace {

constexpr std::size_t kValueBytesMax = 1024;
constexpr Duration kRetryAfterMax = Duration::Minutes(60);

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string LowerText(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), Lower);
  return lower;
}

std::string_view Trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

// What stands in `text` up to `end`, which is removed with it.
std::optional<std::string_view> TakeUntil(char end, std::string_view* text) {
  const std::size_t at = text->find(end);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view taken = text->substr(0, at);
  text->remove_prefix(at + 1);
  return taken;
}

constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

// "Sun, 06 Nov 1994 08:49:37 GMT" as seconds since 1970.
std::optional<std::int64_t> ParseHttpDate(std::string_view text) {
  if (text.size() != 29 || text.substr(25) != " GMT" || text[3] != ',') return std::nullopt;
  const auto number = [&text](std::size_t at, std::size_t size) {
    return ParseDecimal(text.substr(at, size));
  };
  const auto month = std::find(kMonths.begin(), kMonths.end(), text.substr(8, 3));
  const auto day = number(5, 2), year = number(12, 4);
  const auto hour = number(17, 2), minute = number(20, 2), second = number(23, 2);
  if (month == kMonths.end() || !day || !year || !hour || !minute || !second || *year < 1970) {
    return std::nullopt;
  }
  struct tm fields {};
  fields.tm_year = static_cast<int>(*year) - 1900;
  fields.tm_mon = static_cast<int>(month - kMonths.begin());
  fields.tm_mday = static_cast<int>(*day);
  fields.tm_hour = static_cast<int>(*hour);
  fields.tm_min = static_cast<int>(*minute);
  fields.tm_sec = static_cast<int>(*second);
  return ::timegm(&fields);
}

}  // namespace

std::optional<std::uint64_t> ParseDecimal(std::string_view text) {
  std::uint64_t value = 0;
  if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

std::optional<ContentRange> ParseContentRange(std::string_view value) {
  constexpr std::string_view kUnit = "bytes ";
  if (LowerText(value.substr(0, kUnit.size())) != kUnit) return std::nullopt;
  value.remove_prefix(kUnit.size());
  const auto first_text = TakeUntil('-', &value);
  const auto last_text = TakeUntil('/', &value);
  if (!first_text || !last_text) return std::nullopt;
  const auto first = ParseDecimal(*first_text);
  const auto last = ParseDecimal(*last_text);
  if (!first || !last || *last < *first) return std::nullopt;
  ContentRange range{*first, *last, std::nullopt};
  if (value == "*") return range;
  range.total = ParseDecimal(value);
  if (!range.total || *range.total <= *last) return std::nullopt;
  return range;
}

std::optional<Duration> ParseRetryAfter(std::string_view value, Instant now) {
  if (const auto seconds = ParseDecimal(value)) {
    const auto most = static_cast<std::uint64_t>(kRetryAfterMax.us / 1'000'000);
    return Duration::Seconds(static_cast<std::int64_t>(std::min(*seconds, most)));
  }
  const auto date = ParseHttpDate(value);
  if (!date) return std::nullopt;
  const Duration left = Instant{*date * 1'000'000} - now;
  return std::clamp(left, Duration{}, kRetryAfterMax);
}

void HttpHeaders::AddLine(std::string_view line, Instant now) {
  const auto raw_name = TakeUntil(':', &line);
  const std::string_view value = Trim(line);
  if (!raw_name || raw_name->size() > 64 || value.size() > kValueBytesMax) return;
  const std::string name = LowerText(*raw_name);
  if (name == "content-length") {
    content_length = ParseDecimal(value);
  } else if (name == "content-range") {
    content_range = ParseContentRange(value);
    if (value.starts_with("bytes */")) unsatisfied_total = ParseDecimal(value.substr(8));
  } else if (name == "retry-after") {
    retry_after = ParseRetryAfter(value, now);
  } else if (name == "content-encoding") {
    content_encoding = LowerText(value);
    if (content_encoding == "identity") content_encoding.clear();
  } else if (name == "etag") {
    etag = value;
  } else if (name == "x-amz-bucket-region") {
    bucket_region = value;
  }
}

}  // namespace dnc::store
