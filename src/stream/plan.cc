#include "stream/plan.h"

#include <algorithm>

#include "base/assert.h"
#include "base/human.h"

namespace dnc::stream {
namespace {

constexpr std::uint64_t kEpochSeed = 0x65706f6368;     // "epoch"
constexpr std::uint64_t kWindowSeed = 0x77696e646f77;  // "window"

std::string SplitNames(const shard::Manifest& manifest) {
  std::string names;
  for (const shard::SplitInfo& split : manifest.splits) {
    names += (names.empty() ? "" : ", ") + split.name;
  }
  return names.empty() ? "none" : names;
}

}  // namespace

Result<Plan> Plan::Create(const shard::Manifest* manifest, const PlanOptions& options) {
  if (manifest->FindSplit(options.split) == nullptr) {
    return Error{ErrorCode::kNotFound, "manifest \"" + manifest->name + "\" has no split \"" +
                                           options.split + "\"; it has: " + SplitNames(*manifest)};
  }
  if (options.window_samples == 0) {
    return Error{ErrorCode::kInvalidArgument, "a shuffle window of 0 samples; it needs at least 1"};
  }
  Plan plan;
  plan.manifest_ = manifest;
  plan.options_ = options;
  DNC_ASSIGN(plan.sequence_,
             BlockSequence::Create(
                 *manifest, options.split,
                 {DeriveSeed(options.seed, kEpochSeed, options.epoch), options.shuffle}));
  plan.begin_ = options.begin;
  plan.end_ = std::min(options.end, plan.sequence_.sample_count());
  if (plan.begin_ >= plan.end_) {
    return Error{ErrorCode::kInvalidArgument,
                 "samples [" + std::to_string(options.begin) + ", " +
                     (options.end == UINT64_MAX ? "end" : std::to_string(options.end)) +
                     ") of split \"" + options.split + "\" are none: it has " +
                     FormatCount(plan.sequence_.sample_count()) + " samples"};
  }
  return plan;
}

std::uint64_t Plan::window_count() const {
  return (sample_count() - 1) / options_.window_samples + 1;
}

std::uint64_t Plan::WindowSamples(std::uint64_t window) const {
  DNC_ASSERT(window < window_count());
  return std::min(options_.window_samples, sample_count() - window * options_.window_samples);
}

std::vector<BlockSlice> Plan::WindowSlices(std::uint64_t window) const {
  std::uint64_t left = WindowSamples(window);
  const std::uint64_t position = begin_ + window * options_.window_samples;
  std::uint64_t place = sequence_.PlaceOf(position);
  std::uint64_t begin = position - sequence_.Start(place);
  std::vector<BlockSlice> slices;
  while (left > 0) {
    const BlockSequence::Block block = sequence_.At(place);
    const std::uint64_t samples = std::min(left, block.samples - begin);
    slices.push_back({block.shard_index, block.block_index, static_cast<std::uint32_t>(begin),
                      static_cast<std::uint32_t>(begin + samples)});
    left -= samples;
    begin = 0;
    ++place;
  }
  return slices;
}

Permutation Plan::WindowOrder(std::uint64_t window) const {
  const std::uint64_t samples = WindowSamples(window);
  if (!options_.shuffle) return Permutation::Identity(samples);
  const std::uint64_t epoch_seed = DeriveSeed(options_.seed, kEpochSeed, options_.epoch);
  // Seeded by the place in the epoch, so that ranges that begin elsewhere do not
  // repeat each other's orders.
  const std::uint64_t position = begin_ + window * options_.window_samples;
  return Permutation(samples, DeriveSeed(epoch_seed, kWindowSeed, position));
}

std::uint64_t Plan::window_blocks_max() const {
  return sequence_.BlocksTouchedMax(std::min(options_.window_samples, sample_count()));
}

}  // namespace dnc::stream
