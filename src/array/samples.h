// Moving samples between blocks. A block that is filled by these always has one
// vector of ends a column, empty for columns of arrays.

#pragma once

#include <cstdint>
#include <vector>

#include "array/column.h"

namespace dnc::array {

// Empties `block` for samples of `columns`, keeping its memory.
void ClearSamples(const std::vector<ColumnSpec>& columns, SampleBlock* block);

// Appends the samples [begin, end) of `from` to `to`, which must have been cleared for
// the same columns once.
// Requires: begin <= end <= from.sample_count; no column of `to` beyond 4 GiB.
void AppendSamples(const std::vector<ColumnSpec>& columns, const SampleBlock& from,
                   std::uint64_t begin, std::uint64_t end, SampleBlock* to);

// One sample's element of column `c`, whatever its kind.
// Requires: c < columns.size(), sample < block.sample_count.
ByteSpan ElementOf(const std::vector<ColumnSpec>& columns, const SampleBlock& block, std::size_t c,
                   std::uint64_t sample);

// Bytes of one sample as a shard's block holds it: its elements, and 4 for the end of
// each that is not an array.
std::uint64_t StoredSampleBytes(const std::vector<ColumnSpec>& columns, const SampleBlock& block,
                                std::uint64_t sample);

// The same of all samples of `block`.
std::uint64_t StoredBlockBytes(const std::vector<ColumnSpec>& columns, const SampleBlock& block);

}  // namespace dnc::array
