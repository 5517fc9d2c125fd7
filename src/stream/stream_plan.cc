#include "stream/stream_plan.h"

#include <algorithm>
#include <numeric>

#include "base/human.h"
#include "shard/content_id.h"

namespace dnc::stream {
namespace {

constexpr std::uint64_t kLanesDefault = 8;
// Leaves of memory kept free for fetching ahead, at most a fifth of the budget.
constexpr std::uint64_t kLeavesAhead = 12;
// A run of neighbouring blocks aims at so many bytes as they are stored: of the leaves
// that it touches, one is shared with the next run.
constexpr std::uint64_t kRunBytes = 4 * shard::kLeafBytes;
// But a window mixes at least so many runs.
constexpr std::uint64_t kRunsPerWindow = 8;

Error Invalid(const std::string& message) { return {ErrorCode::kInvalidArgument, message}; }

StreamNeedOptions NeedOptions(const StreamOptions& options, std::uint64_t lanes,
                              std::uint64_t window_samples) {
  StreamNeedOptions need;
  need.window_samples = window_samples;
  need.lanes = lanes;
  need.batch_samples = options.batch_samples;
  need.batches_held = options.batches_held;
  need.resize = options.resize.value_or(image::ImageSize{});
  need.ahead_bytes = options.memory_bytes / 8;
  return need;
}

Result<std::uint64_t> LanesOf(const StreamOptions& options) {
  if (options.workers == 0 || options.worker >= options.workers) {
    return Invalid("worker " + std::to_string(options.worker) + " of " +
                   std::to_string(options.workers) + "; workers are counted from 0");
  }
  std::uint64_t lanes = options.lanes;
  if (lanes == 0) lanes = std::lcm(kLanesDefault, std::uint64_t{options.workers});
  if (lanes > kLanesMax || lanes % options.workers != 0) {
    return Invalid(std::to_string(options.workers) + " workers cannot share " +
                   std::to_string(lanes) +
                   " lanes evenly; give a number of lanes that is a "
                   "multiple of the workers, at most " +
                   std::to_string(kLanesMax));
  }
  return lanes;
}

// The largest window that fits, a multiple of the lanes.
Result<std::uint64_t> WindowFor(const shard::Manifest& manifest, const StreamOptions& options,
                                const BlockSequence& sequence, std::uint64_t lanes) {
  const auto need = [&](std::uint64_t rows) {
    return StreamNeedOf(manifest, options.split, sequence,
                        NeedOptions(options, lanes, rows * lanes));
  };
  const MemoryNeed least = need(1);
  if (least.total() > options.memory_bytes) {
    return Invalid("streaming split \"" + options.split + "\" needs at least " + least.Text() +
                   "; given " + FormatByteCount(options.memory_bytes) +
                   "; give more memory or smaller batches");
  }
  const std::uint64_t leaves =
      std::min((kLeavesAhead - 1) * least.leaf_bytes, options.memory_bytes / 5);
  const std::uint64_t rest = std::max(least.total(), options.memory_bytes - leaves);
  std::uint64_t fits = 1;
  std::uint64_t too_large = (sequence.sample_count() - 1) / lanes + 2;
  while (fits + 1 < too_large) {
    const std::uint64_t middle = fits + (too_large - fits) / 2;
    (need(middle).total() <= rest ? fits : too_large) = middle;
  }
  return fits * lanes;
}

// Blocks of a split, and the bytes that they are stored in.
struct StoredBlocks {
  std::uint64_t blocks = 0;
  std::uint64_t bytes = 0;
  std::uint64_t leaves = 0;
  std::uint64_t leaf_bytes = 0;
};

StoredBlocks StoredOf(const shard::Manifest& manifest, const std::string& split) {
  StoredBlocks stored;
  for (const shard::ShardInfo& shard : manifest.shards) {
    if (shard.split != split || shard.samples == 0 || shard.block_samples == 0) continue;
    stored.blocks += (shard.samples - 1) / shard.block_samples + 1;
    stored.bytes += shard.bytes;
    stored.leaves += shard.leaves.size();
    stored.leaf_bytes = std::max(stored.leaf_bytes, std::min(shard.bytes, shard::kLeafBytes));
  }
  return stored;
}

std::uint32_t RunBlocksFor(const StoredBlocks& stored, const BlockSequence& sequence,
                           std::uint64_t window_samples) {
  const std::uint64_t block_bytes = std::max<std::uint64_t>(1, stored.bytes / stored.blocks);
  const std::uint64_t wanted = (kRunBytes - 1) / block_bytes + 1;
  const std::uint64_t most =
      window_samples / (kRunsPerWindow * std::max<std::uint64_t>(1, sequence.block_samples_max()));
  return static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(std::min(wanted, most), 1, UINT32_MAX));
}

// Every run touches the leaves that it fills and one that it shares.
std::uint64_t EpochBytes(const StoredBlocks& stored, const StreamPosition& begin,
                         std::uint64_t samples, std::uint32_t workers) {
  std::uint64_t bytes = stored.bytes;
  if (begin.shuffle && begin.window_samples < samples) {
    const std::uint64_t runs = (stored.blocks - 1) / begin.run_blocks + 1;
    bytes += std::min(runs * stored.leaf_bytes,
                      stored.bytes * (static_cast<std::uint64_t>(stored.blocks - 1) / runs));
  }
  return begin.shuffle ? bytes / workers : bytes;
}

}  // namespace

