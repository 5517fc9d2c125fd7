#if defined(__x86_64__)

namespace {
constexpr int kLanes = 16;
constexpr int kWidthMax = 4;
constexpr int kSums = 24;  // Of the 32 registers.
}  // namespace

#include "trainer_torch/conv_kernels_inl.h"

namespace dnc::trainer_torch {

const ConvKernels* Avx512ConvKernels() { return &kKernels; }

}  // namespace dnc::trainer_torch

#else

#include "trainer_torch/conv_kernels.h"

namespace dnc::trainer_torch {

const ConvKernels* Avx512ConvKernels() { return nullptr; }

}  // namespace dnc::trainer_torch

#endif
