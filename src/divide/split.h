// Which split each sample of a source falls into: pure and streaming. Every
// window of 1000 consecutive samples is ranked by a permutation of its own, and
// the ranks are cut by the cumulative fractions, so that every split is spread
// evenly over the source and has the size that was asked for.

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/prng.h"
#include "base/result.h"

namespace dnc::divide {

inline constexpr std::uint64_t kSplitWindow = 1000;

struct SplitFraction {
  std::string name;
  double fraction = 1;

  friend bool operator==(const SplitFraction&, const SplitFraction&) = default;
};

// Errors: kInvalidArgument, no splits, an empty, overlong or repeated name,
// a fraction outside (0, 1], or a sum that is not 1 within 1e-9.
Status CheckSplits(const std::vector<SplitFraction>& splits);

// "train=0.9,validation=0.1". Errors: kInvalidArgument, as CheckSplits too.
Result<std::vector<SplitFraction>> ParseSplits(const std::string& text);

class SplitAssigner {
 public:
  // `first_window` is above 0 where only the samples from window first_window on are
  // assigned, as if those before them had been.
  // Requires: CheckSplits(splits) succeeds.
  SplitAssigner(const std::vector<SplitFraction>& splits, std::uint64_t seed,
                std::uint64_t first_window = 0);

  // Begins the next window, of `samples` samples; all but the last have
  // kSplitWindow. After n samples the splits up to and including s hold
  // round(n * sum of their fractions) together.
  void BeginWindow(std::uint64_t samples);
  // The split of a sample of the window, by its index in it.
  // Requires: index < the window's samples.
  std::uint32_t Split(std::uint64_t index) const;

 private:
  std::vector<double> cumulative_;       // Sum of the fractions up to each split.
  std::vector<std::uint64_t> assigned_;  // Samples given to the splits up to each.
  std::vector<std::uint64_t> bounds_;    // Ranks of the window below which a split lies.
  std::uint64_t seed_;
  std::uint64_t window_index_ = 0;
  std::uint64_t samples_ = 0;  // Up to the end of the window.
  Permutation order_;
};

// Routes the samples of blocks that stream by to their splits.
class SplitRouter {
 public:
  struct Options {
    std::vector<SplitFraction> splits;
    std::uint64_t seed = 0;
    std::uint64_t first_window = 0;  // As for SplitAssigner.
    // Where it is known how many samples there will be, the last window is cut exactly.
    std::optional<std::uint64_t> samples_total;
    // Every block is one window.
    bool blocks_are_windows = false;
  };
  // The samples [begin, end) of a block belong to `split`, an index.
  using Add = std::function<Status(std::uint32_t split, std::uint64_t begin, std::uint64_t end)>;

  // Requires: as SplitAssigner.
  explicit SplitRouter(const Options& options);

  // Calls `add` for every run of samples of one split in the next `sample_count` ones.
  // Errors: those of `add`.
  Status Route(std::uint64_t sample_count, const Add& add);

 private:
  std::uint64_t WindowSamples(std::uint64_t left_in_block) const;

  const Options options_;
  SplitAssigner assigner_;
  std::uint64_t window_index_ = 0;
  std::uint64_t window_left_ = 0;
  std::uint64_t window_samples_ = 0;
};

}  // namespace dnc::divide
