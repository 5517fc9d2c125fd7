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

}  // namespace

Window::Window(std::uint64_t index, std::vector<Slice> slices, const Permutation& order,
               bool in_order, std::vector<std::size_t> column_bytes)
    : index_(index),
      slices_(std::move(slices)),
      order_(order),
      in_order_(in_order),
      column_bytes_(std::move(column_bytes)) {
  first_.reserve(slices_.size() + 1);
  std::uint64_t samples = 0;
  for (const Slice& slice : slices_) {
    DNC_ASSERT(slice.begin < slice.end && slice.end <= slice.block->data.sample_count);
    first_.push_back(samples);
    samples += slice.end - slice.begin;
  }
  first_.push_back(samples);
  DNC_ASSERT(samples == order_.count() && samples > 0);

  // About two buckets a slice, so that the search in one is a step or two.
  bucket_shift_ = std::max(0, static_cast<int>(std::bit_width(samples / slices_.size())) - 2);
  std::uint32_t slice = 0;
  const std::uint64_t bucket_count = ((samples - 1) >> bucket_shift_) + 1;
  bucket_.reserve(bucket_count);
  for (std::uint64_t bucket = 0; bucket < bucket_count; ++bucket) {
    while (first_[slice + 1] <= bucket << bucket_shift_) ++slice;
    bucket_.push_back(slice);
  }

  bases_.reserve(slices_.size() * column_bytes_.size());
  for (std::size_t c = 0; c < column_bytes_.size(); ++c) {
    for (const Slice& part : slices_) bases_.push_back(part.block->data.columns[c].data());
  }
}

std::uint32_t Window::SliceOf(std::uint64_t number) const {
  std::uint32_t slice = bucket_[number >> bucket_shift_];
  while (number >= first_[slice + 1]) ++slice;
  return slice;
}

void Window::Gather(std::uint64_t first, std::uint64_t count,
                    std::span<std::byte* const> destinations, std::uint64_t offset) const {
  DNC_ASSERT(first <= samples() && count <= samples() - first);
  DNC_ASSERT(destinations.size() == column_bytes_.size());
  if (in_order_) return GatherInOrder(first, count, destinations, offset);
  std::array<Row, kChunk> rows;
  for (std::uint64_t done = 0; done < count; done += kChunk) {
    const std::size_t chunk = std::min<std::uint64_t>(kChunk, count - done);
    for (std::size_t i = 0; i < chunk; ++i) {
      const std::uint64_t number = order_(first + done + i);
      const std::uint32_t slice = SliceOf(number);
      rows[i] = {slice, static_cast<std::uint32_t>(number - first_[slice]) + slices_[slice].begin};
    }
    for (std::size_t c = 0; c < destinations.size(); ++c) {
      if (destinations[c] == nullptr) continue;
      CopyRows(std::span(rows).first(chunk), c,
               destinations[c] + (offset + done) * column_bytes_[c]);
    }
  }
}

void Window::GatherInOrder(std::uint64_t first, std::uint64_t count,
                           std::span<std::byte* const> destinations, std::uint64_t offset) const {
  std::uint32_t slice = count == 0 ? 0 : SliceOf(first);
  while (count > 0) {
    const std::uint64_t run = std::min(count, first_[slice + 1] - first);
    const std::uint64_t row = first - first_[slice] + slices_[slice].begin;
    for (std::size_t c = 0; c < destinations.size(); ++c) {
      const std::size_t bytes = column_bytes_[c];
      if (destinations[c] == nullptr || bytes == 0) continue;
      std::memcpy(destinations[c] + offset * bytes,
                  bases_[c * slices_.size() + slice] + row * bytes, run * bytes);
    }
    first += run;
    offset += run;
    count -= run;
    ++slice;
  }
}

void Window::CopyRows(std::span<const Row> rows, std::size_t column, std::byte* out) const {
  const std::size_t bytes = column_bytes_[column];
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
