// The Engine of dnc-trainer: a model's graph computed and differentiated by
// libtorch, or by hand where that is faster. libtorch stays inside the .cc.
//
// All weights live in one flat vector in Keras's order, of which the tensors are
// views, so that they come and go as they are and one loop updates them.

#pragma once

#include <c10/core/Device.h>

#include <memory>

#include "trainer/engine.h"

namespace dnc::trainer_torch {

// How models are trained. On a device that is not the CPU it is always the last; the others are
// the CPU's.
enum class Backward {
  kByHandWhereItCan,  // Chains of simple layers by hand (chain.h), other models by autograd.
  kByAutograd,        // All by autograd: for tests that compare both.
  // By autograd, with weights, gradients and the optimizer's state on the device
  // (device_optimizer.h).
  kOnDevice,
};

class DeviceEngine : public trainer::Engine {
 public:
  // Where models are computed from the next Configure() on. Call device.h's PrepareDevice()
  // before.
  virtual void UseDevice(at::Device device) = 0;
};

// Call machine.h's KeepMemory() and SetThreads() before. Computes on the CPU. Not thread-safe.
std::unique_ptr<DeviceEngine> MakeTorchEngine(Backward backward = Backward::kByHandWhereItCan);

}  // namespace dnc::trainer_torch
