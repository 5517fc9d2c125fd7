// The figures of a training, epoch by epoch, as rows that logs and plots are made of.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace dnc::curves {

struct Figures {
  std::uint32_t epoch = 0;  // From 1.
  std::uint64_t steps = 0;  // Optimizer steps of the run until here.
  double seconds = 0;       // That the epoch took.
  double loss = 0;
  std::optional<double> accuracy;  // nullopt: not computed.
  std::optional<double> validation_loss;
  std::optional<double> validation_accuracy;
};

// As a table with Keras's names of columns; one that no row has is left out:
//   epoch,steps,seconds,loss,accuracy,val_loss,val_accuracy
std::string FormatCsv(const std::vector<Figures>& rows);

}  // namespace dnc::curves
