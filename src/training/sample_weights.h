// The weights of the samples of each batch, by their classes and by a column of the
// dataset; shard/weighting.h says what can be asked for.

#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "shard/manifest.h"
#include "shard/weighting.h"

namespace dnc::training {

using shard::ParseClassWeights;
using shard::WeightOptions;

class SampleWeights {
 public:
  // Errors: those of shard::ResolveWeighting.
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
