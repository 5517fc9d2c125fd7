#include "training/sample_weights.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "trainer/convert.h"

namespace dnc::training {
namespace {

Error Invalid(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

}  // namespace

Result<SampleWeights> SampleWeights::Create(const shard::Manifest& manifest,
                                            const std::string& split,
                                            std::span<const int> y_columns,
                                            const WeightOptions& options) {
  DNC_ASSIGN(shard::Weighting weighting,
             shard::ResolveWeighting(manifest, split, y_columns, options));
  SampleWeights weights;
  weights.y_ = manifest.columns[static_cast<std::size_t>(y_columns.front())];
  weights.by_class_ = std::move(weighting.by_class);
  weights.column_ = weighting.column;
  if (weighting.column >= 0) {
    weights.values_column_ = manifest.columns[static_cast<std::size_t>(weighting.column)];
  }
  return weights;
}

std::span<std::byte> SampleWeights::Values(std::uint32_t samples_max) {
  values_.resize(samples_max * values_column_.sample_bytes());
  return values_;
}

Status SampleWeights::Fill(ByteSpan labels, std::span<float> weights) {
  std::fill(weights.begin(), weights.end(), 1.0f);
  numbers_.resize(weights.size());
  if (!by_class_.empty()) {
    trainer::ConvertToFloat(y_.dtype, labels, numbers_);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const auto found = by_class_.find(static_cast<std::int64_t>(numbers_[i]));
      if (found != by_class_.end()) weights[i] = found->second;
    }
  }
  if (column_ < 0) return {};
  trainer::ConvertToFloat(values_column_.dtype,
                          ByteSpan(values_).first(weights.size() * values_column_.sample_bytes()),
                          numbers_);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (!(numbers_[i] >= 0) || !std::isfinite(numbers_[i])) {
      return Invalid("column \"" + values_column_.name + "\" has the weight " +
                     std::to_string(numbers_[i]) + "; weights are finite and not below 0");
    }
    weights[i] *= numbers_[i];
  }
  return {};
}

}  // namespace dnc::training
