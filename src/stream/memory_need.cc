#include "stream/memory_need.h"

#include <algorithm>
#include <numeric>

#include "base/human.h"
#include "shard/content_id.h"

namespace dnc::stream {
namespace {

// A manifest may claim anything: sums and products stop at the largest number.
std::uint64_t Product(std::uint64_t a, std::uint64_t b) {
  std::uint64_t product;
  return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

std::uint64_t Sum(std::initializer_list<std::uint64_t> terms) {
  std::uint64_t sum = 0;
  for (const std::uint64_t term : terms) {
    if (__builtin_add_overflow(sum, term, &sum)) return UINT64_MAX;
  }
  return sum;
}

// zstd's context for decoding whole frames, measured 96 KiB in 1.5.4, rounded up.
constexpr std::uint64_t kZstdBytes = 192 << 10;

MemoryNeed NeedOf(const shard::Manifest& manifest, const std::string& split,
                  const BlockSequence& sequence, std::uint64_t window_samples,
                  std::uint64_t sample_count) {
  MemoryNeed need;
  need.window_samples = std::min(window_samples, sample_count);
  need.windows = need.window_samples < sample_count ? 2 : 1;
  need.sample_bytes = array::SampleBytes(manifest.columns);
  const std::uint64_t samples = std::min(sample_count, Product(need.windows, need.window_samples));
  // Two windows are one stretch of the sequence: only a block at each end is held
  // beyond the samples of the stretch.
  const std::uint64_t block_samples = sequence.block_samples_max();
  const std::uint64_t held =
      std::min(sequence.sample_count(), Sum({samples, Product(2, block_samples - 1)}));
  need.samples_bytes = Product(samples, need.sample_bytes);
  need.partial_bytes = Product(held - samples, need.sample_bytes);
  // The stored form of a block is no longer than the raw one. The decoder's buffer
  // doubles when it grows, with the old one beside it; another holds a column
  // before its filter is undone.
  const std::uint64_t block_bytes = Product(block_samples, need.sample_bytes);
  need.decoder_bytes = Sum({Product(4, block_bytes), kZstdBytes});
  for (const shard::ShardInfo& shard : manifest.shards) {
    if (shard.split != split || shard.samples == 0) continue;
    need.leaf_bytes = std::max(need.leaf_bytes, std::min(shard.bytes, shard::kLeafBytes));
    need.index_bytes = std::max(need.index_bytes, ShardIndexBytes(manifest, shard));
  }
  const std::uint64_t slice_bytes = 128 + 8 * manifest.columns.size();
  need.table_bytes = Product(sequence.BlocksTouchedMax(samples) + 1, slice_bytes);
  return need;
}

}  // namespace

std::uint64_t MemoryNeed::total() const {
  return Sum({samples_bytes, partial_bytes, decoder_bytes, leaf_bytes, index_bytes, table_bytes});
}

std::string MemoryNeed::Text() const {
  std::string text = FormatByteCount(total()) + ": " + std::to_string(windows) +
                     (windows == 1 ? " window of " : " windows of ") +
                     FormatByteCount(Product(window_samples, sample_bytes)) + " (" +
                     FormatCount(window_samples) + " samples of " + FormatByteCount(sample_bytes) +
                     "), the rest of their outer blocks " + FormatByteCount(partial_bytes) +
                     ", decoding " + FormatByteCount(decoder_bytes) + ", a leaf of " +
                     FormatByteCount(leaf_bytes) + ", a shard's index " +
                     FormatByteCount(index_bytes) + ", tables " + FormatByteCount(table_bytes);
  return text;
}

MemoryNeed MemoryNeedOf(const Plan& plan) {
  return NeedOf(plan.manifest(), plan.options().split, plan.sequence(),
                plan.options().window_samples, plan.sample_count());
}

MemoryNeed MemoryNeedOf(const shard::Manifest& manifest, const std::string& split,
                        const BlockSequence& sequence, std::uint64_t window_samples) {
  return NeedOf(manifest, split, sequence, window_samples, sequence.sample_count());
}

std::uint64_t ShardIndexBytes(const shard::Manifest& manifest, const shard::ShardInfo& shard) {
  // Twice: the index as it is stored, and as it is parsed.
  std::uint64_t columns = 1024;
  for (const array::ColumnSpec& column : manifest.columns) {
    columns += 2 * (128 + column.name.size() + 8 * column.shape.size());
  }
  const std::uint64_t blocks =
      shard.block_samples == 0 ? 0 : (shard.samples - 1) / shard.block_samples + 1;
  return Sum({columns, Product(blocks, 32 + 32 * manifest.columns.size())});
}

}  // namespace dnc::stream
