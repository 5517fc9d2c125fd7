// Fills a SampleBlock sample by sample, for sources whose samples come one at a
// time. Memory of the block is reused.

#pragma once

#include <cstdint>
#include <vector>

#include "array/column.h"
#include "base/assert.h"

namespace dnc::source {

// A block of samples of varying length ends with the sample that brings it to this.
inline constexpr std::uint64_t kVaryingBlockBytes = 4 << 20;
// One sample's bytes in one column: such a block's offsets have 32 bits.
inline constexpr std::uint64_t kElementBytesMax = 256 << 20;

class BlockBuilder {
 public:
  // Empties `block`. Both must outlive the builder.
  BlockBuilder(const std::vector<array::ColumnSpec>& columns, array::SampleBlock* block)
      : columns_(columns), block_(block) {
    block_->sample_count = 0;
    block_->columns.resize(columns.size());
    for (Bytes& column : block_->columns) column.clear();
    if (array::AllArrays(columns)) {
      block_->ends.clear();
    } else {
      block_->ends.resize(columns.size());
      for (auto& ends : block_->ends) ends.clear();
    }
  }

  // Adds the next sample's element of a column.
  // Requires: of an array, element.size() is its sample_bytes(); else at most
  // kElementBytesMax, and the block was not full before this sample.
  void Add(std::size_t column, ByteSpan element) {
    Bytes& bytes = block_->columns[column];
    bytes.insert(bytes.end(), element.begin(), element.end());
    bytes_ += element.size();
    if (!columns_[column].is_array()) {
      DNC_ASSERT(bytes.size() <= UINT32_MAX);
      block_->ends[column].push_back(static_cast<std::uint32_t>(bytes.size()));
    }
  }
  // Every column has got an element.
  void EndSample() { ++block_->sample_count; }

  std::uint64_t sample_count() const { return block_->sample_count; }
  // Whether the next sample belongs into another block.
  bool is_full() const { return !block_->ends.empty() && bytes_ >= kVaryingBlockBytes; }

 private:
  const std::vector<array::ColumnSpec>& columns_;
  array::SampleBlock* block_;
  std::uint64_t bytes_ = 0;
};

}  // namespace dnc::source
