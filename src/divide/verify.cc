#include "divide/verify.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include "array/column.h"
#include "base/hash.h"
#include "shard/content_id.h"
#include "shard/shard_reader.h"
#include "shard/statistics.h"

namespace dnc::divide {
namespace {

Error Wrong(const shard::ShardInfo& shard, const std::string& what) {
  return {ErrorCode::kCorrupt, "shard " + shard.cid + ": " + what};
}

Status CheckLeaves(const shard::ShardInfo& shard, const store::ObjectStore& store, Bytes* buffer) {
  const Result<std::uint64_t> size = store.Size(shard.cid);
  if (!size.ok()) return size.error();
  if (*size != shard.bytes || shard.leaves.size() != shard::LeafCount(shard.bytes)) {
    return Wrong(shard, "it has " + std::to_string(*size) + " bytes, but the manifest says " +
                            std::to_string(shard.bytes) + " in " +
                            std::to_string(shard.leaves.size()) + " leaves");
  }
  if (shard::ContentIdFromLeaves(shard.leaves, shard.bytes) != shard.cid) {
    return Wrong(shard, "its name is not the content id of its leaves");
  }
  for (std::size_t leaf = 0; leaf < shard.leaves.size(); ++leaf) {
    const std::uint64_t offset = leaf * shard::kLeafBytes;
    buffer->resize(std::min(shard::kLeafBytes, shard.bytes - offset));
    DNC_TRY(store.Read(shard.cid, offset, *buffer));
    if (Sha256(*buffer) != shard.leaves[leaf]) {
      return Wrong(shard, "leaf " + std::to_string(leaf) + " (bytes " + std::to_string(offset) +
                              " to " + std::to_string(offset + buffer->size() - 1) +
                              ") is not the one of the manifest: bytes were changed");
    }
  }
  return {};
}

Status CheckSummary(const shard::Manifest& manifest, const shard::ShardInfo& shard,
                    const shard::ShardSummary& summary) {
  if (summary.samples != shard.samples || summary.block_samples != shard.block_samples) {
    return Wrong(shard, "it has " + std::to_string(summary.samples) + " samples in blocks of " +
                            std::to_string(summary.block_samples) + ", but the manifest says " +
                            std::to_string(shard.samples) + " in blocks of " +
                            std::to_string(shard.block_samples));
  }
  if (summary.columns.size() != manifest.columns.size()) {
    return Wrong(shard, "it has " + std::to_string(summary.columns.size()) +
                            " columns, but the manifest " +
                            std::to_string(manifest.columns.size()));
  }
  for (std::size_t c = 0; c < summary.columns.size(); ++c) {
    const array::ColumnSpec& found = summary.columns[c];
    const array::ColumnSpec& expected = manifest.columns[c];
    if (found.name != expected.name || found.dtype != expected.dtype ||
        found.shape != expected.shape) {
      return Wrong(shard, "its column \"" + found.name + "\" is " + array::ColumnTypeText(found) +
                              ", but the manifest says \"" + expected.name + "\", " +
                              array::ColumnTypeText(expected));
    }
  }
  return {};
}

// Those of merged manifests (divide/merge.h) are combined, and so differ by roundings.
bool IsClose(const std::vector<double>& a, const std::vector<double>& b, double scale) {
  constexpr double kRoundings = 1e-13;
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [scale](double left, double right) {
    return std::abs(left - right) <= kRoundings * scale;
  });
}

bool IsAlike(const shard::ColumnStatistics& found, const shard::ColumnStatistics& stated) {
  const double scale = std::max(std::abs(found.min), std::abs(found.max));
  return found.count == stated.count && found.nonfinite_count == stated.nonfinite_count &&
         found.min == stated.min && found.max == stated.max &&
         found.class_counts == stated.class_counts &&
         IsClose({found.mean, found.standard_deviation}, {stated.mean, stated.standard_deviation},
                 scale) &&
         (stated.element_mean.empty() ||
          (IsClose(found.element_mean, stated.element_mean, scale) &&
           IsClose(found.element_standard_deviation, stated.element_standard_deviation, scale)));
}

Status CheckStatistics(const shard::Manifest& manifest, const shard::SplitInfo& split,
                       const std::vector<shard::ColumnStatistics>& found) {
  for (std::size_t c = 0; c < manifest.columns.size(); ++c) {
    if (IsAlike(found[c], split.statistics[c])) continue;
    return Error{ErrorCode::kCorrupt,
                 "split \"" + split.name + "\": the statistics of column \"" +
                     manifest.columns[c].name + "\" are not those of its samples: mean " +
                     std::to_string(found[c].mean) + " was found, " +
                     std::to_string(split.statistics[c].mean) + " is in the manifest"};
  }
  return {};
}

class Verifier {
 public:
  Verifier(const shard::Manifest& manifest, const store::ObjectStore& store,
           const VerifyOptions& options)
      : manifest_(manifest), store_(store), options_(options) {
    progress_.shards_total = manifest.shards.size();
    for (const shard::ShardInfo& shard : manifest.shards) progress_.bytes_total += shard.bytes;
    for (const shard::SplitInfo& split : manifest.splits) {
      totals_.emplace(split.name, Totals{0, shard::StatisticsAccumulator(manifest.columns)});
    }
  }

