// What a worker visits of one window: the slices of blocks that it needs, and the
// order in which it takes their samples. Pure data, computed by Plan and StreamOrder.

#pragma once

#include <cstdint>
#include <vector>

#include "base/assert.h"
#include "base/prng.h"
#include "stream/plan.h"

namespace dnc::stream {

// The i-th sample visited is number order(i) of the slices laid end to end. The samples
// of one or more lanes are visited in turn, row by row.
class VisitOrder {
 public:
  struct Lane {
    std::uint64_t start = 0;   // Number of the sample of image 0.
    std::uint64_t stride = 1;  // Between the numbers of images.
    Permutation rows = Permutation::Identity(0);
  };

  // One lane of all samples.
  explicit VisitOrder(const Permutation& order);
  static VisitOrder InOrder(std::uint64_t count);
  // First the samples numbered `ragged`, then all lanes from row `first_row` on.
  // Requires: at least one lane; lanes of as many rows as the first, or one less, the
  // longer ones first.
  VisitOrder(std::vector<Lane> lanes, std::uint64_t first_row, std::vector<std::uint64_t> ragged);

  std::uint64_t count() const { return count_; }
  std::uint64_t operator()(std::uint64_t i) const {
    if (i < ragged_.size()) return ragged_[i];
    i -= ragged_.size();
    const std::uint64_t lanes = lanes_.size();
    if (lanes == 1) return Number(lanes_[0], first_row_ + i);
    return Number(lanes_[i % lanes], first_row_ + i / lanes);
  }
  // Whether order(i) == i for all i.
  bool in_order() const { return in_order_; }

 private:
  static std::uint64_t Number(const Lane& lane, std::uint64_t row) {
    return lane.start + lane.stride * lane.rows(row);
  }

  std::vector<Lane> lanes_;
  std::uint64_t first_row_ = 0;
  std::vector<std::uint64_t> ragged_;
  std::uint64_t count_ = 0;
  bool in_order_ = false;
};

struct WindowVisit {
  std::uint64_t number = 0;  // Of the visit; the next one has the next number.
  std::uint64_t epoch = 0;
  std::uint64_t ordinal = 0;  // Of the window, over all epochs (StreamOrder::Ordinal).
  std::vector<BlockSlice> slices;
  VisitOrder order = VisitOrder::InOrder(0);
};

}  // namespace dnc::stream
