// Random numbers of devices are those of base/prng.h's mix, by place.

#include "trainer_torch/device_random.h"

#include <ATen/ATen.h>

#include "base/prng.h"
#include "testing/testing.h"

namespace dnc::trainer_torch {
namespace {

TEST(DeviceRandomTest, BitsAreTheMixOfSeedAndPlace) {
  for (const std::uint64_t seed : {0ull, 1ull, 0xfedcba9876543210ull}) {
    const at::Tensor bits = DeviceBits(1000, seed, at::kCPU);
    for (std::uint64_t i = 0; i < 1000; ++i) {
      ASSERT_EQ(static_cast<std::uint64_t>(bits.data_ptr<std::int64_t>()[i]),
                Mix64(i ^ Mix64(seed)))
          << i;
    }
  }
}

TEST(DeviceRandomTest, DropsTheShareAndKeepsTheRest) {
  const at::Tensor mask = DeviceDropMask({100, 1000}, 0.3, 2, 7, at::kCPU);
  EXPECT_EQ(mask.sizes(), (at::IntArrayRef{100, 1000}));
  const auto dropped = (mask == 0).sum().item<std::int64_t>();
  EXPECT_NEAR(static_cast<double>(dropped), 30'000, 600);
  EXPECT_EQ((mask == 2).sum().item<std::int64_t>(), 100'000 - dropped);
  EXPECT_TRUE(at::equal(mask, DeviceDropMask({100, 1000}, 0.3, 2, 7, at::kCPU)));
  EXPECT_FALSE(at::equal(mask, DeviceDropMask({100, 1000}, 0.3, 2, 8, at::kCPU)));
}

TEST(DeviceRandomTest, NormalNumbersHaveMeanZeroAndDeviationOne) {
  const at::Tensor noise = DeviceNormal({200, 500}, 3, at::kCPU);
  EXPECT_NEAR(noise.mean().item<float>(), 0, 0.015);
  EXPECT_NEAR(noise.std().item<float>(), 1, 0.015);
  EXPECT_TRUE(at::isfinite(noise).all().item<bool>());
  // A tenth beyond 1.645 to either side.
  EXPECT_NEAR(at::gt(noise.abs(), 1.645).to(at::kFloat).mean().item<float>(), 0.1, 0.005);
}

}  // namespace
}  // namespace dnc::trainer_torch
