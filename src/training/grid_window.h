// The shuffle window of a task on the grid. It is a function of the manifest alone,
// so that a task gives the same bits on a provider with little memory and on one
// with much; both only differ in how far ahead they read.

#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "array/column.h"
#include "shard/manifest.h"

namespace dnc::training {

inline constexpr std::uint64_t kGridWindowBytes = 8u << 20;

// Samples of about kGridWindowBytes of raw columns, but no fewer than one block of
// `split` holds (a reader has to decode that much anyway), and at least 1. A window
// is never longer than the split.
inline std::uint64_t GridWindowSamples(const shard::Manifest& manifest, std::string_view split) {
  const std::uint64_t sample_bytes =
      std::max<std::uint64_t>(1, array::SampleBytes(manifest.columns));
  std::uint64_t samples = kGridWindowBytes / sample_bytes;
  for (const shard::ShardInfo& shard : manifest.shards) {
    if (shard.split == split) samples = std::max<std::uint64_t>(samples, shard.block_samples);
  }
  if (const shard::SplitInfo* info = manifest.FindSplit(split); info != nullptr) {
    samples = std::min(samples, info->samples);
  }
  return std::max<std::uint64_t>(1, samples);
}

}  // namespace dnc::training
