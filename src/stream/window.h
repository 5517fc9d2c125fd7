// A window in memory: the decoded blocks that its samples lie in, and the gathering
// of samples in the window's order straight into batches.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "array/column.h"
#include "stream/destination.h"
#include "stream/visit.h"

namespace dnc::stream {

// A decoded block. A block on the border of two windows belongs to both.
struct HeldBlock {
  array::SampleBlock data;
  std::uint64_t samples = 0;  // That its columns have memory for.
  std::uint64_t bytes = 0;    // Of that memory, at most.
  std::uint32_t shard_index = 0;
  std::uint32_t block_index = 0;
  int windows = 0;  // That hold it.
};

// Bytes of a sample in each column; 0 and `varies` in columns of varying lengths.
struct ColumnSize {
  std::size_t bytes = 0;
  bool varies = false;
};
std::vector<ColumnSize> ColumnSizes(const std::vector<array::ColumnSpec>& columns);

class Window {
 public:
  struct Slice {
    HeldBlock* block = nullptr;
    std::uint32_t begin = 0;  // Rows of the block.
    std::uint32_t end = 0;
  };

  // `slices` laid end to end are the window's samples, visited in `order`. The blocks must
  // outlive the window, and all be decoded.
  // Requires: as many samples as slices have, at least one; none of the slices empty.
  Window(std::uint64_t number, std::uint64_t epoch, std::vector<Slice> slices, VisitOrder order,
         std::vector<ColumnSize> columns);

  std::uint64_t number() const { return number_; }
  std::uint64_t epoch() const { return epoch_; }
  // Samples to visit.
  std::uint64_t samples() const { return order_.count(); }
  const std::vector<Slice>& slices() const { return slices_; }

  // Copies the samples visited first-th to (first + count - 1)-th into the destinations,
  // `offset` samples behind their beginning, or behind what they hold in columns of
  // varying lengths. Thread-safe, with destinations of their own.
  // Requires: first + count <= samples().
  // Errors: kTooLarge, more than 4 GiB in a column of a batch.
  Status Gather(std::uint64_t first, std::uint64_t count, std::span<const Destination> destinations,
                std::uint64_t offset) const;
  // The bytes of the i-th sample visited in a column of varying lengths.
  ByteSpan Element(std::uint64_t i, std::size_t column) const;
  // Where the i-th sample visited lies.
  struct Origin {
    std::uint32_t shard_index = 0;
    std::uint32_t block_index = 0;
    std::uint32_t row = 0;  // Of the block.
  };
  Origin OriginOf(std::uint64_t i) const;
  // The same samples in another order, `repeat` times different.
  void Reorder(std::uint64_t repeat);

 private:
  struct Row {
    std::uint32_t slice;
    std::uint32_t row;  // Of the block.
  };
  static constexpr std::size_t kChunk = 256;

  std::uint32_t SliceOf(std::uint64_t number) const;
  Row RowOf(std::uint64_t i) const;
  void CopyRun(std::uint64_t first, std::uint64_t count, std::size_t column, std::byte* out) const;
  void CopyRows(std::span<const Row> rows, std::size_t column, std::byte* out) const;
  Status AppendRows(std::span<const Row> rows, std::size_t column,
                    const Destination& destination) const;

  std::uint64_t number_;
  std::uint64_t epoch_;
  std::vector<Slice> slices_;
  std::vector<std::uint64_t> first_;  // Number of each slice's first sample; at the end, all.
  // bucket_[n >> bucket_shift_] is the slice of the bucket's first sample.
  std::vector<std::uint32_t> bucket_;
  int bucket_shift_ = 0;
  std::vector<const std::byte*> bases_;  // Column by column, slice by slice.
  VisitOrder order_;
  std::vector<ColumnSize> columns_;
};

}  // namespace dnc::stream
