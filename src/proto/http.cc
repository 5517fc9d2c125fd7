// What ties messages to HTTP: error bodies, status codes and the query of a result.

#include <algorithm>
#include <array>
#include <charconv>

#include "base/human.h"
#include "proto/json.h"
#include "proto/messages.h"

namespace dnc::proto {
namespace {

struct HttpStatusOfCode {
  ErrorCode code;
  int status;
};

// The first code of a status is what the status alone means.
constexpr std::array<HttpStatusOfCode, 14> kHttpStatuses = {{
    {ErrorCode::kInvalidArgument, 400},
    {ErrorCode::kUnauthenticated, 401},
    {ErrorCode::kPermissionDenied, 403},
    {ErrorCode::kNotFound, 404},
    {ErrorCode::kAlreadyExists, 409},
    {ErrorCode::kStale, 410},
    {ErrorCode::kTooLarge, 413},
    {ErrorCode::kUnsupported, 415},
    {ErrorCode::kCorrupt, 422},
    {ErrorCode::kCancelled, 499},
    {ErrorCode::kInternal, 500},
    {ErrorCode::kIo, 500},
    {ErrorCode::kUnavailable, 503},
    {ErrorCode::kResourceExhausted, 507},
}};

template <typename Number>
bool ParseNumber(std::string_view text, Number* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

}  // namespace

int HttpStatusOf(ErrorCode code) {
  for (const HttpStatusOfCode& entry : kHttpStatuses) {
    if (entry.code == code) return entry.status;
  }
  return 500;
}

ErrorCode ErrorCodeOfHttpStatus(int http_status) {
  for (const HttpStatusOfCode& entry : kHttpStatuses) {
    if (entry.status == http_status) return entry.code;
  }
  // What proxies and balancers say for a server that may come back.
  if (http_status == 408 || http_status == 429 || http_status >= 502) {
    return ErrorCode::kUnavailable;
  }
  return http_status >= 500 ? ErrorCode::kInternal : ErrorCode::kInvalidArgument;
}

std::string ErrorToJson(const Error& error) {
  JsonWriter writer;
  writer.BeginObject();
  writer.BeginObject("error");
  writer.String("code", ErrorCodeName(error.code));
  writer.String("message", error.message);
  writer.EndObject();
  writer.EndObject();
  return writer.Take();
}

Error ErrorFromJson(int http_status, std::string_view body) {
  const Error unknown{ErrorCodeOfHttpStatus(http_status),
                      "the server answered with HTTP status " + std::to_string(http_status)};
  Result<JsonObject> object = JsonObject::Parse(
      body, {.name = "error", .bytes_max = kMessageBytesMax, .refuse_unknown = false});
  if (!object.ok()) return unknown;
  std::optional<JsonObject> section = object->Object("error");
  if (!section) return unknown;
  const std::string code_name = section->String("code", 60);
  const std::string message = section->String("message", kMessageBytesMax);
  const std::optional<ErrorCode> code = ErrorCodeFromName(code_name);
  if (!section->status().ok() || !code) return unknown;
  return {*code, message};
}

std::string ToQuery(const ResultMetrics& metrics) {
  return "samples=" + std::to_string(metrics.samples) +
         "&loss_sum_micro=" + std::to_string(metrics.loss_sum_micro) +
         "&correct=" + std::to_string(metrics.correct) +
         "&compute_us=" + std::to_string(metrics.compute_us);
}

Result<ResultMetrics> ParseResultMetrics(std::string_view query) {
  static const std::vector<std::string> kKnown = {"samples", "loss_sum_micro", "correct",
                                                  "compute_us"};
  ResultMetrics metrics;
  std::array<bool, 4> seen{};
  while (!query.empty()) {
    const std::string_view field = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), field.size() + 1));
    const std::size_t equals = std::min(field.find('='), field.size());
    const std::string key(field.substr(0, std::min<std::size_t>(equals, 60)));
    const std::string_view value = field.substr(std::min(equals + 1, field.size()));
    const auto known = std::find(kKnown.begin(), kKnown.end(), key);
    if (known == kKnown.end()) {
      const std::string near = NearestName(key, kKnown);
      return Error{ErrorCode::kInvalidArgument,
                   "query: unknown key \"" + key + "\"" +
                       (near.empty() ? "" : "; did you mean \"" + near + "\"?")};
    }
    const auto index = static_cast<std::size_t>(known - kKnown.begin());
    const bool fits = index == 0   ? ParseNumber(value, &metrics.samples)
                      : index == 1 ? ParseNumber(value, &metrics.loss_sum_micro)
                      : index == 2 ? ParseNumber(value, &metrics.correct)
                                   : ParseNumber(value, &metrics.compute_us);
    if (!fits || seen[index]) {
      return Error{ErrorCode::kInvalidArgument,
                   "query: \"" + key + "\" is " + (seen[index] ? "there twice" : "not an integer")};
    }
    seen[index] = true;
  }
  for (std::size_t i = 0; i < seen.size(); ++i) {
    if (!seen[i]) {
      return Error{ErrorCode::kInvalidArgument, "query: \"" + kKnown[i] + "\" is missing"};
    }
  }
  return metrics;
}

}  // namespace dnc::proto
