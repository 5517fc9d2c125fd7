// A few slots of memory that two processes share, each for one batch of batch_size_max
// samples: the columns of the inputs, then those of the labels, then weights if there are
// any. The parent creates it and passes its descriptor on; its size is sealed, so that
// neither side can make the other fault by shrinking it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "trainer/protocol.h"

namespace dnc::trainer {

struct BatchRingLayout {
  std::uint32_t slots = 2;
  std::vector<std::uint64_t> x_bytes;  // Of each column of one slot.
  std::vector<std::uint64_t> y_bytes;
  std::uint64_t weight_bytes = 0;

  std::uint64_t slot_bytes() const;  // Each column starts on a cache line.
  std::uint64_t total_bytes() const { return slots * slot_bytes(); }
};

// The layout for these options; 4 slots if batches are small, 2 if they are large.
// Requires: CheckTrainerOptions.
BatchRingLayout LayoutFor(const TrainerOptions& options);

class BatchRing {
 public:
  BatchRing() = default;
  ~BatchRing();
  BatchRing(BatchRing&& other) noexcept;
  BatchRing& operator=(BatchRing&& other) noexcept;

  // Fresh zeroed memory. Errors: kResourceExhausted.
  static Result<BatchRing> Create(const BatchRingLayout& layout);
  // Maps what Create() made in another process.
  // Errors: kCorrupt, not sealed, or smaller than the layout; kResourceExhausted.
  static Result<BatchRing> Open(UniqueFd fd, const BatchRingLayout& layout);

  // Requires: slot < layout().slots.
  std::vector<std::span<std::byte>> x(std::uint32_t slot) const;
  std::vector<std::span<std::byte>> y(std::uint32_t slot) const;
  std::span<float> weights(std::uint32_t slot) const;
  const BatchRingLayout& layout() const { return layout_; }
  int fd() const { return fd_.get(); }

 private:
  Status Map();
  // The columns of these sizes, of which the first begins at `offset` of the slot, which
  // is moved behind them.
  std::vector<std::span<std::byte>> Columns(std::uint32_t slot,
                                            std::span<const std::uint64_t> sizes,
                                            std::uint64_t* offset) const;

  UniqueFd fd_;
  BatchRingLayout layout_{.slots = 0};
  std::byte* base_ = nullptr;
};

}  // namespace dnc::trainer
