#include "curves/figures.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace dnc::curves {
namespace {

// The shortest text that is read back to the same number.
void Append(double value, std::string* out) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  out->append(text.data(), end);
}

}  // namespace

std::string FormatCsv(const std::vector<Figures>& rows) {
  struct Column {
    const char* name;
    std::optional<double> Figures::*figure;
  };
  std::vector<Column> columns = {{"accuracy", &Figures::accuracy},
                                 {"val_loss", &Figures::validation_loss},
                                 {"val_accuracy", &Figures::validation_accuracy}};
  std::erase_if(columns, [&](const Column& column) {
    return std::none_of(rows.begin(), rows.end(),
                        [&](const Figures& row) { return (row.*column.figure).has_value(); });
  });
  std::string text = "epoch,steps,seconds,loss";
  for (const Column& column : columns) text += std::string(",") + column.name;
  text += "\n";
  for (const Figures& row : rows) {
    text += std::to_string(row.epoch) + "," + std::to_string(row.steps) + ",";
    Append(row.seconds, &text);
    text += ",";
    Append(row.loss, &text);
    for (const Column& column : columns) {
      text += ",";
      if (const auto& figure = row.*column.figure) Append(*figure, &text);
    }
    text += "\n";
  }
  return text;
}

}  // namespace dnc::curves
