// Points and spans of time in whole microseconds. Pure code takes an Instant as
// an argument; only shells read a clock.

#pragma once

#include <compare>
#include <cstdint>

namespace dnc {

struct Duration {
  std::int64_t us = 0;

  static constexpr Duration Microseconds(std::int64_t n) { return {n}; }
  static constexpr Duration Milliseconds(std::int64_t n) { return {n * 1'000}; }
  static constexpr Duration Seconds(std::int64_t n) { return {n * 1'000'000}; }
  static constexpr Duration Minutes(std::int64_t n) { return {n * 60'000'000}; }

  constexpr double seconds() const { return static_cast<double>(us) / 1e6; }
  constexpr std::int64_t milliseconds() const { return us / 1'000; }

  friend constexpr auto operator<=>(const Duration&, const Duration&) = default;
  friend constexpr Duration operator+(Duration a, Duration b) { return {a.us + b.us}; }
  friend constexpr Duration operator-(Duration a, Duration b) { return {a.us - b.us}; }
  friend constexpr Duration operator*(Duration a, std::int64_t n) { return {a.us * n}; }
  friend constexpr Duration operator/(Duration a, std::int64_t n) { return {a.us / n}; }
};

// Microseconds since an epoch that the shell chose (1970 on a server).
struct Instant {
  std::int64_t us = 0;

  static constexpr Instant Never() { return {INT64_MAX}; }

  friend constexpr auto operator<=>(const Instant&, const Instant&) = default;
  friend constexpr Instant operator+(Instant t, Duration d) { return {t.us + d.us}; }
  friend constexpr Instant operator-(Instant t, Duration d) { return {t.us - d.us}; }
  friend constexpr Duration operator-(Instant a, Instant b) { return {a.us - b.us}; }
};

// The wall clock (1970) and the monotonic clock. Not for pure code.
Instant WallNow();
Instant MonotonicNow();

}  // namespace dnc
