// Which split each sample of a source falls into: pure and streaming. Every
// window of 1000 consecutive samples is ranked by a permutation of its own, and
// the ranks are cut by the cumulative fractions, so that every split is spread
// evenly over the source and has the size that was asked for.

#pragma once

#include <cstdint>
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
  // Requires: CheckSplits(splits) succeeds.
  SplitAssigner(const std::vector<SplitFraction>& splits, std::uint64_t seed);

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

}  // namespace dnc::divide
