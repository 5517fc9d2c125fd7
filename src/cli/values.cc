#include "cli/values.h"

#include <sched.h>

#include <algorithm>
#include <charconv>

#include "base/human.h"

namespace dnc::cli {

Result<std::uint64_t> ByteOption(std::string_view option, const std::string& text) {
  auto bytes = ParseByteCount(text);
  if (!bytes.ok()) return bytes.error().WithContext(option);
  return bytes;
}

Result<image::ImageSize> ImageSizeOption(std::string_view option, const std::string& text) {
  image::ImageSize size;
  const char* end = text.data() + text.size();
  const auto width = std::from_chars(text.data(), end, size.width);
  if (width.ec == std::errc() && width.ptr != end && *width.ptr == 'x') {
    const auto height = std::from_chars(width.ptr + 1, end, size.height);
    constexpr std::uint32_t kSideMax = 16'384;
    if (height.ec == std::errc() && height.ptr == end && size.width > 0 && size.height > 0 &&
        size.width <= kSideMax && size.height <= kSideMax) {
      return size;
    }
  }
  return Error{ErrorCode::kInvalidArgument, std::string(option) + ": \"" + text +
                                                "\" is not a size; write WIDTHxHEIGHT, for "
                                                "example 198x198, each from 1 to 16384"};
}

int AvailableCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace dnc::cli
