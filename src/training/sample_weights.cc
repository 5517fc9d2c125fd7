#include "training/sample_weights.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "trainer/convert.h"

namespace dnc::training {
namespace {

Error Invalid(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

bool IsOneNumber(const array::ColumnSpec& column) {
  return column.is_array() && array::ElementCount(column.shape) == 1u;
}

Result<std::int64_t> ClassOf(const std::string& text, const array::ColumnSpec& y) {
  const auto named = std::find(y.class_names.begin(), y.class_names.end(), text);
  if (named != y.class_names.end()) return named - y.class_names.begin();
  std::int64_t number = 0;
  const char* const end = text.data() + text.size();
  if (const auto [rest, error] = std::from_chars(text.data(), end, number);
      !text.empty() && rest == end && error == std::errc()) {
    return number;
  }
  std::string known;
  for (const std::string& name : y.class_names) known += (known.empty() ? "" : ", ") + name;
  return Invalid("\"" + text + "\" is no class" + (known.empty() ? "" : "; there are " + known));
}

// Each class the same sum of weights.
Result<std::map<std::int64_t, float>> Balanced(const shard::Manifest& manifest,
                                               const std::string& split, std::size_t y) {
  const shard::SplitInfo* info = manifest.FindSplit(split);
  if (info == nullptr || y >= info->statistics.size() || info->statistics[y].class_counts.empty()) {
    return Invalid("the labels of the split \"" + split +
                   "\" were not counted by class, so that no weights can balance them; give "
                   "weights by class");
  }
  const std::map<std::int64_t, std::uint64_t>& counts = info->statistics[y].class_counts;
  std::uint64_t total = 0;
  for (const auto& [label, count] : counts) total += count;
  std::map<std::int64_t, float> weights;
  for (const auto& [label, count] : counts) {
    if (count == 0) continue;
    weights[label] =
        static_cast<float>(static_cast<double>(total) /
                           (static_cast<double>(counts.size()) * static_cast<double>(count)));
  }
  return weights;
}

}  // namespace

Status ParseClassWeights(const std::string& text, const shard::Manifest& manifest,
                         WeightOptions* options) {
  if (text == "balanced") {
    options->balanced = true;
    return {};
  }
  const int y = manifest.ColumnIndex("y");
  if (y < 0) return Invalid("the dataset has no labels \"y\" that could be weighted");
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    const std::size_t equals = part.rfind('=');
    float weight = 0;
    const char* const last = part.data() + part.size();
    if (equals == std::string::npos ||
        std::from_chars(part.data() + equals + 1, last, weight).ptr != last ||
        !std::isfinite(weight) || weight < 0 || equals + 1 == part.size()) {
      return Invalid("\"" + part +
                     "\" is no weight of a class; expected balanced, or a list such " +
                     "as 0=0.5,3=2");
    }
    DNC_ASSIGN(const std::int64_t label,
               ClassOf(part.substr(0, equals), manifest.columns[static_cast<std::size_t>(y)]));
    options->by_class[label] = weight;
    begin = end + 1;
  }
  return {};
}

Result<SampleWeights> SampleWeights::Create(const shard::Manifest& manifest,
                                            const std::string& split,
                                            std::span<const int> y_columns,
                                            const WeightOptions& options) {
  SampleWeights weights;
  const auto y = static_cast<std::size_t>(y_columns.front());
  if (y_columns.size() > 1 && (options.balanced || !options.by_class.empty())) {
    return Invalid("the model has several outputs with labels; weights by class are of one output");
  }
  weights.y_ = manifest.columns[y];
  weights.by_class_ = options.by_class;
  if (options.balanced) {
    DNC_ASSIGN(weights.by_class_, Balanced(manifest, split, y));
  }
  if (!weights.by_class_.empty() && !IsOneNumber(weights.y_)) {
    return Invalid("the labels are " + array::ColumnTypeText(weights.y_) +
                   "; weights by class need one number of a class a sample");
  }
  if (options.column.empty()) return weights;
  weights.column_ = manifest.ColumnIndex(options.column);
  std::string found;
  for (const array::ColumnSpec& column : manifest.columns) {
    found += (found.empty() ? "" : ", ") + column.name;
  }
  if (weights.column_ < 0) {
    return Invalid("there is no column \"" + options.column + "\" of weights; there are " + found);
  }
  weights.values_column_ = manifest.columns[static_cast<std::size_t>(weights.column_)];
  if (!IsOneNumber(weights.values_column_)) {
    return Invalid("column \"" + options.column + "\" is " +
                   array::ColumnTypeText(weights.values_column_) +
                   "; weights are one number a sample");
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
