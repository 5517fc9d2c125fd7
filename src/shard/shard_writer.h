// Writes one shard (docs/formats/shard.md). The same samples and options give the same
// bytes, whatever `threads` is. Not thread-safe.
//
// Each column's filter and codec are chosen by measuring the first samples. A few blocks (4) are
// held back while they are compressed.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "array/column.h"
#include "base/bytes.h"
#include "base/result.h"
#include "shard/compression.h"

namespace dnc::shard {

struct ShardWriterOptions {
  // Samples in every block but the last one.
  std::uint32_t block_samples = 1;
  Compression compression = Compression::kBalanced;
  // Filters leave few repetitions: higher levels save less than 1% of most columns (8% of
  // some tables) and divide four times slower. kSmallest takes zstd's 19.
  int zstd_level = 2;
  // Threads that compress, beside the caller's; with 1 the caller compresses.
  int threads = 1;
};

// The most raw bytes that a block may have: what ShardLimits allows by default.
inline constexpr std::uint64_t kBlockBytesMax = 64u << 20;

// How many samples make a block of up to about 1 MiB raw; at least 1. Columns of
// varying lengths count as nothing.
std::uint32_t BlockSamples(const std::vector<array::ColumnSpec>& columns);

class ShardWriter {
 public:
  // Receives the shard's bytes in order; an error stops the writer.
  using Sink = std::function<Status(ByteSpan)>;

  // Requires: at least one column; names of 1 to 1024 bytes, each its own; at most
  // 32 axes; block_samples > 0.
  ShardWriter(std::vector<array::ColumnSpec> columns, ShardWriterOptions options, Sink sink);
  ~ShardWriter();
  ShardWriter(ShardWriter&&) noexcept;
  ShardWriter& operator=(ShardWriter&&) noexcept;

  // Writes the next block. Every block but the last has options.block_samples.
  // Requires: 0 < block.sample_count <= block_samples, columns of fitting sizes (or
  // ends, ascending up to the column's size), and no block after a short one.
  // Errors: kTooLarge, more than kBlockBytesMax; those of the sink, which may be
  // about an earlier block.
  Status Append(const array::SampleBlock& block);
  // Writes the index and footer. Nothing may be appended after it.
  Status Finish();

  // Bytes that the sink has received. Blocks held back are not in it, so it trails
  // by the last 4 blocks until Finish(), however many threads there are.
  std::uint64_t bytes_written() const;
  std::uint64_t samples_written() const;
  // Raw bytes of the largest block so far, as ShardInfo::block_bytes_max counts them.
  std::uint64_t block_bytes_max() const;

 private:
  struct Impl;  // Keeps zstd out of this header.
  std::unique_ptr<Impl> impl_;
};

}  // namespace dnc::shard
