#include "trainer_torch/conv_kernels.h"

namespace dnc::trainer_torch {

const ConvKernels* FindConvKernels() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    return Avx512ConvKernels();
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Avx2ConvKernels();
#endif
  return nullptr;
}

}  // namespace dnc::trainer_torch
