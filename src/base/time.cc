#include "base/time.h"

#include <chrono>

namespace dnc {
namespace {

template <typename Clock>
Instant Now() {
  return {std::chrono::duration_cast<std::chrono::microseconds>(Clock::now().time_since_epoch())
              .count()};
}

}  // namespace

Instant WallNow() { return Now<std::chrono::system_clock>(); }
Instant MonotonicNow() { return Now<std::chrono::steady_clock>(); }

}  // namespace dnc
