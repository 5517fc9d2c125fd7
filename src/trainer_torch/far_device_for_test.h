// Devices for tests of the code that runs on devices other than the CPU.
//
// The far device is one that every machine has: libtorch's PrivateUse1, whose memory nobody can
// read through a pointer, and whose operators are those of the CPU. Like a GPU it takes no
// tensor of the CPU beside its own. So a layer that makes a tensor in the wrong place, or reads
// one where it lies, fails here as it would there. Only tests include this.

#pragma once

#include <c10/core/Device.h>

#include <optional>

namespace dnc::trainer_torch {

// Whether this program has it: it is written for libtorch 1.
bool HasFarDevice();
// Requires: HasFarDevice().
at::Device FarDevice();

// What the environment's DNC_TEST_DEVICE names: "far", "cuda" or "cpu", the last for the code of
// devices on the CPU itself. None: engines are to be as their tests ask.
std::optional<at::Device> TestDevice();

}  // namespace dnc::trainer_torch
