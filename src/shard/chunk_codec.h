// One chunk: the elements of one column in one block, filtered and compressed by
// themselves. Private to this room; keeps zstd and LZ4 out of the other files.
//
// Neither class is thread-safe; each keeps its contexts and buffers from one chunk to
// the next.

#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/bytes.h"
#include "shard/chunk_layout.h"
#include "shard/compression.h"
#include "shard/shard_format.h"

namespace dnc::shard {

// How a chunk is encoded.
struct ChunkMethod {
  Filter filter = Filter::kNone;
  Codec codec = Codec::kStored;
  // zstd: no search for repetitions, only an entropy code. Best for residuals of
  // pictures, which hardly repeat, and far quicker both ways.
  bool literals_only = false;

  friend bool operator==(const ChunkMethod&, const ChunkMethod&) = default;
};

// Whether a chunk of that layout can have been made so.
bool IsPossible(Filter filter, Codec codec, const ChunkLayout& layout);

class ChunkEncoder {
 public:
  explicit ChunkEncoder(int zstd_level);
  ~ChunkEncoder();
  ChunkEncoder(const ChunkEncoder&) = delete;
  ChunkEncoder& operator=(const ChunkEncoder&) = delete;

  // Appends the stored form of `raw` to `out`. Where compression does not make it
  // smaller, the elements are stored as they are.
  // Requires: whole samples of `layout`; raw.size() is at most kBlockBytesMax;
  // IsPossible(method.filter, method.codec, layout).
  ChunkEntry Encode(ByteSpan raw, const ChunkLayout& layout, const ChunkMethod& method, Bytes* out);

  // The method that makes `raw` smallest, of those that `compression` allows; of
  // equals, the one that is quicker to decode.
  ChunkMethod ChooseMethod(ByteSpan raw, const ChunkLayout& layout, Compression compression);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class ChunkDecoder {
 public:
  ChunkDecoder();
  ~ChunkDecoder();
  ChunkDecoder(const ChunkDecoder&) = delete;
  ChunkDecoder& operator=(const ChunkDecoder&) = delete;

  // Decodes `stored` into all of `raw`, of entry.raw_bytes; a stored chunk may lie there
  // already. Returns false if the checksum is wrong or the bytes do not give exactly
  // raw.size().
  // Requires: whole samples of `layout`; IsPossible(entry.filter, entry.codec, layout).
  bool Decode(const ChunkEntry& entry, ByteSpan stored, const ChunkLayout& layout,
              std::span<std::byte> raw);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dnc::shard
