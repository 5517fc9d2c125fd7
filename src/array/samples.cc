#include "array/samples.h"

#include "base/assert.h"

namespace dnc::array {

void ClearSamples(const std::vector<ColumnSpec>& columns, SampleBlock* block) {
  block->sample_count = 0;
  block->columns.resize(columns.size());
  block->ends.resize(columns.size());
  for (Bytes& column : block->columns) column.clear();
  for (auto& ends : block->ends) ends.clear();
}

void AppendSamples(const std::vector<ColumnSpec>& columns, const SampleBlock& from,
                   std::uint64_t begin, std::uint64_t end, SampleBlock* to) {
  DNC_ASSERT(begin <= end && end <= from.sample_count);
  DNC_ASSERT(to->columns.size() == columns.size() && to->ends.size() == columns.size());
  if (begin == end) return;
  for (std::size_t c = 0; c < columns.size(); ++c) {
    Bytes& target = to->columns[c];
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    if (columns[c].is_array()) {
      const std::uint64_t bytes = columns[c].sample_bytes();
      first = begin * bytes;
      last = end * bytes;
    } else {
      const std::vector<std::uint32_t>& ends = from.ends[c];
      first = begin == 0 ? 0 : ends[begin - 1];
      last = ends[end - 1];
      const std::uint64_t before = target.size();
      DNC_ASSERT(before + last - first <= UINT32_MAX);
      for (std::uint64_t i = begin; i < end; ++i) {
        to->ends[c].push_back(static_cast<std::uint32_t>(before + ends[i] - first));
      }
    }
    const auto source = from.columns[c].begin();
    target.insert(target.end(), source + static_cast<std::ptrdiff_t>(first),
                  source + static_cast<std::ptrdiff_t>(last));
  }
  to->sample_count += end - begin;
}

std::uint64_t StoredSampleBytes(const std::vector<ColumnSpec>& columns, const SampleBlock& block,
                                std::uint64_t sample) {
  std::uint64_t bytes = 0;
  for (std::size_t c = 0; c < columns.size(); ++c) {
    bytes +=
        columns[c].is_array() ? columns[c].sample_bytes() : 4 + block.element(c, sample).size();
  }
  return bytes;
}

std::uint64_t StoredBlockBytes(const std::vector<ColumnSpec>& columns, const SampleBlock& block) {
  std::uint64_t bytes = 0;
  for (std::size_t c = 0; c < columns.size(); ++c) {
    bytes += block.columns[c].size() + (columns[c].is_array() ? 0 : 4 * block.sample_count);
  }
  return bytes;
}

ByteSpan ElementOf(const std::vector<ColumnSpec>& columns, const SampleBlock& block, std::size_t c,
                   std::uint64_t sample) {
  if (!columns[c].is_array()) return block.element(c, sample);
  const std::size_t bytes = columns[c].sample_bytes();
  return ByteSpan(block.columns[c]).subspan(sample * bytes, bytes);
}

}  // namespace dnc::array
