// Small matters that several kinds of source share: text from files in messages,
// and the type of a class index.

#pragma once

#include <string>
#include <string_view>

#include "array/dtype.h"

namespace dnc::source {

// Class and column names go into JSON, which is UTF-8.
bool IsUtf8(std::string_view text);

// At most `bytes_max` bytes of `text`, without control characters or broken UTF-8.
std::string Printable(std::string_view text, std::size_t bytes_max);

// uint8 for up to 256 classes, int64 beyond.
array::DType ClassIndexDType(std::size_t class_count);

}  // namespace dnc::source
