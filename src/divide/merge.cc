#include "divide/merge.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "base/assert.h"
#include "divide/part_source.h"

namespace dnc::divide {
namespace {

constexpr std::size_t kClassesMax = 4096;  // As shard/statistics.h.

Error Wrong(const std::string& message) { return {ErrorCode::kInvalidArgument, message}; }

std::string NameOf(const shard::Manifest& manifest, std::size_t index) {
  return "manifest " + std::to_string(index + 1) + " (" + manifest.name + ")";
}

// Into the order of their parts, if all of them are parts.
Status SortParts(std::vector<shard::Manifest>* manifests) {
  std::map<std::uint32_t, shard::Manifest> by_index;
  std::uint32_t count = 0;
  for (const shard::Manifest& manifest : *manifests) {
    const auto text = manifest.parameters.find("part");
    if (text == manifest.parameters.end()) {
      if (count == 0) continue;
      return Wrong("some of the manifests are parts of a dataset and others are not");
    }
    DNC_ASSIGN(const Part part, ParsePart(text->second));
    if (count != 0 && part.count != count) {
      return Wrong("part " + text->second + " does not go with a dataset of " +
                   std::to_string(count) + " parts");
    }
    count = part.count;
    if (!by_index.emplace(part.index, manifest).second) {
      return Wrong("part " + text->second + " comes twice");
    }
  }
  if (count == 0) return {};
  if (by_index.size() != manifests->size()) {
    return Wrong("some of the manifests are parts of a dataset and others are not");
  }
  std::string missing;
  for (std::uint32_t i = 1, named = 0; i <= count && named < 10; ++i) {
    if (by_index.contains(i)) continue;
    missing += (missing.empty() ? "" : ", ") + std::to_string(i) + "/" + std::to_string(count);
    ++named;
  }
  if (!missing.empty()) return Wrong("parts are missing: " + missing);
  manifests->clear();
  for (auto& [index, manifest] : by_index) manifests->push_back(std::move(manifest));
  return {};
}

Status CheckAlike(const shard::Manifest& first, const shard::Manifest& other, std::size_t index) {
  const std::string name = NameOf(other, index);
  if (first.columns.size() != other.columns.size()) {
    return Wrong(name + " has " + std::to_string(other.columns.size()) +
                 " columns, the first has " + std::to_string(first.columns.size()));
  }
  for (std::size_t c = 0; c < first.columns.size(); ++c) {
    const array::ColumnSpec& a = first.columns[c];
    const array::ColumnSpec& b = other.columns[c];
    if (a == b) continue;
    if (a.name == b.name && array::ColumnTypeText(a) == array::ColumnTypeText(b)) {
      return Wrong(name + ": column " + b.name +
                   " has other classes or features than that of the first");
    }
    return Wrong(name + ": column " + b.name + " is " + array::ColumnTypeText(b) +
                 ", that of the first is " + a.name + ", " + array::ColumnTypeText(a));
  }
  if (first.steps != other.steps) {
    return Wrong(name +
                 " was made by other steps than the first (one resized or standardised "
                 "otherwise, for example)");
  }
  return {};
}

struct Moments {
  double count = 0;
  double mean = 0;
  double deviation = 0;
};

Moments Combined(const Moments& a, const Moments& b) {
  if (a.count == 0) return b;
  if (b.count == 0) return a;
  Moments both;
  both.count = a.count + b.count;
  const double delta = b.mean - a.mean;
  both.mean = a.mean + delta * (b.count / both.count);
  const double squares = a.deviation * a.deviation * a.count + b.deviation * b.deviation * b.count +
                         delta * delta * (a.count * b.count / both.count);
  both.deviation = std::sqrt(squares / both.count);
  return both;
}

void Merge(const shard::ColumnStatistics& from, std::uint64_t from_samples,
           std::uint64_t to_samples, shard::ColumnStatistics* to) {
  const std::uint64_t from_finite = from.count - from.nonfinite_count;
  const std::uint64_t to_finite = to->count - to->nonfinite_count;
  const Moments all =
      Combined({static_cast<double>(to_finite), to->mean, to->standard_deviation},
               {static_cast<double>(from_finite), from.mean, from.standard_deviation});
  to->mean = all.mean;
  to->standard_deviation = all.deviation;
  if (from_finite > 0) {
    to->min = to_finite > 0 ? std::min(to->min, from.min) : from.min;
    to->max = to_finite > 0 ? std::max(to->max, from.max) : from.max;
  }
  // A part without classes has too many values, or is no label.
  if (from.class_counts.empty() || to->class_counts.empty()) {
    if (to_samples > 0 && from_samples > 0) to->class_counts.clear();
  } else {
    for (const auto& [value, count] : from.class_counts) to->class_counts[value] += count;
    if (to->class_counts.size() > kClassesMax) to->class_counts.clear();
  }
  if (to->nonfinite_count + from.nonfinite_count > 0) {
    // In how many samples each element is finite is known of none.
    to->element_mean.clear();
    to->element_standard_deviation.clear();
  }
  for (std::size_t i = 0; i < to->element_mean.size() && i < from.element_mean.size(); ++i) {
    const Moments element = Combined(
        {static_cast<double>(to_samples), to->element_mean[i], to->element_standard_deviation[i]},
        {static_cast<double>(from_samples), from.element_mean[i],
         from.element_standard_deviation[i]});
    to->element_mean[i] = element.mean;
    to->element_standard_deviation[i] = element.deviation;
  }
  to->count += from.count;
  to->nonfinite_count += from.nonfinite_count;
}

void MergeSplit(const shard::SplitInfo& from, shard::Manifest* merged) {
  const auto found = std::find_if(merged->splits.begin(), merged->splits.end(),
                                  [&](const auto& split) { return split.name == from.name; });
  if (found == merged->splits.end()) {
    merged->splits.push_back(from);
    return;
  }
  for (std::size_t c = 0; c < from.statistics.size(); ++c) {
    if (found->samples == 0) {
      found->statistics[c] = from.statistics[c];
    } else if (from.samples > 0) {
      Merge(from.statistics[c], from.samples, found->samples, &found->statistics[c]);
    }
  }
  found->samples += from.samples;
}

}  // namespace

Result<shard::Manifest> MergeManifests(std::vector<shard::Manifest> manifests,
                                       const std::string& name) {
  DNC_ASSERT(!manifests.empty());
  DNC_TRY(SortParts(&manifests));
  shard::Manifest merged = manifests[0];
  merged.shards.clear();
  for (std::size_t i = 1; i < manifests.size(); ++i) {
    DNC_TRY(CheckAlike(merged, manifests[i], i));
    for (const shard::SplitInfo& split : manifests[i].splits) MergeSplit(split, &merged);
    for (const std::string& mirror : manifests[i].mirrors) {
      if (std::find(merged.mirrors.begin(), merged.mirrors.end(), mirror) == merged.mirrors.end()) {
        merged.mirrors.push_back(mirror);
      }
    }
    // What is not the same for all is said of none.
    std::erase_if(merged.parameters, [&](const auto& entry) {
      const auto other = manifests[i].parameters.find(entry.first);
      return other == manifests[i].parameters.end() || other->second != entry.second;
    });
  }
  merged.parameters.erase("part");
  for (const shard::SplitInfo& split : merged.splits) {
    for (const shard::Manifest& manifest : manifests) {
      for (const shard::ShardInfo& shard : manifest.shards) {
        if (shard.split == split.name) merged.shards.push_back(shard);
      }
    }
  }
  if (merged.shards.size() > shard::ManifestLimits().shard_count_max) {
    return Wrong("together they have " + std::to_string(merged.shards.size()) +
                 " shards; a manifest may have " +
                 std::to_string(shard::ManifestLimits().shard_count_max));
  }
  if (!name.empty()) merged.name = name;
  return merged;
}

}  // namespace dnc::divide
