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
             BlockSequence::Create(*manifest, options.split,
                                   {DeriveSeed(options.seed, kEpochSeed, options.epoch),
                                    options.shuffle, options.run_blocks}));
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
  const std::uint64_t position = begin_ + window * options_.window_samples;
  return Slices(position, position + WindowSamples(window));
}

std::vector<BlockSlice> Plan::Slices(std::uint64_t begin, std::uint64_t end) const {
  DNC_ASSERT(begin <= end && end <= sequence_.sample_count());
  std::vector<BlockSlice> slices;
  if (begin == end) return slices;
  std::uint64_t place = sequence_.PlaceOf(begin);
  std::uint64_t skipped = begin - sequence_.Start(place);
  std::uint64_t left = end - begin;
  for (; left > 0; ++place, skipped = 0) {
    const BlockSequence::Block run = sequence_.At(place);
    const std::uint64_t block_samples = manifest_->shards[run.shard_index].block_samples;
    const std::uint64_t run_end = std::min<std::uint64_t>(run.samples, skipped + left);
    left -= run_end - skipped;
    while (skipped < run_end) {
      const std::uint64_t block = skipped / block_samples;
      const std::uint64_t first = block * block_samples;
      const std::uint64_t stop = std::min(run_end, first + block_samples);
      slices.push_back({run.shard_index, run.block_index + static_cast<std::uint32_t>(block),
                        static_cast<std::uint32_t>(skipped - first),
                        static_cast<std::uint32_t>(stop - first)});
      skipped = stop;
    }
  }
  return slices;
}

std::uint64_t Plan::WindowSeed(std::uint64_t position) const {
  const std::uint64_t epoch_seed = DeriveSeed(options_.seed, kEpochSeed, options_.epoch);
  return DeriveSeed(epoch_seed, kWindowSeed, position);
}

Permutation Plan::WindowOrder(std::uint64_t window) const {
  const std::uint64_t samples = WindowSamples(window);
  if (!options_.shuffle) return Permutation::Identity(samples);
  // Seeded by the place in the epoch, so that ranges that begin elsewhere do not
  // repeat each other's orders.
  return Permutation(samples, WindowSeed(begin_ + window * options_.window_samples));
}

std::uint64_t Plan::window_blocks_max() const {
  return sequence_.BlocksTouchedMax(std::min(options_.window_samples, sample_count()));
}

}  // namespace dnc::stream
