#include "shard/compression.h"

#include <cstddef>

namespace dnc::shard {
namespace {

constexpr const char* kNames[] = {"balanced", "smallest", "fast", "none"};

}  // namespace

const char* CompressionName(Compression compression) {
  return kNames[static_cast<std::size_t>(compression)];
}

std::optional<Compression> CompressionFromName(std::string_view name) {
  for (std::size_t i = 0; i < std::size(kNames); ++i) {
    if (name == kNames[i]) return static_cast<Compression>(i);
  }
  return std::nullopt;
}

}  // namespace dnc::shard
