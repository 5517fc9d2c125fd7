// How much a dataset is compressed: the one choice that a user makes of it.

#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace dnc::shard {

enum class Compression : std::uint8_t {
  kBalanced,  // The smallest that one core decodes at 250 MB/s or more.
  kSmallest,  // Pictures by JPEG XL, the rest by zstd's highest level: slow both ways.
  kFast,      // LZ4: decodes at the speed of memory.
  kNone,      // As it is.
};

// "balanced", "smallest", "fast", "none".
const char* CompressionName(Compression compression);
std::optional<Compression> CompressionFromName(std::string_view name);

}  // namespace dnc::shard
