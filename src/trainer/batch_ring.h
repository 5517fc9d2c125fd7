// A few slots of memory that two processes share, each for one batch: the x column
// of batch_size_max samples, then the y column, then weights if there are any. The parent creates
// it and passes its descriptor on; its size is sealed, so that neither side can make the other
// fault by shrinking it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "trainer/protocol.h"

namespace dnc::trainer {

struct BatchRingLayout {
  std::uint32_t slots = 2;
  std::uint64_t x_bytes = 0;  // Of one slot.
  std::uint64_t y_bytes = 0;
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
  std::span<std::byte> x(std::uint32_t slot) const;
  std::span<std::byte> y(std::uint32_t slot) const;
  std::span<float> weights(std::uint32_t slot) const;
  const BatchRingLayout& layout() const { return layout_; }
  int fd() const { return fd_.get(); }

 private:
  Status Map();

  UniqueFd fd_;
  BatchRingLayout layout_{.slots = 0};
  std::byte* base_ = nullptr;
};

}  // namespace dnc::trainer
