// JSON of strangers, parsed within limits: its size, its depth and the number of
// its values are bounded before a tree is built, so that a small text cannot
// become a large or a deep one.

#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace dnc::model {

inline constexpr int kJsonDepthMax = 64;
inline constexpr std::uint64_t kJsonValueCountMax = 1u << 20;

// Parses `text` into `*document`.
// Errors: kInvalidArgument, not JSON, with the place; kTooLarge, beyond a limit.
Status ParseJsonText(std::string_view text, std::uint64_t bytes_max, nlohmann::json* document);

// The text of the value of `key` in an object, as it stands; "" if there is none, or if
// it is written in another way. Requires: `object` was parsed as a JSON object.
std::string_view MemberText(std::string_view object, std::string_view key);

// The start of a value as JSON, for messages: printable ASCII of at most 80 bytes.
std::string ShortJson(const nlohmann::json& value);
// The same of a text, in quotes.
std::string Quoted(std::string_view text);

// JSON as Python writes it: ASCII only.
std::string DumpJson(const nlohmann::ordered_json& value);

}  // namespace dnc::model
