#include "base/prng.h"

#include <bit>
#include <cmath>
#include <numbers>

#include "base/assert.h"

namespace dnc {

Prng::Prng(std::uint64_t seed) {
  for (std::size_t i = 0; i < state_.size(); ++i) {
    state_[i] = Mix64(seed + i * 0x9e3779b97f4a7c15u);
  }
}

std::uint64_t Prng::Next() {
  const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const std::uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

std::uint64_t Prng::Below(std::uint64_t bound) {
  DNC_ASSERT(bound > 0);
  // Numbers below 2^64 mod bound would favour the small results.
  const std::uint64_t threshold = (0 - bound) % bound;
  for (;;) {
    const std::uint64_t number = Next();
    if (number >= threshold) return number % bound;
  }
}

double Prng::Unit() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }

double Prng::Normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - Unit()));
  return radius * std::cos(2.0 * std::numbers::pi * Unit());
}

Permutation::Permutation(std::uint64_t count, std::uint64_t seed) : count_(count) {
  const int bits = count <= 1 ? 0 : std::bit_width(count - 1);
  half_bits_ = (bits + 1) / 2;
  for (std::size_t i = 0; i < keys_.size(); ++i) keys_[i] = DeriveSeed(seed, i);
}

Permutation Permutation::Identity(std::uint64_t count) {
  Permutation identity(0, 0);
  identity.count_ = count;
  return identity;
}

std::uint64_t Permutation::operator()(std::uint64_t index) const {
  DNC_ASSERT(index < count_);
  if (half_bits_ == 0) return index;
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  // The network permutes [0, 4^half_bits); walking the cycle until it falls
  // into [0, count) keeps it a bijection, in fewer than four steps on average.
  do {
    std::uint64_t left = index >> half_bits_;
    std::uint64_t right = index & mask;
    for (const std::uint64_t key : keys_) {
      const std::uint64_t mixed = (Mix64(right ^ key) & mask) ^ left;
      left = right;
      right = mixed;
    }
    index = (left << half_bits_) | right;
  } while (index >= count_);
  return index;
}

std::uint64_t Permutation::Inverse(std::uint64_t image) const {
  DNC_ASSERT(image < count_);
  if (half_bits_ == 0) return image;
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  // The rounds backwards, along the same cycle.
  do {
    std::uint64_t left = image >> half_bits_;
    std::uint64_t right = image & mask;
    for (auto key = keys_.rbegin(); key != keys_.rend(); ++key) {
      const std::uint64_t mixed = (Mix64(left ^ *key) & mask) ^ right;
      right = left;
      left = mixed;
    }
    image = (left << half_bits_) | right;
  } while (image >= count_);
  return image;
}

}  // namespace dnc
