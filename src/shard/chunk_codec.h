// One chunk: the elements of one column in one block, filtered and compressed by
// themselves. Private to this room; keeps zstd out of the other files.
//
// Neither class is thread-safe; each keeps its zstd context and buffers from one
// chunk to the next.

#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/bytes.h"
#include "shard/shard_format.h"

namespace dnc::shard {

class ChunkEncoder {
 public:
  explicit ChunkEncoder(int zstd_level);
  ~ChunkEncoder();
  ChunkEncoder(const ChunkEncoder&) = delete;
  ChunkEncoder& operator=(const ChunkEncoder&) = delete;

  // Appends the stored form of `raw` to `out`. Where compression does not make it
  // smaller, the elements are stored as they are.
  // Requires: element_bytes divides raw.size(), which is at most kBlockBytesMax.
  ChunkEntry Encode(ByteSpan raw, std::size_t element_bytes, Filter filter, Bytes* out);

  // The same without an attempt to compress: for what is compressed already.
  ChunkEntry EncodeStored(ByteSpan raw, Bytes* out);

  // The filter that makes `raw` smallest; of equals, the one with the lowest id.
  Filter ChooseFilter(ByteSpan raw, std::size_t element_bytes);

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

  // Decodes `stored` into all of `raw`, of entry.raw_bytes. Returns false if the checksum is wrong
  // or the bytes do not give exactly raw.size(). Requires: element_bytes divides raw.size().
  bool Decode(const ChunkEntry& entry, ByteSpan stored, std::size_t element_bytes,
              std::span<std::byte> raw);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dnc::shard
