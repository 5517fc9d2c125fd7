// Counts the bytes that a loader holds, against the budget that it was given.
// One thread adds and takes; any may read.

#pragma once

#include <atomic>
#include <cstdint>

#include "base/assert.h"

namespace dnc::stream {

class MemoryMeter {
 public:
  explicit MemoryMeter(std::uint64_t limit) : limit_(limit) {}

  // Requires: the sum stays within the limit. Whoever holds memory makes room
  // first; to come here without it is our own bug.
  void Add(std::uint64_t bytes) {
    held_ += bytes;
    DNC_ASSERT(held_ <= limit_);
    if (held_ > peak_.load(std::memory_order_relaxed)) {
      peak_.store(held_, std::memory_order_relaxed);
    }
  }
  void Take(std::uint64_t bytes) {
    DNC_ASSERT(bytes <= held_);
    held_ -= bytes;
  }
  std::uint64_t held() const { return held_; }
  std::uint64_t peak() const { return peak_.load(std::memory_order_relaxed); }

 private:
  const std::uint64_t limit_;
  std::uint64_t held_ = 0;
  std::atomic<std::uint64_t> peak_ = 0;
};

}  // namespace dnc::stream
