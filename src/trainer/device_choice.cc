#include "trainer/device_choice.h"

namespace dnc::trainer {

const char* DeviceChoiceName(DeviceChoice choice) {
  switch (choice) {
    case DeviceChoice::kCpu:
      return "cpu";
    case DeviceChoice::kCuda:
      return "cuda";
    case DeviceChoice::kAuto:
      break;
  }
  return "auto";
}

Result<DeviceChoice> ParseDeviceChoice(const std::string& name) {
  for (const auto choice : {DeviceChoice::kAuto, DeviceChoice::kCpu, DeviceChoice::kCuda}) {
    if (name == DeviceChoiceName(choice)) return choice;
  }
  return Error{ErrorCode::kInvalidArgument,
               "unknown device \"" + name + "\"; known are auto, cpu and cuda"};
}

}  // namespace dnc::trainer
