// How much each sample of a dataset counts in training: by its class, by a column, or by
// both, as Keras's class_weight and sample_weight. Here what was asked for is checked
// against the manifest; training/sample_weights.h computes the weights.

#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "array/column.h"
#include "base/result.h"
#include "shard/manifest.h"

namespace dnc::shard {

struct WeightOptions {
  // By class; others count 1. "balanced" instead gives each class the same sum of weights:
  // samples / (classes * samples of the class), as scikit-learn's class_weight.
  std::map<std::int64_t, float> by_class;
  bool balanced = false;
  std::string column;  // One number a sample; empty: none.

  bool any() const { return balanced || !by_class.empty() || !column.empty(); }
};

// Weights as they were written, by the number or the name of their class.
using NamedWeights = std::vector<std::pair<std::string, double>>;

// Errors: kInvalidArgument, no column "y", a class that is not in it or is named twice, a
// weight below 0 or not finite.
Result<std::map<std::int64_t, float>> ResolveClassWeights(const NamedWeights& named,
                                                          const Manifest& manifest);

// "balanced", or "2=0.5,shirt=3" with numbers or names of classes.
// Errors: those of ResolveClassWeights; kInvalidArgument, another text.
Status ParseClassWeights(const std::string& text, const Manifest& manifest, WeightOptions* options);

// What options mean for a split.
struct Weighting {
  std::map<std::int64_t, float> by_class;
  int column = -1;  // Of the manifest; -1: none.
};

// `y_columns` are those of the labels. Requires: they are of the manifest, and not none.
// Errors: kInvalidArgument, a column that is not there or not of one number, labels that
// are no classes, a split whose classes were not counted, weights by class where there is
// more than one column of labels.
Result<Weighting> ResolveWeighting(const Manifest& manifest, const std::string& split,
                                   std::span<const int> y_columns, const WeightOptions& options);

}  // namespace dnc::shard
