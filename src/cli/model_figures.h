// What is shown of a model's loss and metrics over the samples of a split.

#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "model/figures.h"
#include "trainer/trainer.h"

namespace dnc::cli {

class ModelFigures {
 public:
  explicit ModelFigures(const model::Model& model);

  // "loss", "accuracy" if the model asks for it, and its other metrics.
  std::vector<std::pair<std::string, double>> Values(const trainer::Totals& totals) const;
  // "loss 0.1234, accuracy 0.9876".
  std::string Text(const trainer::Totals& totals) const;
  // As an object, with "samples". "accuracy" is always there.
  nlohmann::json Json(const trainer::Totals& totals) const;

 private:
  bool accuracy_;
  std::vector<model::Figure> figures_;
};

}  // namespace dnc::cli
