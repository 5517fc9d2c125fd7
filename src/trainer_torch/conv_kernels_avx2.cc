#if defined(__x86_64__)

namespace {
constexpr int kLanes = 8;
constexpr int kWidthMax = 2;
constexpr int kSums = 12;  // Of the 16 registers.
}  // namespace

#include "trainer_torch/conv_kernels_inl.h"

namespace dnc::trainer_torch {

const ConvKernels* Avx2ConvKernels() { return &kKernels; }

}  // namespace dnc::trainer_torch

#else

#include "trainer_torch/conv_kernels.h"

namespace dnc::trainer_torch {

const ConvKernels* Avx2ConvKernels() { return nullptr; }

}  // namespace dnc::trainer_torch

#endif