Result<Derived> Derive(const shard::Manifest& manifest, const StreamOptions& options) {
  if (options.resume.has_value()) {
    const StreamPosition& from = *options.resume;
    if (manifest.FindSplit(from.split) != nullptr &&
        from.data != DataDigest(manifest, from.split)) {
      return Error{ErrorCode::kStale, "the position is of other data than \"" + manifest.name +
                                          "\"; begin anew, or give the dataset that it is of"};
    }
  }
  if (options.batch_samples == 0 || options.batches_held == 0) {
    return Invalid("batches of 0 samples; expected at least 1");
  }
  if (options.resize && (options.resize->width == 0 || options.resize->height == 0 ||
                         options.resize->width > 16384 || options.resize->height > 16384)) {
    return Invalid("images of " + std::to_string(options.resize->width) + "x" +
                   std::to_string(options.resize->height) + "; expected 1 to 16384 each way");
  }
  StreamOptions given = options;
  Derived derived;
  StreamPosition& begin = derived.begin;
  if (options.resume.has_value()) {
    begin = *options.resume;
    given.split = begin.split;
    given.lanes = static_cast<std::uint32_t>(begin.rows.size());
    given.window_samples = begin.window_samples;
  }
  DNC_ASSIGN(const std::uint64_t lanes, LanesOf(given));
  PlanOptions plan_options;
  plan_options.split = given.split;
  plan_options.shuffle = options.resume ? begin.shuffle : given.shuffle;
  DNC_ASSIGN(const Plan plan, Plan::Create(&manifest, plan_options));
  const BlockSequence& sequence = plan.sequence();
  const StoredBlocks stored = StoredOf(manifest, given.split);
  if (!options.resume.has_value()) {
    begin.data = DataDigest(manifest, given.split);
    begin.split = given.split;
    begin.shuffle = given.shuffle;
    begin.seed = given.seed;
    begin.rows.assign(lanes, 0);
    if (given.window_samples == 0) {
      DNC_ASSIGN(begin.window_samples, WindowFor(manifest, given, sequence, lanes));
    } else {
      begin.window_samples = ((given.window_samples - 1) / lanes + 1) * lanes;
    }
    begin.run_blocks = given.shuffle && begin.window_samples < sequence.sample_count()
                           ? RunBlocksFor(stored, sequence, begin.window_samples)
                           : 1;
  }
  derived.need = StreamNeedOf(manifest, given.split, sequence,
                              NeedOptions(given, lanes, begin.window_samples));
  if (derived.need.total() > options.memory_bytes) {
    return Invalid("streaming in windows of " + FormatCount(begin.window_samples) +
                   " samples needs " + derived.need.Text() + "; given " +
                   FormatByteCount(options.memory_bytes) + "; give more memory" +
                   (options.resume ? ", as much as where the position was taken" : ""));
  }
  derived.samples = sequence.sample_count();
  derived.stored_bytes = stored.bytes;
  derived.leaf_count = stored.leaves;
  derived.epoch_bytes = EpochBytes(stored, begin, derived.samples, given.workers);
  return derived;
}

Digest DataDigest(const shard::Manifest& manifest, const std::string& split) {
  Sha256Hasher hasher;
  for (const shard::ShardInfo& shard : manifest.shards) {
    if (shard.split != split) continue;
    const std::string line = shard.cid + " " + std::to_string(shard.samples) + " " +
                             std::to_string(shard.block_samples) + "\n";
    hasher.Update(AsBytes(line));
  }
  return hasher.Finish();
}

std::vector<array::ColumnSpec> BatchColumns(const shard::Manifest& manifest,
                                            const std::optional<image::ImageSize>& resize) {
  std::vector<array::ColumnSpec> columns = manifest.columns;
  for (array::ColumnSpec& column : columns) {
    if (!resize || column.kind != array::ColumnKind::kImage) continue;
    column.kind = array::ColumnKind::kArray;
    column.dtype = array::DType::kUint8;
    column.shape = {resize->height, resize->width, 3};
  }
  return columns;
}

}  // namespace dnc::stream
