// Which epoch of a training is the best, and when to stop for want of a better one: the
// rule of Keras's EarlyStopping, which one machine and the grid both count by. Pure, and
// without a type of its own for the figures: one machine compares doubles, the grid
// integers.

#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "base/result.h"

namespace dnc {

// A figure of an epoch that tells which is better.
enum class Monitor : std::uint8_t { kLoss, kAccuracy, kValidationLoss, kValidationAccuracy };

// Keras's name of it: "val_loss".
const char* MonitorName(Monitor monitor);
std::string MonitorNames();  // All of them: "loss, accuracy, ...".
// Errors: kInvalidArgument, another name, with the known ones.
Result<Monitor> ParseMonitor(const std::string& name);

inline bool IsLoss(Monitor monitor) {
  return monitor == Monitor::kLoss || monitor == Monitor::kValidationLoss;
}
inline bool NeedsValidation(Monitor monitor) {
  return monitor == Monitor::kValidationLoss || monitor == Monitor::kValidationAccuracy;
}

// Whether `figure` is better than `best` by more than `min_delta`, all in one unit. A
// NaN is never better.
template <typename Number>
bool IsBetter(Monitor monitor, Number figure, Number best, Number min_delta) {
  return (IsLoss(monitor) ? best - figure : figure - best) > min_delta;
}

// Counts epochs as they end. The first is the best until one is better than it.
struct BestSoFar {
  std::uint32_t epochs = 0;
  std::uint32_t best = 0;  // From 1; 0: no epoch has ended.

  void Add(bool is_better) {
    ++epochs;
    if (is_better || best == 0) best = epochs;
  }
  // Whether `patience` epochs have passed since the best one; 0 counts as 1.
  bool OutOfPatience(std::uint32_t patience) const {
    return epochs - best >= std::max(patience, 1u);
  }

  friend bool operator==(const BestSoFar&, const BestSoFar&) = default;
};

}  // namespace dnc
