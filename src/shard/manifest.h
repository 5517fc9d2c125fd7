// The manifest: the JSON document that describes a divided dataset. It names its
// columns, its splits with exact statistics, and its shards with the hash of
// every 1 MiB leaf, so that any leaf may come from anywhere and is checked alone.
// docs/formats/manifest.md fixes the fields.
//
// A manifest may come from a stranger: Parse checks every field, every size
// against ManifestLimits, and that each CID is the one of its leaves.

#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "array/column.h"
#include "base/hash.h"
#include "base/result.h"

namespace dnc::shard {

inline constexpr int kManifestVersion = 1;

inline constexpr std::int64_t kElementStatisticsMax = 4096;

// Of a column that is not of arrays: count is the number of samples; mean, standard
// deviation, min and max are of their lengths in bytes.
struct ColumnStatistics {
  std::uint64_t count = 0;  // Elements, over all samples of the split.
  double mean = 0;
  double standard_deviation = 0;  // Of the population.
  double min = 0;
  double max = 0;
  // Integer scalar columns with at most 4096 distinct values: samples of each.
  std::map<std::int64_t, std::uint64_t> class_counts;
  // Of `count`: NaN and infinities, which are left out of the four above.
  std::uint64_t nonfinite_count = 0;
  // Columns of arrays of shape (n,), n <= kElementStatisticsMax: of each element,
  // over the samples in which it is finite. Else empty.
  std::vector<double> element_mean;
  std::vector<double> element_standard_deviation;

  friend bool operator==(const ColumnStatistics&, const ColumnStatistics&) = default;
};

struct SplitInfo {
  std::string name;
  std::uint64_t samples = 0;
  std::vector<ColumnStatistics> statistics;  // One a column, in their order.
};

struct ShardInfo {
  std::string cid;
  std::string split;
  std::uint64_t bytes = 0;
  std::uint64_t samples = 0;
  // Every block of the shard holds this many samples, the last one the rest.
  std::uint32_t block_samples = 0;
  // Raw bytes of the largest block, ends of samples included (4 bytes each).
  std::uint64_t block_bytes_max = 0;
  std::vector<Digest> leaves;  // SHA-256 of each 1 MiB of the file.
  // Direct links to the whole file, beside Manifest::mirrors; usually none.
  std::vector<std::string> urls;
};

// What was done to a column while dividing: "resize", "standardise", "hog"...
// Whoever predicts on new data repeats it.
struct FeatureStep {
  std::string name;
  std::string column;
  std::map<std::string, std::vector<double>> numbers;  // {"mean": [...]}, {"size": [w, h]}.
  std::map<std::string, std::string> texts;

  friend bool operator==(const FeatureStep&, const FeatureStep&) = default;
};

struct Manifest {
  std::string name;
  std::string description;
  std::vector<array::ColumnSpec> columns;
  std::vector<SplitInfo> splits;
  std::vector<ShardInfo> shards;                  // Split by split, in the order of samples.
  std::map<std::string, std::string> parameters;  // How it was made: seed, source, options.
  std::vector<FeatureStep> steps;                 // In the order in which they were applied.
  // Where else the shards lie: locations as store::OpenStore takes them.
  std::vector<std::string> mirrors;

  // nullptr if there is none of that name.
  const SplitInfo* FindSplit(std::string_view split) const;
  // Index of the column, or -1.
  int ColumnIndex(std::string_view column) const;
  // Of each of these columns, by index: the number of classes that the labels of a split
  // are of; 0 where they were not counted.
  std::vector<std::uint64_t> ClassCounts(std::string_view split,
                                         std::span<const int> columns_of_labels) const;
};

struct ManifestLimits {
  std::uint64_t bytes_max = 256u << 20;
  std::uint64_t shard_count_max = 1u << 22;
  std::uint64_t shard_bytes_max = std::uint64_t{1} << 32;
  std::uint32_t column_count_max = 1024;
};

// Deterministic: the same manifest gives the same bytes.
std::string FormatManifest(const Manifest& manifest);

// `name` is used in messages.
// Errors: kCorrupt, not a manifest, naming the field; kUnsupported, a later
// version; kTooLarge, beyond `limits`.
Result<Manifest> ParseManifest(std::string_view json, const std::string& name,
                               const ManifestLimits& limits = {});

}  // namespace dnc::shard
