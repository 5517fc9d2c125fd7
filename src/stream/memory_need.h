// The arithmetic of memory: what a stream needs, item by item, as upper bounds that
// follow from the manifest alone. Pure.

#pragma once

#include <cstdint>
#include <string>

#include "image/image.h"
#include "shard/manifest.h"
#include "stream/block_sequence.h"
#include "stream/plan.h"

namespace dnc::stream {

struct MemoryNeed {
  std::uint64_t windows = 0;         // Held at once: 2, or 1 if there is no other.
  std::uint64_t window_samples = 0;  // Of one window.
  std::uint64_t sample_bytes = 0;    // Of a sample; with varying lengths about.
  std::uint64_t samples_bytes = 0;   // Decoded samples of the windows.
  std::uint64_t partial_bytes = 0;   // What the blocks at their ends hold beside them.
  std::uint64_t decoder_bytes = 0;
  std::uint64_t leaf_bytes = 0;      // One leaf; with more memory more are kept.
  std::uint64_t index_bytes = 0;     // The largest index of a shard; likewise.
  std::uint64_t table_bytes = 0;     // Which block holds which sample of a window.
  std::uint64_t manifest_bytes = 0;  // Of a stream: the manifest itself,
  std::uint64_t batch_bytes = 0;     // the batches that the caller holds,
  std::uint64_t ahead_bytes = 0;     // and images decoded ahead of them.

  // Saturates at UINT64_MAX.
  std::uint64_t total() const;
  // What decoded blocks may take together.
  std::uint64_t block_bytes() const { return samples_bytes + partial_bytes; }
  // "12.5 MiB: 2 windows of 5 MiB (6,687 samples of 784 B), ...".
  std::string Text() const;
};

// Of a Loader over a plan.
MemoryNeed MemoryNeedOf(const Plan& plan);
// Of a Loader's plan over a whole split.
MemoryNeed MemoryNeedOf(const shard::Manifest& manifest, const std::string& split,
                        const BlockSequence& sequence, std::uint64_t window_samples);

struct StreamNeedOptions {
  std::uint64_t window_samples = 0;
  std::uint64_t lanes = 1;
  std::uint64_t batch_samples = 0;
  std::uint64_t batches_held = 0;
  // Images are decoded to this size (0: they are not) ahead, into this many bytes at
  // least.
  image::ImageSize resize;
  std::uint64_t ahead_bytes = 0;
};

// Of a Stream of any number of workers that the lanes allow, over any of its epochs.
MemoryNeed StreamNeedOf(const shard::Manifest& manifest, const std::string& split,
                        const BlockSequence& sequence, const StreamNeedOptions& options);

// Raw bytes of the largest block of a shard, as far as the manifest tells.
std::uint64_t BlockBytesMax(const shard::Manifest& manifest, const shard::ShardInfo& shard);
// Upper bound of what an open reader of the shard holds, and took to open.
std::uint64_t ShardIndexBytes(const shard::Manifest& manifest, const shard::ShardInfo& shard);
// Bytes of a sample as batches hold it: arrays, decoded images, and the mean of what
// varies.
std::uint64_t BatchSampleBytes(const shard::Manifest& manifest, const std::string& split,
                               image::ImageSize resize);

}  // namespace dnc::stream
