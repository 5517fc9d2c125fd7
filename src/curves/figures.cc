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

std::optional<double> Figures::Find(const std::string& name) const {
  const auto found = std::find_if(values.begin(), values.end(),
                                  [&](const auto& value) { return value.first == name; });
  if (found == values.end()) return std::nullopt;
  return found->second;
}

std::vector<std::string> NamesOf(const std::vector<Figures>& rows) {
  std::vector<std::string> names;
  for (const Figures& row : rows) {
    for (const auto& [name, value] : row.values) {
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  return names;
}

std::string FormatCsv(const std::vector<Figures>& rows) {
  const std::vector<std::string> names = NamesOf(rows);
  std::string text = "epoch,steps,seconds";
  for (const std::string& name : names) text += "," + name;
  text += "\n";
  for (const Figures& row : rows) {
    text += std::to_string(row.epoch) + "," + std::to_string(row.steps) + ",";
    Append(row.seconds, &text);
    for (const std::string& name : names) {
      text += ",";
      if (const std::optional<double> value = row.Find(name)) Append(*value, &text);
    }
    text += "\n";
  }
  return text;
}

}  // namespace dnc::curves
