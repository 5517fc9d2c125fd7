// Bandwidth for all stores of the process: one limiter a direction. A transfer takes
// its bytes from it as they pass, and sleeps until they are due; a full socket then
// slows the other side down.
//
// Thread-safe.

#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "base/time.h"

namespace dnc::store {

class RateLimiter {
 public:
  // 0: no limit.
  void SetRate(std::uint64_t bytes_per_second);
  // How long to sleep before `bytes` may pass. Bytes of several callers queue.
  Duration Take(std::uint64_t bytes, Instant now);

 private:
  std::mutex mutex_;
  std::uint64_t bytes_per_second_ = 0;
  Instant due_{INT64_MIN / 2};  // When all that was taken has passed.
};

RateLimiter& UpLimiter();
RateLimiter& DownLimiter();

// Sleeps; false as soon as `cancelled` (may be null) is true.
bool SleepFor(Duration duration, const std::atomic<bool>* cancelled);

}  // namespace dnc::store
