#include "shard/weighting.h"

#include <algorithm>
#include <charconv>
#include <limits>

namespace dnc::shard {
namespace {

// Classes named in one message.
constexpr std::size_t kClassesNamed = 20;

Error Invalid(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

bool IsOneNumber(const array::ColumnSpec& column) {
  return column.is_array() && array::ElementCount(column.shape) == 1u;
}

// The classes that were counted, over all splits; empty where none were.
std::map<std::int64_t, std::uint64_t> CountedClasses(const Manifest& manifest, std::size_t y) {
  std::map<std::int64_t, std::uint64_t> counts;
  for (const SplitInfo& split : manifest.splits) {
    if (y >= split.statistics.size()) continue;
    for (const auto& [label, count] : split.statistics[y].class_counts) counts[label] += count;
  }
  return counts;
}

Result<std::int64_t> ClassOf(const std::string& text, const array::ColumnSpec& y,
                             const std::map<std::int64_t, std::uint64_t>& counted) {
  const auto named = std::find(y.class_names.begin(), y.class_names.end(), text);
  if (named != y.class_names.end()) return named - y.class_names.begin();
  std::int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  const bool is_number = !text.empty() && rest == end && error == std::errc();
  const bool has_name = number >= 0 && static_cast<std::uint64_t>(number) < y.class_names.size();
  // Where neither names nor counts tell which classes there are, any number may be one.
  const bool is_known =
      has_name || counted.contains(number) || (y.class_names.empty() && counted.empty());
  if (is_number && is_known) return number;
  std::vector<std::string> known = y.class_names;
  if (known.empty()) {
    for (const auto& [label, count] : counted) known.push_back(std::to_string(label));
  }
  std::string list;
  for (std::size_t i = 0; i < std::min(known.size(), kClassesNamed); ++i) {
    list += (i == 0 ? "" : ", ") + known[i];
  }
  if (known.size() > kClassesNamed) list += ", ...";
  return Invalid("\"" + text + "\" is no class" + (list.empty() ? "" : "; there are " + list));
}

// Each class the same sum of weights.
Result<std::map<std::int64_t, float>> Balanced(const Manifest& manifest, const std::string& split,
                                               std::size_t y) {
  const SplitInfo* info = manifest.FindSplit(split);
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

Result<std::map<std::int64_t, float>> ResolveClassWeights(const NamedWeights& named,
                                                          const Manifest& manifest) {
  std::map<std::int64_t, float> by_class;
  if (named.empty()) return by_class;
  const int y = manifest.ColumnIndex("y");
  if (y < 0) return Invalid("the dataset has no labels \"y\" that could be weighted");
  const auto column = static_cast<std::size_t>(y);
  const std::map<std::int64_t, std::uint64_t> counted = CountedClasses(manifest, column);
  for (const auto& [name, weight] : named) {
    // Also not for a NaN, and no float is made of what none can hold.
    if (!(weight >= 0 && weight <= std::numeric_limits<float>::max())) {
      return Invalid("class \"" + name + "\" has the weight " + std::to_string(weight) +
                     "; weights are finite and not below 0");
    }
    DNC_ASSIGN(const std::int64_t label, ClassOf(name, manifest.columns[column], counted));
    if (!by_class.emplace(label, static_cast<float>(weight)).second) {
      return Invalid("\"" + name + "\" is class " + std::to_string(label) +
                     ", which has a weight already");
    }
  }
  return by_class;
}

Status ParseClassWeights(const std::string& text, const Manifest& manifest,
                         WeightOptions* options) {
  if (text == "balanced") {
    options->balanced = true;
    return {};
  }
  NamedWeights named;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    const std::size_t equals = part.rfind('=');
    float weight = 0;
    const char* const last = part.data() + part.size();
    if (equals == std::string::npos || equals + 1 == part.size() ||
        std::from_chars(part.data() + equals + 1, last, weight).ptr != last) {
      return Invalid("\"" + part +
                     "\" is no weight of a class; expected balanced, or a list such " +
                     "as 0=0.5,3=2");
    }
    named.emplace_back(part.substr(0, equals), weight);
    begin = end + 1;
  }
  DNC_ASSIGN(options->by_class, ResolveClassWeights(named, manifest));
  return {};
}

Result<Weighting> ResolveWeighting(const Manifest& manifest, const std::string& split,
                                   std::span<const int> y_columns, const WeightOptions& options) {
  const auto y = static_cast<std::size_t>(y_columns.front());
  if (y_columns.size() > 1 && (options.balanced || !options.by_class.empty())) {
    return Invalid("the model has several outputs with labels; weights by class are of one output");
  }
  Weighting weighting{.by_class = options.by_class};
  if (options.balanced) {
    DNC_ASSIGN(weighting.by_class, Balanced(manifest, split, y));
  }
  if (!weighting.by_class.empty() && !IsOneNumber(manifest.columns[y])) {
    return Invalid("the labels are " + array::ColumnTypeText(manifest.columns[y]) +
                   "; weights by class need one number of a class a sample");
  }
  if (options.column.empty()) return weighting;
  weighting.column = manifest.ColumnIndex(options.column);
  if (weighting.column < 0) {
    std::string found;
    for (const array::ColumnSpec& column : manifest.columns) {
      found += (found.empty() ? "" : ", ") + column.name;
    }
    return Invalid("there is no column \"" + options.column + "\" of weights; there are " + found);
  }
  const array::ColumnSpec& column = manifest.columns[static_cast<std::size_t>(weighting.column)];
  if (!IsOneNumber(column)) {
    return Invalid("column \"" + options.column + "\" is " + array::ColumnTypeText(column) +
                   "; weights are one number a sample");
  }
  return weighting;
}

}  // namespace dnc::shard
