// The figures of a training, epoch by epoch, as rows that logs and plots are made of.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dnc::curves {

// What begins the name of a figure of the validation: "val_loss".
inline constexpr const char* kValidationPrefix = "val_";

struct Figures {
  std::uint32_t epoch = 0;  // From 1.
  std::uint64_t steps = 0;  // Optimizer steps of the run until here.
  double seconds = 0;       // That the epoch took.
  // By Keras's names, in the order in which they are shown: "loss", "accuracy" and other
  // metrics, then those of the validation.
  std::vector<std::pair<std::string, double>> values;

  std::optional<double> Find(const std::string& name) const;
};

// The names of all rows' figures, in the order in which they first occur.
std::vector<std::string> NamesOf(const std::vector<Figures>& rows);

// As a table: epoch,steps,seconds and the figures; what a row does not have is empty.
std::string FormatCsv(const std::vector<Figures>& rows);

}  // namespace dnc::curves
