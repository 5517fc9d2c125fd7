// The devices that libtorch finds here. libtorch computes on a CUDA GPU if it was built for it
// (docs/models.md says how); only processes outside of the box reach one.

#pragma once

#include <c10/core/Device.h>

#include <string>

#include "base/result.h"
#include "trainer/device_choice.h"

namespace dnc::trainer_torch {

// Looks for GPUs where `choice` may need one, which starts CUDA and takes a second.
// Errors: kUnsupported, the choice is CUDA, and there is none, or !gpu_allowed.
Result<at::Device> ChooseDevice(trainer::DeviceChoice choice, bool gpu_allowed);

// Has CUDA compute in float32 as it is and the same bits each time, where it can; nothing else
// for the CPU. Call it before the first use of the device, and before other threads start.
void PrepareDevice(at::Device device);

// "libtorch without CUDA"; "no GPU (CUDA 11.8)"; "2 GPUs, CUDA 11.8, cuDNN 8902".
std::string DescribeDevices();

}  // namespace dnc::trainer_torch
