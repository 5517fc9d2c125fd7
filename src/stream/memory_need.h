// The arithmetic of a loader's memory: what a plan needs, item by item, as upper
// bounds that follow from the manifest alone. Pure.

#pragma once

#include <cstdint>
#include <string>

#include "shard/manifest.h"
#include "stream/block_sequence.h"
#include "stream/plan.h"

namespace dnc::stream {

struct MemoryNeed {
  std::uint64_t windows = 0;         // Held at once: 2, or 1 if there is no other.
  std::uint64_t window_samples = 0;  // Of one window.
  std::uint64_t sample_bytes = 0;
  std::uint64_t samples_bytes = 0;  // Decoded samples of the windows.
  std::uint64_t partial_bytes = 0;  // What the blocks at their ends hold beside them.
  std::uint64_t decoder_bytes = 0;
  std::uint64_t leaf_bytes = 0;   // One leaf; with more memory more are kept.
  std::uint64_t index_bytes = 0;  // The largest index of a shard; likewise.
  std::uint64_t table_bytes = 0;  // Which block holds which sample of a window.

  // Saturates at UINT64_MAX.
  std::uint64_t total() const;
  // "12.5 MiB: 2 windows of 5 MiB (6,687 samples of 784 B), ...".
  std::string Text() const;
};

MemoryNeed MemoryNeedOf(const Plan& plan);

// Of a plan over a whole split.
MemoryNeed MemoryNeedOf(const shard::Manifest& manifest, const std::string& split,
                        const BlockSequence& sequence, std::uint64_t window_samples);

// Upper bound of what an open reader of the shard holds, and took to open.
std::uint64_t ShardIndexBytes(const shard::Manifest& manifest, const shard::ShardInfo& shard);

}  // namespace dnc::stream
