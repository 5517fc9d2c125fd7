#include "stream/visit.h"

#include <algorithm>

namespace dnc::stream {

VisitOrder::VisitOrder(const Permutation& order)
    : lanes_({{.start = 0, .stride = 1, .rows = order}}), count_(order.count()) {}

VisitOrder VisitOrder::InOrder(std::uint64_t count) {
  VisitOrder order(Permutation::Identity(count));
  order.in_order_ = true;
  return order;
}

VisitOrder::VisitOrder(std::vector<Lane> lanes, std::uint64_t first_row,
                       std::vector<std::uint64_t> ragged)
    : lanes_(std::move(lanes)), first_row_(first_row), ragged_(std::move(ragged)) {
  DNC_ASSERT(!lanes_.empty());
  count_ = ragged_.size();
  for (const Lane& lane : lanes_) {
    DNC_ASSERT(lane.rows.count() <= lanes_[0].rows.count() &&
               lane.rows.count() + 1 >= lanes_[0].rows.count());
    count_ += lane.rows.count() - std::min(lane.rows.count(), first_row);
  }
}

}  // namespace dnc::stream
