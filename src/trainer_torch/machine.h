// Sets the process up for speed; shared by dnc-trainer's service, its benchmark and
// the tests. What each setting brings was measured: see bench/.

#pragma once

namespace dnc::trainer_torch {

// Keeps freed memory in the process: a training step allocates the same tensors
// again, and fresh pages cost as much as half the step. Call before any thread starts.
void KeepMemory();

// Threads of matrix products, convolutions and loops, from now on. Starts them, and
// has each treat denormal floats as zero, which Adam's moments decay into.
// Requires: threads >= 1.
void SetThreads(int threads);

// Runs a little of everything once, so that nothing is opened or loaded later.
void WarmUp();

}  // namespace dnc::trainer_torch
