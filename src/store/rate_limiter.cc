#include "store/rate_limiter.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace dnc::store {
namespace {

// What may pass at once after a pause: enough that a wake-up that comes late does not
// lower the rate.
constexpr Duration kBurst = Duration::Milliseconds(50);
constexpr Duration kSleepSlice = Duration::Milliseconds(50);

}  // namespace

void RateLimiter::SetRate(std::uint64_t bytes_per_second) {
  const std::lock_guard lock(mutex_);
  bytes_per_second_ = bytes_per_second;
}

Duration RateLimiter::Take(std::uint64_t bytes, Instant now) {
  const std::lock_guard lock(mutex_);
  if (bytes_per_second_ == 0) return {};
  const double seconds = static_cast<double>(bytes) / static_cast<double>(bytes_per_second_);
  const auto cost = Duration::Microseconds(static_cast<std::int64_t>(std::min(seconds, 1e6) * 1e6));
  due_ = std::max(due_, now - kBurst) + cost;
  return std::max(due_ - now, Duration{});
}

RateLimiter& UpLimiter() {
  static RateLimiter limiter;
  return limiter;
}

RateLimiter& DownLimiter() {
  static RateLimiter limiter;
  return limiter;
}

bool SleepFor(Duration duration, const std::atomic<bool>* cancelled) {
  const Instant end = MonotonicNow() + duration;
  while (cancelled == nullptr || !*cancelled) {
    const Duration left = end - MonotonicNow();
    if (left <= Duration{}) return true;
    std::this_thread::sleep_for(std::chrono::microseconds(std::min(left, kSleepSlice).us));
  }
  return false;
}

}  // namespace dnc::store
