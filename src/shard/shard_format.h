// The constants and records of the shard format, version 1, which writer and
// reader share. docs/formats/shard.md is the text of it. Private to this room.

#pragma once

#include <cstdint>
#include <string_view>

#include "array/dtype.h"
#include "base/bytes.h"

namespace dnc::shard {

inline constexpr std::uint32_t kShardVersion = 1;
inline constexpr std::string_view kHeaderMagic = "DNCSHARD";
inline constexpr std::string_view kFooterMagic = "DNCSHEND";
inline constexpr std::size_t kHeaderBytes = 16;
inline constexpr std::size_t kFooterBytes = 64;
inline constexpr std::size_t kFooterChecksumOffset = 48;  // Of the bytes before it.
inline constexpr std::size_t kBlockEntryBytes = 12;
inline constexpr std::size_t kColumnEntryBytes = 5;  // Without name and shape.
inline constexpr std::size_t kChunkEntryBytes = 18;
inline constexpr std::size_t kNameBytesMax = 1024;
inline constexpr std::size_t kRankMax = 32;

enum class Filter : std::uint8_t {
  kNone = 0,
  kByteShuffle = 1,
  kBitShuffle = 2,
  kDelta = 3,             // And byte shuffle.
  kPrediction = 4,        // Of pictures, plane by plane.
  kColourPrediction = 5,  // The same, less green.
};
inline constexpr std::uint8_t kFilterCount = 6;
enum class Codec : std::uint8_t { kStored = 0, kZstd = 1, kLz4 = 2, kJpegXl = 3 };
inline constexpr std::uint8_t kCodecCount = 4;

struct ChunkEntry {
  std::uint32_t stored_bytes = 0;
  std::uint32_t raw_bytes = 0;
  Filter filter = Filter::kNone;
  Codec codec = Codec::kStored;
  std::uint64_t checksum = 0;  // XXH3-64 of the stored bytes.
};

struct BlockEntry {
  std::uint64_t offset = 0;
  std::uint32_t samples = 0;
};

struct Footer {
  std::uint64_t index_offset = 0;
  std::uint64_t index_bytes = 0;
  std::uint64_t index_checksum = 0;
  std::uint64_t samples = 0;
  std::uint32_t block_samples = 0;
  std::uint32_t block_count = 0;
  std::uint32_t column_count = 0;
};

// The 16 bytes at the start of every shard.
Bytes ShardHeader();
// The footer's 64 bytes, its own checksum included.
Bytes FormatFooter(const Footer& footer);

// XXH3-64 of `bytes`.
std::uint64_t Checksum(ByteSpan bytes);

}  // namespace dnc::shard
