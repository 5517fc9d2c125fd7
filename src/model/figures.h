// What is measured of a model beside its loss and its accuracy: Keras's metrics, and of
// a model with several outputs the loss of each. Every figure is a function of sums over
// the samples, so that batches, and parts of a split, are added up in any grouping. Most
// are a sum and what it is divided by. An AUC's are, of each threshold i / (count - 1),
// the true positives above it, and likewise then the false positives, the true negatives
// and the false negatives.
//
// Formulas: keras/metrics of Keras 2.15.

#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "model/model.h"

namespace dnc::model {

struct Figure {
  std::string name;      // As Keras reports it: "auc", "price_loss".
  int output = 0;        // Of the model.
  bool is_loss = false;  // The output's own loss; else `metric`.
  Metric metric;
  std::size_t first_sum = 0;  // Of its sums, among those of all figures.
  std::size_t sum_count = 0;
};

// Whether the model's accuracy is the share of samples that are right. If a sample has
// several predictions, or the model several outputs, accuracies are among the figures.
bool CountsRightSamples(const Model& model);

// In the order in which Keras reports them.
std::vector<Figure> FiguresOf(const Model& model);
// Of all figures together.
std::size_t SumCountOf(std::span<const Figure> figures);

// The figure that the sums of all figures say; 0 of no samples.
double FigureValue(const Figure& figure, std::span<const double> sums);
// Whether a larger value is a better one.
bool IsBetterLarger(const Figure& figure);

}  // namespace dnc::model
