#include "base/best_epoch.h"

namespace dnc {
namespace {

struct MonitorRow {
  Monitor monitor;
  const char* name;
};
constexpr MonitorRow kMonitors[] = {{Monitor::kLoss, "loss"},
                                    {Monitor::kAccuracy, "accuracy"},
                                    {Monitor::kValidationLoss, "val_loss"},
                                    {Monitor::kValidationAccuracy, "val_accuracy"}};

}  // namespace

const char* MonitorName(Monitor monitor) {
  for (const MonitorRow& row : kMonitors) {
    if (row.monitor == monitor) return row.name;
  }
  return "";
}

std::string MonitorNames() {
  std::string names;
  for (const MonitorRow& row : kMonitors) {
    names += (names.empty() ? "" : ", ") + std::string(row.name);
  }
  return names;
}

Result<Monitor> ParseMonitor(const std::string& name) {
  for (const MonitorRow& row : kMonitors) {
    if (name == row.name) return row.monitor;
  }
  return Error{ErrorCode::kInvalidArgument,
               "\"" + name + "\" is not a figure of an epoch; expected one of " + MonitorNames()};
}

}  // namespace dnc
