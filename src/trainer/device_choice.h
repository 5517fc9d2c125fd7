// Which processor a trainer is asked to compute on.

#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace dnc::trainer {

enum class DeviceChoice : std::uint8_t {
  kAuto,  // A GPU where one can be used, else the CPU.
  kCpu,
  kCuda,
};

// "auto", "cpu" or "cuda".
const char* DeviceChoiceName(DeviceChoice choice);
// Errors: kInvalidArgument, another name, with the known ones.
Result<DeviceChoice> ParseDeviceChoice(const std::string& name);

}  // namespace dnc::trainer
