// A pseudo-random generator whose numbers are the same everywhere, for ever:
// xoshiro256** 1.0 (Blackman and Vigna), seeded by SplitMix64. Not for secrets.
// std:: distributions are not used, since they differ between libraries.

#pragma once

#include <array>
#include <cstdint>

namespace dnc {

// One step of SplitMix64: a good mix of 64 bits, also used to derive seeds.
constexpr std::uint64_t Mix64(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// A seed for a purpose: (seed, a, b) -> seed, each argument fully mixed.
constexpr std::uint64_t DeriveSeed(std::uint64_t seed, std::uint64_t a, std::uint64_t b = 0) {
  return Mix64(Mix64(Mix64(seed) ^ a) ^ b);
}

class Prng {
 public:
  explicit Prng(std::uint64_t seed);

  std::uint64_t Next();
  // Uniform in [0, bound), without bias. Requires: bound > 0.
  std::uint64_t Below(std::uint64_t bound);
  // Uniform in [0, 1), a multiple of 2^-53.
  double Unit();
  // Standard normal (Box-Muller).
  double Normal();

 private:
  std::array<std::uint64_t, 4> state_;
};

// A bijection of [0, count) given by a seed: O(1) memory, computed per index by
// a Feistel network with cycle walking. Used for every shuffle.
class Permutation {
 public:
  Permutation(std::uint64_t count, std::uint64_t seed);

  // The one that leaves every index where it is.
  static Permutation Identity(std::uint64_t count);

  // Requires: index < count().
  std::uint64_t operator()(std::uint64_t index) const;
  // The index that is mapped to `image`. Requires: image < count().
  std::uint64_t Inverse(std::uint64_t image) const;
  std::uint64_t count() const { return count_; }

 private:
  std::uint64_t count_;
  int half_bits_;
  std::array<std::uint64_t, 6> keys_;
};

}  // namespace dnc
