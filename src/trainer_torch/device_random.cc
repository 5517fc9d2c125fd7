#include "trainer_torch/device_random.h"

#include <ATen/ATen.h>

#include <functional>
#include <numeric>

#include "base/prng.h"

namespace dnc::trainer_torch {

namespace {

std::int64_t Signed(std::uint64_t bits) { return static_cast<std::int64_t>(bits); }

// libtorch's shift is that of signed numbers.
at::Tensor ShiftRight(const at::Tensor& bits, int places) {
  return at::bitwise_right_shift(bits, places)
      .bitwise_and_(Signed((std::uint64_t{1} << (64 - places)) - 1));
}

std::int64_t CountOf(const std::vector<std::int64_t>& sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), std::int64_t{1}, std::multiplies<>());
}

}  // namespace

// Mix64() of base/prng.h, of the seed and of each place.
at::Tensor DeviceBits(std::int64_t count, std::uint64_t seed, at::Device device) {
  at::Tensor x = at::arange(count, at::TensorOptions(at::kLong).device(device));
  x.bitwise_xor_(Signed(Mix64(seed)));
  x.add_(Signed(0x9e3779b97f4a7c15u));
  x.bitwise_xor_(ShiftRight(x, 30)).mul_(Signed(0xbf58476d1ce4e5b9u));
  x.bitwise_xor_(ShiftRight(x, 27)).mul_(Signed(0x94d049bb133111ebu));
  return x.bitwise_xor_(ShiftRight(x, 31));
}

at::Tensor DeviceDropMask(const std::vector<std::int64_t>& sizes, double rate, float kept,
                          std::uint64_t seed, at::Device device) {
  const auto threshold = static_cast<std::int64_t>(rate * 0x1p32);
  const at::Tensor bits = ShiftRight(DeviceBits(CountOf(sizes), seed, device), 32);
  return at::ge(bits, threshold).to(at::kFloat).mul_(kept).view(sizes);
}

// By Box and Muller's method.
at::Tensor DeviceNormal(const std::vector<std::int64_t>& sizes, std::uint64_t seed,
                        at::Device device) {
  const at::Tensor bits = DeviceBits(CountOf(sizes), seed, device);
  const at::Tensor radius =
      ShiftRight(bits, 40).to(at::kFloat).add_(1).mul_(0x1p-24).log_().mul_(-2).sqrt_();
  const at::Tensor angle =
      at::bitwise_and(bits, 0xffffff).to(at::kFloat).mul_(0x1p-24 * 6.283185307179586);
  return angle.cos_().mul_(radius).view(sizes);
}

}  // namespace dnc::trainer_torch
