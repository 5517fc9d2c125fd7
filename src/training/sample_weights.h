// How much each sample counts in training: by its class, by a column of the dataset, or
// by both, as Keras's class_weight and sample_weight.

#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "shard/manifest.h"

namespace dnc::training {

struct WeightOptions {
  // By class; others count 1. "balanced" instead gives each class the same sum of weights:
  // samples / (classes * samples of the class), as scikit-learn's class_weight.
  std::map<std::int64_t, float> by_class;
  bool balanced = false;
  std::string column;  // One number a sample; empty: none.

  bool any() const { return balanced || !by_class.empty() || !column.empty(); }
};

// "balanced", or "2=0.5,shirt=3" with numbers or names of classes.
// Errors: kInvalidArgument, another text, an unknown class, a weight below 0.
Status ParseClassWeights(const std::string& text, const shard::Manifest& manifest,
                         WeightOptions* options);

class SampleWeights {
 public:
  // Errors: kInvalidArgument, a column that is not there or not of one number, labels
  // that are no classes, a split whose classes were not counted, weights by class where
  // there is more than one column of labels.
  static Result<SampleWeights> Create(const shard::Manifest& manifest, const std::string& split,
                                      std::span<const int> y_columns, const WeightOptions& options);

  // The column that is read, or -1, and where `samples_max` of its values go.
  int column() const { return column_; }
  std::span<std::byte> Values(std::uint32_t samples_max);

  // The weights of the samples with these labels, whose values were read.
  // Errors: kInvalidArgument, a weight that is below 0 or not finite.
  Status Fill(ByteSpan labels, std::span<float> weights);

 private:
  std::map<std::int64_t, float> by_class_;
  array::ColumnSpec y_;
  int column_ = -1;
  array::ColumnSpec values_column_;
  Bytes values_;
  std::vector<float> numbers_;
};

}  // namespace dnc::training
