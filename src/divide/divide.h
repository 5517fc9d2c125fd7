// Divides a dataset: samples of a source become shards in an object store, and a
// manifest that names them with exact statistics.
//
// Memory is bounded by a few blocks, whatever the size of the source, and the store is
// the only place that is written to. Nothing is half-written: the manifest is stored
// last and atomically, and a run that fails deletes the shards that it added. Shards
// that were there before are never deleted by such a run, even where the run made the
// same ones again (a shard's key is its content).
//
// A run that is killed, stopped by the user, or loses its network leaves a journal
// beside its finished shards (divide/journal.h): the same run reads the source again,
// passes over what is finished, and gives the same bytes as a run that was never
// interrupted. It is known again by its options and by a digest of the samples.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "divide/split.h"
#include "shard/compression.h"
#include "shard/manifest.h"
#include "source/sample_source.h"
#include "store/object_store.h"

namespace dnc::divide {

// The key of the manifest in the store of its shards.
inline constexpr char kManifestKey[] = "manifest.json";

inline constexpr std::uint64_t kShardBytesMin = 64u << 10;
inline constexpr std::uint64_t kShardBytesMax = 1u << 30;

struct DivideOptions {
  std::string name;
  std::string description;
  // A shard closes with the block that brings it to this many bytes or more.
  std::uint64_t shard_bytes = 16u << 20;
  // If above 0: every split becomes so many shards of equal numbers of samples (they
  // differ by one at most), whatever their bytes. Needs a source that knows its length.
  std::uint64_t batches = 0;
  std::vector<SplitFraction> splits = {{"train", 1.0}};
  std::uint64_t seed = 0;  // Of the splits.
  shard::Compression compression = shard::Compression::kBalanced;
  int zstd_level = 2;
  int threads = 2;         // Reading and compressing overlap if above 1.
  bool overwrite = false;  // Replace the dataset that the store holds.
  // Read every shard back from the store, and compare it.
  bool read_back = false;
  std::string manifest_key = kManifestKey;
  std::string journal_name = "dividing";  // Its own for each run that writes to a store.
  std::string command;                    // For people who find the journal: what is done.
  // Where the source is a part of a larger one: the window of splits that it begins with.
  std::uint64_t first_split_window = 0;
  // What was done to the samples that the source gives, for Manifest::steps.
  std::vector<shard::FeatureStep> steps;
  // Further entries for Manifest::parameters, such as the source's name.
  std::map<std::string, std::string> parameters;
};

struct DivideProgress {
  std::uint64_t samples_done = 0;
  std::optional<std::uint64_t> samples_total;  // Where the source knows it.
  std::uint64_t bytes_in = 0;                  // Raw bytes of those samples.
  std::uint64_t bytes_out = 0;                 // Bytes of shards so far.
  source::SourceBytes source;                  // How far the source's own bytes are read.
  std::uint64_t shards_kept = 0;               // Of an earlier run that this one goes on from.
};

struct DivideReport {
  shard::Manifest manifest;
  DivideProgress totals;
  std::vector<source::SkippedInput> skipped;
  std::uint64_t replaced_shards = 0;  // Deleted: only the overwritten manifest named them.
  Duration elapsed;
};

// Called on the caller's thread, about once a block; false cancels.
using DivideCallback = std::function<bool(const DivideProgress&)>;

// Errors: kAlreadyExists, overwrite is off and the store holds a manifest, or what
// another run did not finish; kInvalidArgument, wrong options, a source without
// samples, or a split that would be empty; kCancelled; kResourceExhausted, the disk is
// full; kTooLarge, a batch above kShardBytesMax; those of `source` and `store`. After an error the
// store holds what it held before; but after kCancelled and kUnavailable, and in a run that went on
// from a journal, finished shards are kept for the next one.
Result<DivideReport> Divide(source::SampleSource* source, store::ObjectStore* store,
                            const DivideOptions& options, const DivideCallback& progress = {});

}  // namespace dnc::divide
