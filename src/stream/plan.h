// The order in which samples of a split are visited: pure, memory proportional to
// the number of shards alone, a function of (manifest, split, seed, epoch, range, window)
// alone.
//
// The blocks of the split are permuted by (seed, epoch); laid end to end they give
// the epoch's sequence of positions 0..N-1. A range [begin, end) of positions is
// cut, from its beginning, into windows of `window_samples`; the samples of a
// window are shuffled among themselves. A reader needs only the blocks of the
// window that it is in.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/prng.h"
#include "base/result.h"
#include "shard/manifest.h"
#include "stream/block_sequence.h"

namespace dnc::stream {

struct PlanOptions {
  std::string split = "train";
  std::uint64_t seed = 0;
  std::uint64_t epoch = 0;
  bool shuffle = true;             // false: the order in the shards.
  std::uint64_t begin = 0;         // Positions in the epoch's sequence.
  std::uint64_t end = UINT64_MAX;  // Cut to the number of samples.
  std::uint64_t window_samples = 1u << 14;
  // Neighbouring blocks that stay together in the epoch's sequence (block_sequence.h).
  std::uint32_t run_blocks = 1;
};

// Samples [begin, end) of one block of one shard.
struct BlockSlice {
  std::uint32_t shard_index = 0;  // Into Manifest::shards.
  std::uint32_t block_index = 0;
  std::uint32_t begin = 0;
  std::uint32_t end = 0;

  friend bool operator==(const BlockSlice&, const BlockSlice&) = default;
};

class Plan {
 public:
  // `manifest` must outlive the plan.
  // Errors: kNotFound, no such split, naming those that there are;
  // kInvalidArgument, an empty or inverted range, or a window of no samples;
  // those of BlockSequence::Create.
  static Result<Plan> Create(const shard::Manifest* manifest, const PlanOptions& options);

  std::uint64_t sample_count() const { return end_ - begin_; }
  std::uint64_t window_count() const;
  // The slices whose samples make up a window, in the epoch's sequence.
  // Requires: window < window_count().
  std::vector<BlockSlice> WindowSlices(std::uint64_t window) const;
  // The slices of positions [begin, end) of the epoch's sequence.
  // Requires: begin <= end <= the samples of the split.
  std::vector<BlockSlice> Slices(std::uint64_t begin, std::uint64_t end) const;
  // The order within a window: the i-th sample visited is number order(i) of the
  // window's slices laid end to end.
  Permutation WindowOrder(std::uint64_t window) const;
  // The seed of the window that begins at a position of the epoch's sequence.
  std::uint64_t WindowSeed(std::uint64_t position) const;
  std::uint64_t WindowSamples(std::uint64_t window) const;
  // Upper bound of the blocks that any window touches, for the memory arithmetic.
  std::uint64_t window_blocks_max() const;

  const shard::Manifest& manifest() const { return *manifest_; }
  const PlanOptions& options() const { return options_; }
  const BlockSequence& sequence() const { return sequence_; }

 private:
  Plan() = default;
  const shard::Manifest* manifest_ = nullptr;
  PlanOptions options_;
  BlockSequence sequence_;
  std::uint64_t begin_ = 0;
  std::uint64_t end_ = 0;
};

}  // namespace dnc::stream
