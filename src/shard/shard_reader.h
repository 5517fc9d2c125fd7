// Reads one shard: an immutable file of samples in columns, grouped into
// checksummed blocks, with an index at its end. docs/formats/shard.md fixes the
// bytes; this header fixes what a caller sees.
//
// A shard may come from a stranger: nothing in it is believed before its checksum
// and bounds are checked, and nothing it claims makes the reader allocate more
// than ShardLimits allows.
//
// A ShardReader is immutable after Open and may be shared by threads, each with
// a BlockDecoder of its own.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "array/column.h"
#include "base/bytes.h"
#include "base/random_access_source.h"
#include "base/result.h"

namespace dnc::shard {

struct BlockEntry;

struct ShardLimits {
  std::uint32_t block_count_max = 1u << 20;
  std::uint64_t block_bytes_max = 64u << 20;  // Once decoded, all columns.
  std::uint32_t column_count_max = 1024;
};

struct ShardSummary {
  std::vector<array::ColumnSpec> columns;  // Without class names.
  std::uint64_t samples = 0;
  std::uint32_t block_samples = 0;
  std::uint32_t block_count = 0;
};

// A block's place in the file, to fetch just its bytes.
struct BlockExtent {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint32_t samples = 0;
};

// How a column of a block is stored.
struct ChunkSummary {
  std::uint64_t stored_bytes = 0;
  std::uint64_t raw_bytes = 0;
  const char* filter = "";
  const char* codec = "";
};

class ShardReader {
 public:
  // Verifies the footer and index of `source`, in two reads. `source` must not be
  // null and must outlive the reader.
  //
  // Errors: kCorrupt, not a well-formed shard, or one beyond `limits`;
  // kUnsupported, a later format version; any error of `source`, unchanged.
  static Result<ShardReader> Open(const RandomAccessSource* source, const ShardLimits& limits = {});
  ~ShardReader();
  ShardReader(ShardReader&&) noexcept;
  ShardReader& operator=(ShardReader&&) noexcept;

  const ShardSummary& summary() const;
  // Requires: block_index < summary().block_count.
  BlockExtent extent(std::uint32_t block_index) const;
  // Requires: as above; column < summary().columns.size().
  ChunkSummary chunk(std::uint32_t block_index, std::size_t column) const;

 private:
  friend class BlockDecoder;
  struct Impl;
  static Status ReadChunks(const RandomAccessSource& source, const BlockEntry& block,
                           const ShardLimits& limits, ByteReader* reader, Impl* impl,
                           std::uint64_t* offset);
  explicit ShardReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Decodes blocks, keeping its buffers from one to the next. Not thread-safe.
class BlockDecoder {
 public:
  BlockDecoder();
  ~BlockDecoder();
  BlockDecoder(const BlockDecoder&) = delete;
  BlockDecoder& operator=(const BlockDecoder&) = delete;

  // Reads and decodes one block into `out`, whose memory is reused.
  // Requires: block_index < reader.summary().block_count.
  // Errors: kCorrupt, bad checksum or layout; any error of the reader's source.
  Status Decode(const ShardReader& reader, std::uint32_t block_index, array::SampleBlock* out);
  // One column of a block alone: only its bytes are read, only it is filled in `out`.
  // Requires: as above; column < reader.summary().columns.size(). Errors: as above.
  Status DecodeColumn(const ShardReader& reader, std::uint32_t block_index, std::size_t column,
                      array::SampleBlock* out);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dnc::shard
