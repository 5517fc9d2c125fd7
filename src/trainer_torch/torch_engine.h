// The Engine of dnc-trainer: a model's graph computed and differentiated by
// libtorch. libtorch stays inside the .cc.
//
// All weights live in one flat vector in Keras's order, of which the tensors are
// views, so that they come and go as they are and one loop updates them.

#pragma once

#include <memory>

#include "trainer/engine.h"

namespace dnc::trainer_torch {

// Call machine.h's KeepMemory() and SetThreads() before. Not thread-safe.
std::unique_ptr<trainer::Engine> MakeTorchEngine();

}  // namespace dnc::trainer_torch
