#include "trainer_torch/device.h"

#include <ATen/ATen.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <stdlib.h>
#include <torch/version.h>

#include <utility>

namespace dnc::trainer_torch {

namespace {

using trainer::DeviceChoice;

bool IsBuiltWithCuda() { return at::detail::getCUDAHooks().hasCUDART(); }

// 10 * minor + 1000 * major, as CUDA counts.
std::string VersionText(std::int64_t version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace

Result<at::Device> ChooseDevice(DeviceChoice choice, bool gpu_allowed) {
  const at::Device cpu = at::kCPU;
  if (choice == DeviceChoice::kCpu) return cpu;
  if (choice == DeviceChoice::kAuto && !gpu_allowed) return cpu;
  if (!gpu_allowed) {
    return Error{ErrorCode::kUnsupported,
                 "--device cuda: strangers' models are trained in a box, on the CPU alone"};
  }
  if (at::hasCUDA()) return at::Device(at::kCUDA, 0);
  if (choice == DeviceChoice::kAuto) return cpu;
  return Error{ErrorCode::kUnsupported,
               IsBuiltWithCuda() ? "--device cuda: no CUDA GPU was found on this machine"
                                 : "--device cuda: this dnc-trainer's libtorch is built without "
                                   "CUDA; docs/models.md says how to build with it"};
}

void PrepareDevice(at::Device device) {
  if (!device.is_cuda()) return;
  // cuBLAS adds in the same order each time only with a workspace of its own.
  ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  at::Context& context = at::globalContext();
  context.setAllowTF32CuBLAS(false);
  context.setAllowTF32CuDNN(false);
  context.setBenchmarkCuDNN(false);
  context.setDeterministicCuDNN(true);
  // Operators that have no such algorithm run all the same.
  context.setDeterministicAlgorithms(true, /*warn_only=*/true);
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 2)
  // Or each new tensor would be filled once more. None is read before it is written.
  context.setDeterministicFillUninitializedMemory(false);
#endif
}

std::string DescribeDevices() {
  if (!IsBuiltWithCuda()) return "libtorch without CUDA";
  const auto& hooks = at::detail::getCUDAHooks();
  const std::string versions =
      "CUDA " + VersionText(hooks.versionCUDART()) +
      (hooks.compiledWithCuDNN() ? ", cuDNN " + std::to_string(hooks.versionCuDNN()) : "");
  const int count = hooks.getNumGPUs();
  if (count == 0) return "no GPU (" + versions + ")";
  return std::to_string(count) + (count == 1 ? " GPU, " : " GPUs, ") + versions;
}

}  // namespace dnc::trainer_torch
