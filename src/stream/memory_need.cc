#include "stream/memory_need.h"

#include <algorithm>
#include <cmath>

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
// Of a shard and of a leaf in a manifest: strings, digests and their allocations.
constexpr std::uint64_t kManifestShardBytes = 320;
constexpr std::uint64_t kManifestLeafBytes = sizeof(Digest);

// Decoded blocks of the windows: the samples that they hold, and the rest of the blocks
// at the ends of their stretches.
struct Held {
  std::uint64_t samples = 0;  // In the windows.
  std::uint64_t all = 0;      // In the blocks.
  std::uint64_t blocks = 0;
};

std::uint64_t LargestBlock(const shard::Manifest& manifest, const std::string& split) {
  std::uint64_t bytes = 0;
  for (const shard::ShardInfo& shard : manifest.shards) {
    if (shard.split == split && shard.samples > 0) {
      bytes = std::max(bytes, BlockBytesMax(manifest, shard));
    }
  }
  return bytes;
}

// What does not depend on how windows lie.
MemoryNeed NeedOf(const shard::Manifest& manifest, const std::string& split,
                  const BlockSequence& sequence, const Held& held) {
  MemoryNeed need;
  const std::uint64_t block_bytes = LargestBlock(manifest, split);
  if (array::AllArrays(manifest.columns)) {
    need.sample_bytes = array::SampleBytes(manifest.columns);
    need.samples_bytes = Product(held.samples, need.sample_bytes);
    need.partial_bytes = Product(held.all - held.samples, need.sample_bytes);
  } else {
    // Any block may be the largest.
    need.sample_bytes = block_bytes / std::max<std::uint64_t>(1, sequence.block_samples_max());
    need.samples_bytes = Product(held.blocks, block_bytes);
  }
  // The stored form of a block is no longer than the raw one. The decoder's buffer
  // doubles when it grows, with the old one beside it; another holds a column
  // before its filter is undone.
  need.decoder_bytes = Sum({Product(4, block_bytes), kZstdBytes});
  for (const shard::ShardInfo& shard : manifest.shards) {
    if (shard.split != split || shard.samples == 0) continue;
    need.leaf_bytes = std::max(need.leaf_bytes, std::min(shard.bytes, shard::kLeafBytes));
    need.index_bytes = std::max(need.index_bytes, ShardIndexBytes(manifest, shard));
  }
  const std::uint64_t slice_bytes = 128 + 8 * manifest.columns.size();
  need.table_bytes = Product(held.blocks + 1, slice_bytes);
  return need;
}

MemoryNeed LoaderNeed(const shard::Manifest& manifest, const std::string& split,
                      const BlockSequence& sequence, std::uint64_t window_samples,
                      std::uint64_t sample_count) {
  window_samples = std::min(window_samples, sample_count);
  const std::uint64_t windows = window_samples < sample_count ? 2 : 1;
  Held held;
  held.samples = std::min(sample_count, Product(windows, window_samples));
  // Two windows are one stretch of the sequence: only a block at each end is held
  // beyond the samples of the stretch.
  held.all = std::min(sequence.sample_count(),
                      Sum({held.samples, Product(2, sequence.block_samples_max() - 1)}));
  held.blocks = sequence.BlocksTouchedMax(held.samples);
  MemoryNeed need = NeedOf(manifest, split, sequence, held);
  need.windows = windows;
  need.window_samples = window_samples;
  return need;
}

}  // namespace

std::uint64_t MemoryNeed::total() const {
  return Sum({samples_bytes, partial_bytes, decoder_bytes, leaf_bytes, index_bytes, table_bytes,
              manifest_bytes, batch_bytes, ahead_bytes});
}

std::string MemoryNeed::Text() const {
  std::string text = FormatByteCount(total()) + ": " + std::to_string(windows) +
                     (windows == 1 ? " window of " : " windows of ") +
                     FormatByteCount(samples_bytes / std::max<std::uint64_t>(1, windows)) + " (" +
                     FormatCount(window_samples) + " samples of " + FormatByteCount(sample_bytes) +
                     ")";
  const auto add = [&text](const char* what, std::uint64_t bytes) {
    if (bytes > 0) text += std::string(", ") + what + " " + FormatByteCount(bytes);
  };
  add("the rest of their outer blocks", partial_bytes);
  add("decoding", decoder_bytes);
  add("a leaf of", leaf_bytes);
  add("a shard's index", index_bytes);
  add("tables", table_bytes);
  add("the manifest", manifest_bytes);
  add("batches", batch_bytes);
  add("images decoded ahead", ahead_bytes);
  return text;
}

