// A window in memory: the decoded blocks that its samples lie in, and the gathering
// of samples in the window's order straight into batches.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "array/column.h"
#include "base/prng.h"

namespace dnc::stream {

// A decoded block. A block on the border of two windows belongs to both.
struct HeldBlock {
  array::SampleBlock data;
  std::uint64_t samples = 0;  // That its columns have reserved memory for.
  std::uint64_t bytes = 0;    // Of that memory.
  std::uint32_t shard_index = 0;
  std::uint32_t block_index = 0;
  int windows = 0;  // That hold it.
};

class Window {
 public:
  struct Slice {
    HeldBlock* block = nullptr;
    std::uint32_t begin = 0;  // Rows of the block.
    std::uint32_t end = 0;
  };

  // `slices` laid end to end are the window's samples, visited in `order`; in the
  // order as they lie, if it is `in_order`. The blocks must outlive the window, and
  // all be decoded. `column_bytes` is the size of a sample in each column.
  // Requires: order.count() samples, at least one, none of the slices empty.
  Window(std::uint64_t index, std::vector<Slice> slices, const Permutation& order, bool in_order,
         std::vector<std::size_t> column_bytes);

  std::uint64_t index() const { return index_; }
  std::uint64_t samples() const { return order_.count(); }
  const std::vector<Slice>& slices() const { return slices_; }

  // Copies the samples visited first-th to (first + count - 1)-th into
  // destinations[c] + offset samples, but for destinations that are null.
  // Requires: first + count <= samples().
  void Gather(std::uint64_t first, std::uint64_t count, std::span<std::byte* const> destinations,
              std::uint64_t offset) const;

 private:
  struct Row {
    std::uint32_t slice;
    std::uint32_t row;  // Of the block.
  };
  static constexpr std::size_t kChunk = 256;

  std::uint32_t SliceOf(std::uint64_t number) const;
  void GatherInOrder(std::uint64_t first, std::uint64_t count,
                     std::span<std::byte* const> destinations, std::uint64_t offset) const;
  void CopyRows(std::span<const Row> rows, std::size_t column, std::byte* out) const;

  std::uint64_t index_;
  std::vector<Slice> slices_;
  std::vector<std::uint64_t> first_;  // Number of each slice's first sample; at the end, all.
  // bucket_[n >> bucket_shift_] is the slice of the bucket's first sample.
  std::vector<std::uint32_t> bucket_;
  int bucket_shift_ = 0;
  std::vector<const std::byte*> bases_;  // Column by column, slice by slice.
  Permutation order_;
  bool in_order_;
  std::vector<std::size_t> column_bytes_;
};

}  // namespace dnc::stream
