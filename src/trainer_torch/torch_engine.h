// The Engine of dnc-trainer: a model's graph computed and differentiated by
// libtorch, or by hand where that is faster. libtorch stays inside the .cc.
//
// All weights live in one flat vector in Keras's order, of which the tensors are
// views, so that they come and go as they are and one loop updates them.

#pragma once

#include <memory>

#include "trainer/engine.h"

namespace dnc::trainer_torch {

// Chains of simple layers are trained by hand (chain.h), the others by autograd. For tests
// that compare them: autograd for all.
enum class Backward { kByHandWhereItCan, kByAutograd };

// Call machine.h's KeepMemory() and SetThreads() before. Not thread-safe.
std::unique_ptr<trainer::Engine> MakeTorchEngine(Backward backward = Backward::kByHandWhereItCan);

}  // namespace dnc::trainer_torch
