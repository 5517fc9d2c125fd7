// Writes one shard (docs/formats/shard.md). The same samples and options give
// the same bytes. Not thread-safe.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "array/column.h"
#include "base/bytes.h"
#include "base/result.h"

namespace dnc::shard {

struct ShardWriterOptions {
  // Samples in every block but the last one.
  std::uint32_t block_samples = 1;
  int zstd_level = 9;
};

// How many samples make a block of up to about 1 MiB raw; at least 1.
std::uint32_t BlockSamples(const std::vector<array::ColumnSpec>& columns);

class ShardWriter {
 public:
  // Receives the shard's bytes in order; an error stops the writer.
  using Sink = std::function<Status(ByteSpan)>;

  ShardWriter(std::vector<array::ColumnSpec> columns, ShardWriterOptions options, Sink sink);
  ~ShardWriter();
  ShardWriter(ShardWriter&&) noexcept;
  ShardWriter& operator=(ShardWriter&&) noexcept;

  // Writes the next block. Every block but the last has options.block_samples.
  // Requires: 0 < block.sample_count <= block_samples, columns of fitting sizes,
  // and no block after a short one.
  // Errors: those of the sink.
  Status Append(const array::SampleBlock& block);
  // Writes the index and footer. Nothing may be appended after it.
  Status Finish();

  std::uint64_t bytes_written() const;
  std::uint64_t samples_written() const;

 private:
  struct Impl;  // Keeps zstd out of this header.
  std::unique_ptr<Impl> impl_;
};

}  // namespace dnc::shard