  Status CheckShard(const shard::ShardInfo& shard);
  Status CheckSplits() const;
  const VerifyProgress& progress() const { return progress_; }

 private:
  struct Totals {
    std::uint64_t samples;
    shard::StatisticsAccumulator statistics;
  };

  const shard::Manifest& manifest_;
  const store::ObjectStore& store_;
  VerifyOptions options_;
  VerifyProgress progress_;
  std::map<std::string, Totals> totals_;  // By split.
  Bytes leaf_;
  array::SampleBlock block_;
  shard::BlockDecoder decoder_;
};

Status Verifier::CheckShard(const shard::ShardInfo& shard) {
  const auto totals = totals_.find(shard.split);
  if (totals == totals_.end()) {
    return Wrong(shard, "its split \"" + shard.split + "\" is not one of the manifest's");
  }
  DNC_TRY(CheckLeaves(shard, store_, &leaf_));
  DNC_ASSIGN(const auto source, store::OpenObject(&store_, shard.cid));
  DNC_ASSIGN(const shard::ShardReader reader, shard::ShardReader::Open(source.get()));
  DNC_TRY(CheckSummary(manifest_, shard, reader.summary()));
  for (std::uint32_t b = 0; b < reader.summary().block_count; ++b) {
    DNC_TRY(decoder_.Decode(reader, b, &block_));
    totals->second.samples += block_.sample_count;
    if (options_.statistics) totals->second.statistics.Add(block_);
  }
  ++progress_.shards_done;
  progress_.samples_done += shard.samples;
  progress_.bytes_done += shard.bytes;
  return {};
}

Status Verifier::CheckSplits() const {
  for (const shard::SplitInfo& split : manifest_.splits) {
    const Totals& totals = totals_.at(split.name);
    if (totals.samples != split.samples) {
      return Error{ErrorCode::kCorrupt, "split \"" + split.name + "\": its shards hold " +
                                            std::to_string(totals.samples) +
                                            " samples, but the manifest says " +
                                            std::to_string(split.samples)};
    }
    if (options_.statistics) {
      DNC_TRY(CheckStatistics(manifest_, split, totals.statistics.Compute()));
    }
  }
  return {};
}

}  // namespace

Result<VerifyProgress> Verify(const shard::Manifest& manifest, const store::ObjectStore& store,
                              const VerifyOptions& options, const VerifyCallback& progress) {
  Verifier verifier(manifest, store, options);
  for (const shard::ShardInfo& shard : manifest.shards) {
    DNC_TRY(verifier.CheckShard(shard));
    if (progress && !progress(verifier.progress())) {
      return Error{ErrorCode::kCancelled, "verification was stopped"};
    }
  }
  DNC_TRY(verifier.CheckSplits());
  return verifier.progress();
}

}  // namespace dnc::divide
