#include "source/text.h"

#include <cstdint>

namespace dnc::source {
namespace {

// The length of the valid UTF-8 sequence at the start of `text`, 0 if none
// (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF).
std::size_t SequenceBytes(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t size = first < 0xc2   ? 0
                           : first < 0xe0 ? 2
                           : first < 0xf0 ? 3
                           : first < 0xf5 ? 4
                                          : 0;
  if (size == 0 || text.size() < size) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const unsigned char second = byte(1);
  if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
      (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f)) {
    return 0;
  }
  return size;
}

}  // namespace

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t size = SequenceBytes(text);
    if (size == 0) return false;
    text.remove_prefix(size);
  }
  return true;
}

std::string Printable(std::string_view text, std::size_t bytes_max) {
  std::string shown;
  while (!text.empty()) {
    const std::size_t size = SequenceBytes(text);
    const std::size_t taken = size == 0 ? 1 : size;
    if (shown.size() + taken > bytes_max) return shown + "...";
    const bool is_control =
        size == 1 && (static_cast<unsigned char>(text[0]) < 0x20 || text[0] == 0x7f);
    if (size == 0 || is_control) {
      shown.push_back('?');
    } else {
      shown.append(text.substr(0, size));
    }
    text.remove_prefix(taken);
  }
  return shown;
}

array::DType ClassIndexDType(std::size_t class_count) {
  return class_count <= 256 ? array::DType::kUint8 : array::DType::kInt64;
}

}  // namespace dnc::source
