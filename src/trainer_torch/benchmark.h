// Training speed of this machine, on data in memory: the reference that bench/
// compares with. Each model is trained twice, by a plain loop of libtorch operations
// as one would write it by hand, and by dnc-trainer's own engine.

#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "trainer/device_choice.h"

namespace dnc::trainer_torch {

struct BenchmarkOptions {
  std::string name;  // "cnn", "demo", "mlp" or "linear".
  std::string loop;  // "plain", "engine", or both of them if empty.
  int threads = 2;
  std::uint32_t batch_size = 32;
  double seconds = 5;  // Of each loop.
  trainer::DeviceChoice device = trainer::DeviceChoice::kCpu;
};

// Prints one JSON line a loop to stdout.
// Errors: kInvalidArgument, an unknown name or loop, with the known ones; kUnsupported,
// no such device.
Status RunBenchmark(const BenchmarkOptions& options);

}  // namespace dnc::trainer_torch
