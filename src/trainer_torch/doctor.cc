#include "trainer_torch/doctor.h"

#include <ATen/ATen.h>
#include <dnnl.h>
#include <stdio.h>
#include <torch/version.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/time.h"
#include "trainer_torch/device.h"
#include "trainer_torch/machine.h"

namespace dnc::trainer_torch {
namespace {

constexpr std::int64_t kSide = 1024;
constexpr int kRuns = 9;

// The median of several products, as other programs may run too.
double MeasureGflops() {
  const at::Tensor a = at::rand({kSide, kSide});
  const at::Tensor b = at::rand({kSide, kSide});
  at::Tensor c = at::mm(a, b);
  std::vector<double> seconds;
  for (int i = 0; i < kRuns; ++i) {
    const Instant started = MonotonicNow();
    at::mm_out(c, a, b);
    seconds.push_back(std::max((MonotonicNow() - started).seconds(), 1e-9));
  }
  std::nth_element(seconds.begin(), seconds.begin() + kRuns / 2, seconds.end());
  return 2.0 * static_cast<double>(kSide * kSide * kSide) / seconds[kRuns / 2] / 1e9;
}

}  // namespace

Status PrintDoctor(int threads) {
  SetThreads(threads);
  const dnnl_version_t* onednn = dnnl_version();
  double gflops = 0;
  std::string cuda, device;
  try {
    gflops = MeasureGflops();
    cuda = DescribeDevices();
    DNC_ASSIGN(const at::Device chosen, ChooseDevice(trainer::DeviceChoice::kAuto, true));
    device = chosen.str();
  } catch (const std::exception& error) {
    return Error{ErrorCode::kInternal, std::string("libtorch: ") + error.what()};
  }
  ::printf(
      "{\"libtorch\": \"%s\", \"onednn\": \"%d.%d.%d\", \"threads\": %d, "
      "\"matrix_gflops\": %.1f, \"cuda\": \"%s\", \"device\": \"%s\"}\n",
      TORCH_VERSION, onednn->major, onednn->minor, onednn->patch, threads, gflops, cuda.c_str(),
      device.c_str());
  return {};
}

}  // namespace dnc::trainer_torch
