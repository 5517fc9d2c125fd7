// What a layer says of one of its weights: how it begins, what its size costs and what
// it is brought back to after each step ("kernel_initializer", "kernel_regularizer",
// "kernel_constraint").

#pragma once

#include <string>

#include "model/model.h"
#include "model/option_reader.h"

namespace dnc::model {

struct WeightRule {
  Initializer initializer;
  Regularizer regularizer;
  Constraint constraint;
};

// Reads and records the three options whose names begin with `weight`, such as "kernel";
// without an initializer it is `fallback_class`, such as "Zeros". Failures stick to
// `options`.
WeightRule ReadWeightRule(OptionReader* options, const std::string& weight,
                          const char* fallback_class);

// L1, L2 and L1L2 of Keras, by name or as an object; null is none.
Regularizer ReadRegularizer(OptionReader* options, const std::string& key);

}  // namespace dnc::model
