// Values on the command line that need more than CLI11 knows.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "source/sample_source.h"

namespace dnc::cli {

// ParseByteCount, with the option's name in the message.
Result<std::uint64_t> ByteOption(std::string_view option, const std::string& text);

// "198x198". Errors: kInvalidArgument.
Result<image::ImageSize> ImageSizeOption(std::string_view option, const std::string& text);

// Threads that this process may run on.
int AvailableCores();

}  // namespace dnc::cli
