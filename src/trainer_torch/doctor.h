// What `dnc doctor` asks of the trainer: which libraries it runs on, and how fast
// they multiply matrices here.

#pragma once

#include "base/result.h"

namespace dnc::trainer_torch {

// Prints one JSON object: libtorch and onednn (versions), threads, matrix_gflops (of a
// product of 1024 x 1024 float32 matrices), cuda (what there is of it), device (the one that
// --device auto takes outside of the box). Takes about half a second, with CUDA longer.
Status PrintDoctor(int threads);

}  // namespace dnc::trainer_torch
