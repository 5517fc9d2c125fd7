// Random numbers for layers, made on a device that is not the CPU: each is a function of the
// seed and its place alone, by whole numbers, so that every device gives the same and none of
// them has to wait for another. They are not the numbers that layers take on the CPU.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace dnc::trainer_torch {

// 64 random bits for each of `count` places, as int64.
at::Tensor DeviceBits(std::int64_t count, std::uint64_t seed, at::Device device);

// As DropMask() of layers.h.
at::Tensor DeviceDropMask(const std::vector<std::int64_t>& sizes, double rate, float kept,
                          std::uint64_t seed, at::Device device);

// Normal numbers of mean 0 and deviation 1.
at::Tensor DeviceNormal(const std::vector<std::int64_t>& sizes, std::uint64_t seed,
                        at::Device device);

}  // namespace dnc::trainer_torch
