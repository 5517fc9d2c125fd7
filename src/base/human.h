// Numbers as people read and write them.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace dnc {

// "512 B", "1.5 KiB", "16 MiB", "2.25 GiB".
std::string FormatByteCount(std::uint64_t bytes);

// "16MiB", "64 KiB", "1GB" (decimal), "4096". At most 2^62.
// Errors: kInvalidArgument, with the accepted forms.
Result<std::uint64_t> ParseByteCount(std::string_view text);

// "0.4 s", "12 s", "3 min 20 s", "2 h 5 min".
std::string FormatDuration(Duration duration);

// "1,234,567".
std::string FormatCount(std::uint64_t count);

// The name in `known` that a person probably meant by `name` (edit distance of
// at most 3), or an empty string.
std::string NearestName(std::string_view name, const std::vector<std::string>& known);

}  // namespace dnc