MemoryNeed MemoryNeedOf(const Plan& plan) {
  return LoaderNeed(plan.manifest(), plan.options().split, plan.sequence(),
                    plan.options().window_samples, plan.sample_count());
}

MemoryNeed MemoryNeedOf(const shard::Manifest& manifest, const std::string& split,
                        const BlockSequence& sequence, std::uint64_t window_samples) {
  return LoaderNeed(manifest, split, sequence, window_samples, sequence.sample_count());
}

MemoryNeed StreamNeedOf(const shard::Manifest& manifest, const std::string& split,
                        const BlockSequence& sequence, const StreamNeedOptions& options) {
  const std::uint64_t all = sequence.sample_count();
  const std::uint64_t window = std::min(options.window_samples, all);
  const std::uint64_t block_rest = sequence.block_samples_max() - 1;
  Held held;
  held.samples = std::min(all, Product(2, window));
  // One worker's two windows are one stretch, or the end of one epoch and the begin of
  // the next. Each of several workers has two shorter stretches of its own.
  const std::uint64_t one = Sum({held.samples, Product(2, block_rest)});
  const std::uint64_t several =
      Sum({Product(2, (window - 1) / options.lanes + 1), Product(4, block_rest)});
  held.all = std::min(all, std::max(one, several));
  held.blocks = window < all ? Product(2, sequence.BlocksTouchedByAny(window))
                             : sequence.BlocksTouchedByAny(all);
  MemoryNeed need = NeedOf(manifest, split, sequence, held);
  need.windows = window < all ? 2 : 1;
  need.window_samples = window;
  need.manifest_bytes = Product(manifest.shards.size(), kManifestShardBytes);
  for (const shard::ShardInfo& shard : manifest.shards) {
    need.manifest_bytes =
        Sum({need.manifest_bytes, Product(shard.leaves.size(), kManifestLeafBytes)});
  }
  const std::uint64_t batch_sample_bytes = BatchSampleBytes(manifest, split, options.resize);
  need.batch_bytes =
      Product(Product(options.batch_samples, options.batches_held), batch_sample_bytes);
  if (options.resize.width > 0) {
    // A chunk under way for each of two threads and one that is taken; and what decoders
    // hold: an image of up to twice the size either way.
    const std::uint64_t least =
        Product(3, std::max<std::uint64_t>(batch_sample_bytes, 1)) +
        Product(2 * 4 * 3, Product(options.resize.width, options.resize.height));
    need.ahead_bytes = std::max(options.ahead_bytes, least);
  }
  return need;
}

std::uint64_t BlockBytesMax(const shard::Manifest& manifest, const shard::ShardInfo& shard) {
  const std::uint64_t samples = std::min<std::uint64_t>(shard.block_samples, shard.samples);
  if (array::AllArrays(manifest.columns)) {
    return Product(samples, array::SampleBytes(manifest.columns));
  }
  return shard.block_bytes_max;
}

std::uint64_t ShardIndexBytes(const shard::Manifest& manifest, const shard::ShardInfo& shard) {
  // Twice: the index as it is stored, and as it is parsed.
  std::uint64_t columns = 1024;
  for (const array::ColumnSpec& column : manifest.columns) {
    columns += 2 * (128 + column.name.size() + 8 * column.shape.size());
  }
  const std::uint64_t blocks =
      shard.block_samples == 0 ? 0 : (shard.samples - 1) / shard.block_samples + 1;
  return Sum({columns, Product(blocks, 32 + 48 * manifest.columns.size())});
}

std::uint64_t BatchSampleBytes(const shard::Manifest& manifest, const std::string& split,
                               image::ImageSize resize) {
  const shard::SplitInfo* info = manifest.FindSplit(split);
  std::uint64_t bytes = 0;
  for (std::size_t c = 0; c < manifest.columns.size(); ++c) {
    const array::ColumnSpec& column = manifest.columns[c];
    std::uint64_t one = 0;
    if (column.is_array()) {
      one = column.sample_bytes();
    } else if (column.kind == array::ColumnKind::kImage && resize.width > 0) {
      one = Product(3, Product(resize.width, resize.height));
    } else if (info != nullptr && c < info->statistics.size()) {
      // A batch holds many: their mean, and a fifth.
      const double mean = info->statistics[c].mean;
      one = mean > 0 && mean < 1e15 ? static_cast<std::uint64_t>(std::ceil(mean * 1.2)) + 4 : 4;
    }
    bytes = Sum({bytes, one});
  }
  return bytes;
}

}  // namespace dnc::stream
