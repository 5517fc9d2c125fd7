#include "trainer_torch/machine.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <malloc.h>

#include "base/assert.h"

namespace dnc::trainer_torch {

namespace {

constexpr int kTopPadBytes = 64 << 20;

}  // namespace

void KeepMemory() {
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);
  mallopt(M_TOP_PAD, kTopPadBytes);
  mallopt(M_ARENA_MAX, 1);
}

void SetThreads(int threads) {
  DNC_ASSERT(threads >= 1);
  static const bool interop_set = [] {
    at::set_num_interop_threads(1);
    return true;
  }();
  static_cast<void>(interop_set);
  at::set_num_threads(threads);
  at::globalContext().setFlushDenormal(true);
  // The setting belongs to each thread.
#pragma omp parallel num_threads(threads)
  at::globalContext().setFlushDenormal(true);
}

void WarmUp() {
  // Random numbers open /dev/urandom for their first seed.
  const at::Tensor image = at::rand({16, 8, 8, 3}).permute({0, 3, 1, 2}).set_requires_grad(true);
  const at::Tensor kernel = at::ones({4, 3, 3, 3}).set_requires_grad(true);
  const at::Tensor matrix = at::ones({144, 8}).set_requires_grad(true);
  const at::Tensor conv = at::relu(at::conv2d(image, kernel));
  const at::Tensor flat = at::max_pool2d(conv, {2, 2}).reshape({16, -1});
  const at::Tensor out = at::mm(flat, matrix.narrow(0, 0, flat.size(1)));
  at::log_softmax(out, 1).mean().backward();
  try {
    at::mm(matrix, matrix);  // The sizes do not fit: what an error needs, once.
  } catch (const std::exception&) {
  }
}

}  // namespace dnc::trainer_torch
