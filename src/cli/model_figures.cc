#include "cli/model_figures.h"

#include <array>
#include <cstdio>

namespace dnc::cli {

ModelFigures::ModelFigures(const model::Model& model)
    : accuracy_(model::CountsRightSamples(model)), figures_(model::FiguresOf(model)) {}

std::vector<std::pair<std::string, double>> ModelFigures::Values(
    const trainer::Totals& totals) const {
  std::vector<std::pair<std::string, double>> values = {{"loss", totals.loss()}};
  if (accuracy_) values.emplace_back("accuracy", totals.accuracy());
  for (const model::Figure& figure : figures_) {
    values.emplace_back(figure.name, model::FigureValue(figure, totals.sums));
  }
  return values;
}

std::string ModelFigures::Text(const trainer::Totals& totals) const {
  std::string text;
  for (const auto& [name, value] : Values(totals)) {
    std::array<char, 32> number{};
    std::snprintf(number.data(), number.size(), " %.4f", value);
    text += (text.empty() ? "" : ", ") + name + number.data();
  }
  return text;
}

nlohmann::json ModelFigures::Json(const trainer::Totals& totals) const {
  nlohmann::json json = {{"samples", totals.samples}, {"accuracy", totals.accuracy()}};
  for (const auto& [name, value] : Values(totals)) json[name] = value;
  return json;
}

}  // namespace dnc::cli
