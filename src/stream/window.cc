#include "stream/window.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "base/assert.h"

namespace dnc::stream {
namespace {

// Rows ahead whose first bytes are asked for while one is copied: they lie in
// random places of a few MiB, mostly outside the cache.
constexpr std::size_t kPrefetchRows = 8;

constexpr std::uint64_t kRepeatSeed = 0x726570656174;  // "repeat"

}  // namespace

std::vector<ColumnSize> ColumnSizes(const std::vector<array::ColumnSpec>& columns) {
  std::vector<ColumnSize> sizes;
  for (const array::ColumnSpec& column : columns) {
    sizes.push_back(column.is_array() ? ColumnSize{column.sample_bytes(), false}
                                      : ColumnSize{0, true});
  }
  return sizes;
}

Window::Window(std::uint64_t number, std::uint64_t epoch, std::vector<Slice> slices,
               VisitOrder order, std::vector<ColumnSize> columns)
    : number_(number),
      epoch_(epoch),
      slices_(std::move(slices)),
      order_(std::move(order)),
      columns_(std::move(columns)) {
  first_.reserve(slices_.size() + 1);
  std::uint64_t samples = 0;
  for (const Slice& slice : slices_) {
    DNC_ASSERT(slice.begin < slice.end && slice.end <= slice.block->data.sample_count);
    first_.push_back(samples);
    samples += slice.end - slice.begin;
  }
  first_.push_back(samples);
  DNC_ASSERT(samples >= order_.count() && samples > 0);

  // About two buckets a slice, so that the search in one is a step or two.
  bucket_shift_ = std::max(0, static_cast<int>(std::bit_width(samples / slices_.size())) - 2);
  std::uint32_t slice = 0;
  const std::uint64_t bucket_count = ((samples - 1) >> bucket_shift_) + 1;
  bucket_.reserve(bucket_count);
  for (std::uint64_t bucket = 0; bucket < bucket_count; ++bucket) {
    while (first_[slice + 1] <= bucket << bucket_shift_) ++slice;
    bucket_.push_back(slice);
  }

  bases_.reserve(slices_.size() * columns_.size());
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    for (const Slice& part : slices_) bases_.push_back(part.block->data.columns[c].data());
  }
}

std::uint32_t Window::SliceOf(std::uint64_t number) const {
  std::uint32_t slice = bucket_[number >> bucket_shift_];
  while (number >= first_[slice + 1]) ++slice;
  return slice;
}

Window::Row Window::RowOf(std::uint64_t i) const {
  const std::uint64_t number = order_(i);
  const std::uint32_t slice = SliceOf(number);
  return {slice, static_cast<std::uint32_t>(number - first_[slice]) + slices_[slice].begin};
}

Status Window::Gather(std::uint64_t first, std::uint64_t count,
                      std::span<const Destination> destinations, std::uint64_t offset) const {
  DNC_ASSERT(first <= samples() && count <= samples() - first);
  DNC_ASSERT(destinations.size() == columns_.size());
  std::array<Row, kChunk> rows;
  for (std::uint64_t done = 0; done < count; done += kChunk) {
    const std::size_t chunk = std::min<std::uint64_t>(kChunk, count - done);
    bool rows_known = false;
    for (std::size_t c = 0; c < destinations.size(); ++c) {
      const Destination& destination = destinations[c];
      if (!columns_[c].varies && destination.rows == nullptr) continue;
      if (columns_[c].varies && destination.bytes == nullptr) continue;
      std::byte* const out = destination.rows + (offset + done) * columns_[c].bytes;
      if (order_.in_order() && !columns_[c].varies) {
        CopyRun(first + done, chunk, c, out);
        continue;
      }
      for (std::size_t i = 0; i < chunk && !rows_known; ++i) rows[i] = RowOf(first + done + i);
      rows_known = true;
      if (columns_[c].varies) {
        DNC_TRY(AppendRows(std::span(rows).first(chunk), c, destination));
      } else {
        CopyRows(std::span(rows).first(chunk), c, out);
      }
    }
  }
  return {};
}

ByteSpan Window::Element(std::uint64_t i, std::size_t column) const {
  const Row row = RowOf(i);
  return slices_[row.slice].block->data.element(column, row.row);
}

Window::Origin Window::OriginOf(std::uint64_t i) const {
  const Row row = RowOf(i);
  const HeldBlock& block = *slices_[row.slice].block;
  return {block.shard_index, block.block_index, row.row};
}

void Window::Reorder(std::uint64_t repeat) {
  // All samples of the window, whatever part of them was to be visited.
  const std::uint64_t seed = DeriveSeed(number_, kRepeatSeed, repeat);
  order_ = VisitOrder(Permutation(first_.back(), seed));
}

void Window::CopyRun(std::uint64_t first, std::uint64_t count, std::size_t column,
                     std::byte* out) const {
  const std::size_t bytes = columns_[column].bytes;
  if (bytes == 0) return;
  std::uint32_t slice = SliceOf(first);
  while (count > 0) {
    const std::uint64_t run = std::min(count, first_[slice + 1] - first);
    const std::uint64_t row = first - first_[slice] + slices_[slice].begin;
    std::memcpy(out, bases_[column * slices_.size() + slice] + row * bytes, run * bytes);
    first += run;
    out += run * bytes;
    count -= run;
    ++slice;
  }
}

Status Window::AppendRows(std::span<const Row> rows, std::size_t column,
                          const Destination& destination) const {
  std::uint64_t bytes = destination.bytes->size();
  for (const Row& row : rows) {
    bytes += slices_[row.slice].block->data.element(column, row.row).size();
  }
  if (bytes > UINT32_MAX) {
    return Error{ErrorCode::kTooLarge,
                 "a batch with more than 4 GiB in a column; ask for fewer samples at a time"};
  }
  destination.bytes->reserve(bytes);
  for (const Row& row : rows) {
    const ByteSpan element = slices_[row.slice].block->data.element(column, row.row);
    destination.bytes->insert(destination.bytes->end(), element.begin(), element.end());
    destination.ends->push_back(static_cast<std::uint32_t>(destination.bytes->size()));
  }
  return {};
}

void Window::CopyRows(std::span<const Row> rows, std::size_t column, std::byte* out) const {
  const std::size_t bytes = columns_[column].bytes;
  const std::byte* const* bases = bases_.data() + column * slices_.size();
  // A constant size becomes a move or two instead of a call.
  const auto copy_constant = [&]<std::size_t kBytes>() {
    for (const Row& row : rows) {
      std::memcpy(out, bases[row.slice] + row.row * kBytes, kBytes);
      out += kBytes;
    }
  };
  switch (bytes) {
    case 0:
      return;
    case 1:
      return copy_constant.operator()<1>();
    case 2:
      return copy_constant.operator()<2>();
    case 4:
      return copy_constant.operator()<4>();
    case 8:
      return copy_constant.operator()<8>();
    case 16:
      return copy_constant.operator()<16>();
    case 32:
      return copy_constant.operator()<32>();
    default:
      break;
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i + kPrefetchRows < rows.size()) {
      const Row& ahead = rows[i + kPrefetchRows];
      __builtin_prefetch(bases[ahead.slice] + ahead.row * bytes);
    }
    std::memcpy(out, bases[rows[i].slice] + rows[i].row * bytes, bytes);
    out += bytes;
  }
}

}  // namespace dnc::stream
