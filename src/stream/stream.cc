#include "stream/stream.h"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <map>
#include <thread>

#include "base/assert.h"
#include "base/human.h"
#include "shard/content_id.h"
#include "stream/batches.h"
#include "stream/decode_ahead.h"
#include "stream/leaf_file.h"
#include "stream/leaf_keeper.h"
#include "stream/stream_order.h"
#include "stream/stream_plan.h"
#include "stream/window_pump.h"

namespace dnc::stream {
namespace {

// What Foresee measures a link by.
constexpr std::uint64_t kMeasuredBytes = 4 * shard::kLeafBytes;

class StreamOfWindows final : public Stream {
 public:
  StreamOfWindows(const shard::Manifest* manifest, const StreamOptions& options, Derived derived,
                  StreamOrder order)
      : manifest_(manifest),
        options_(options),
        derived_(std::move(derived)),
        order_(std::move(order)),
        columns_(BatchColumns(*manifest, options.resize)),
        epoch_(derived_.begin.epoch),
        started_(MonotonicNow()) {}

  // Errors: as Stream::Open.
  Status Start(const store::ObjectStore* store);

  using Stream::Next;
  Result<std::uint64_t> Next(std::uint64_t sample_count_max,
                             std::span<const Destination> destinations) override;
  bool WaitUntilReady(Duration timeout) override { return batches_->WaitUntilReady(timeout); }
  StreamPosition position() const override;
  StreamStatistics statistics() const override;
  const StreamPlan& plan() const override { return plan_; }
  const std::vector<array::ColumnSpec>& columns() const override { return columns_; }
  Result<Bytes> CachedLeaf(const Digest& digest) const override;
  Result<Forecast> Foresee(double samples_per_second) override;

 private:
  Status OpenDisk(const store::ObjectStore& store);
  void DescribePlan();
  // Of the pump's thread.
  Result<std::optional<WindowVisit>> NextVisit();
  std::uint64_t NeedOf(const LeafBlocks& blocks, std::uint64_t from) const;

  const shard::Manifest* manifest_;
  const StreamOptions options_;
  const Derived derived_;
  const StreamOrder order_;
  const std::vector<array::ColumnSpec> columns_;
  StreamPlan plan_;

  std::unique_ptr<LeafFile> disk_;
  std::unique_ptr<LeafKeeper> keeper_;
  std::optional<StreamOrder::Place> place_;  // The pump's, of the visit before.
  std::uint64_t visits_ = 0;                 // The pump's.

  std::uint64_t epoch_;
  std::uint64_t epoch_samples_ = 0;  // Of epoch_, visited since the stream began in it.
  std::uint64_t samples_ = 0;
  std::uint64_t repeated_ = 0;
  int connections_ = 0;
  const Instant started_;
  Instant returned_;            // When Next last did.
  Duration consuming_;          // Between calls of Next.
  std::uint64_t consumed_ = 0;  // Samples that this took.

  // Last: their threads use what is above.
  std::unique_ptr<WindowPump> pump_;
  std::unique_ptr<Batches> batches_;
};

std::uint64_t StreamOfWindows::NeedOf(const LeafBlocks& blocks, std::uint64_t from) const {
  std::uint64_t need = UINT64_MAX;
  for (std::uint32_t block = blocks.first_block; block <= blocks.last_block; ++block) {
    const Result<std::uint64_t> one = order_.NextNeed(blocks.shard_index, block, from);
    if (one.ok()) need = std::min(need, *one);
  }
  return need;
}

Status StreamOfWindows::OpenDisk(const store::ObjectStore& store) {
  if (store.local()) return {};
  const bool named = !options_.cache_folder.empty();
  std::uint64_t bytes = options_.disk_bytes;
  if (LeafFile::SlotCount(bytes) == 0 && !named) return {};
  DNC_ASSIGN(disk_, LeafFile::Open(options_.cache_folder, bytes));
  // Which shard a leaf on disk belongs to: the few that are there are looked up in one
  // pass over the manifest.
  std::map<Digest, std::uint32_t> shards;
  for (const StoredLeaf& leaf : disk_->Contents()) {
    if (leaf.bytes > 0) shards.emplace(leaf.digest, UINT32_MAX);
  }
  for (std::size_t s = 0; s < manifest_->shards.size() && !shards.empty(); ++s) {
    const shard::ShardInfo& shard = manifest_->shards[s];
    if (shard.split != derived_.begin.split || shard.samples == 0) continue;
    for (const Digest& digest : shard.leaves) {
      const auto found = shards.find(digest);
      if (found != shards.end()) found->second = static_cast<std::uint32_t>(s);
    }
  }
  DNC_ASSIGN(const std::optional<StreamOrder::Place> first, order_.First());
  const std::uint64_t now = first.has_value() ? order_.Ordinal(*first) : 0;
  const auto block_count = [this](std::uint32_t shard) {
    const shard::ShardInfo& info = manifest_->shards[shard];
    return (info.samples - 1) / info.block_samples + 1;
  };
  keeper_ = std::make_unique<LeafKeeper>(
      disk_.get(), now,
      [this, block_count](const LeafBlocks& blocks, std::uint64_t from) {
        // A record on disk may claim any blocks.
        const auto last = static_cast<std::uint32_t>(block_count(blocks.shard_index) - 1);
        return NeedOf({blocks.shard_index, std::min(blocks.first_block, last),
                       std::min(blocks.last_block, last)},
                      from);
      },
      [&shards](const Digest& digest) { return shards.at(digest); });
  return {};
}

void StreamOfWindows::DescribePlan() {
  plan_.window_samples = derived_.begin.window_samples;
  plan_.run_blocks = derived_.begin.run_blocks;
  plan_.lanes = static_cast<std::uint32_t>(derived_.begin.rows.size());
  plan_.epoch_samples = derived_.samples;
  plan_.worker_samples = order_.SamplesOf(UINT64_MAX);
  plan_.memory_needed_bytes = derived_.need.total();
  plan_.disk_leaves = disk_ == nullptr ? 0 : disk_->slot_count();
  plan_.memory_text = derived_.need.Text();
}

Result<std::optional<WindowVisit>> StreamOfWindows::NextVisit() {
  if (visits_ == 0) {
    DNC_ASSIGN(place_, order_.First());
  } else if (place_.has_value()) {
    DNC_ASSIGN(place_, order_.After(*place_));
  }
  if (!place_.has_value()) return std::optional<WindowVisit>();
  DNC_ASSIGN(WindowVisit visit, order_.VisitOf(*place_, visits_++));
  return std::optional<WindowVisit>(std::move(visit));
}

Status StreamOfWindows::Start(const store::ObjectStore* store) {
  if (options_.disk_bytes > 0) DNC_TRY(OpenDisk(*store));
  DescribePlan();
  FillerOptions filler;
  filler.budget =
      SpreadMemory(*manifest_, derived_.begin.split, derived_.need, options_.memory_bytes);
  connections_ = store->local() ? 0 : std::clamp(options_.connections, 1, 256);
  filler.connections = connections_;
  filler.disk = disk_.get();
  filler.keeper = keeper_.get();
  filler.neighbours = connections_ == 0 ? nullptr : options_.neighbours;
  filler.warn = options_.warn;
  try {
    pump_ = std::make_unique<WindowPump>(manifest_, store, filler, [this] { return NextVisit(); });
    if (!options_.resize) {
      batches_ = MakeDirectBatches(pump_.get(), options_.reuse_max);
      return {};
    }
  } catch (const std::exception& failure) {
    return Error{ErrorCode::kResourceExhausted,
                 std::string("cannot start streaming: ") + failure.what() +
                     "; free memory or threads, or give a smaller budget"};
  }
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const std::uint64_t sample_bytes =
      BatchSampleBytes(*manifest_, derived_.begin.split, *options_.resize);
  // Beside the ring, decoders hold an image each.
  const std::uint64_t image_bytes =
      std::uint64_t{4 * 3} * options_.resize->width * options_.resize->height;
  const std::uint64_t ahead = derived_.need.ahead_bytes;
  const int threads = static_cast<int>(std::clamp<std::uint64_t>(
      options_.decode_threads > 0 ? static_cast<std::uint64_t>(options_.decode_threads)
                                  : static_cast<std::uint64_t>(cores),
      1, std::max<std::uint64_t>(1, ahead / 2 / image_bytes)));
  DecodeOptions decode =
      SpreadRing(ahead - std::min(ahead, threads * image_bytes), sample_bytes, threads);
  decode.size = *options_.resize;
  decode.reuse_max = options_.reuse_max;
  DNC_ASSIGN(batches_, MakeDecodedBatches(manifest_, pump_.get(), decode));
  return {};
}

Result<std::uint64_t> StreamOfWindows::Next(std::uint64_t sample_count_max,
                                            std::span<const Destination> destinations) {
  DNC_ASSERT(sample_count_max > 0 && sample_count_max <= options_.batch_samples);
  DNC_ASSERT(destinations.size() == columns_.size());
  if (returned_ != Instant{}) {
    consuming_ = consuming_ + (MonotonicNow() - returned_);
    consumed_ = samples_;
  }
  for (const Destination& destination : destinations) {
    if (destination.bytes != nullptr) destination.bytes->clear();
    if (destination.ends != nullptr) destination.ends->clear();
  }
  DNC_ASSIGN(const Gathered gathered, batches_->Next(sample_count_max, destinations));
  if (gathered.samples > 0 && gathered.epoch != epoch_) {
    epoch_ = gathered.epoch;
    epoch_samples_ = 0;
  }
  epoch_samples_ += gathered.samples - gathered.repeated;
  samples_ += gathered.samples;
  repeated_ += gathered.repeated;
  returned_ = MonotonicNow();
  return gathered.samples;
}

StreamPosition StreamOfWindows::position() const {
  StreamPosition position = order_.After(epoch_, epoch_samples_);
  position.samples_repeated = derived_.begin.samples_repeated + repeated_;
  return position;
}

StreamStatistics StreamOfWindows::statistics() const {
  StreamStatistics statistics;
  const LeafCounters leaves = pump_->filler().leaf_counters();
  statistics.samples = samples_;
  statistics.samples_repeated = repeated_;
  statistics.fetched_bytes = leaves.fetched_bytes;
  statistics.neighbour_bytes = leaves.neighbour_bytes;
  statistics.cache_bytes = leaves.disk_bytes;
  statistics.decoded_bytes = pump_->filler().decoded_bytes();
  statistics.leaves_rejected = leaves.rejected;
  statistics.memory_peak_bytes = pump_->filler().memory_peak_bytes();
  statistics.disk_bytes = disk_ == nullptr ? 0 : disk_->file_bytes();
  statistics.waited = batches_->waited();
  statistics.elapsed = MonotonicNow() - started_;
  return statistics;
}

Result<Bytes> StreamOfWindows::CachedLeaf(const Digest& digest) const {
  const Error none{ErrorCode::kNotFound, "no leaf " + digest.Hex() + " is here"};
  const std::uint32_t size = disk_ == nullptr ? 0 : disk_->SizeOf(digest);
  if (size == 0) return none;
  Bytes leaf(size);
  DNC_TRY(disk_->Read(digest, leaf));
  if (Sha256(leaf) != digest) return none;
  return leaf;
}

Result<Forecast> StreamOfWindows::Foresee(double samples_per_second) {
  const auto measured = [this] {
    const LeafCounters leaves = pump_->filler().leaf_counters();
    return leaves.fetched_bytes + leaves.neighbour_bytes >= kMeasuredBytes;
  };
  while (!pump_->Ready() && !measured()) pump_->WaitReady(Duration::Milliseconds(20));
  Forecast forecast;
  forecast.epoch_bytes = derived_.epoch_bytes;
  forecast.later_epoch_bytes = derived_.epoch_bytes;
  if (disk_ != nullptr) {
    const std::uint64_t kept = std::uint64_t{disk_->slot_count()} * shard::kLeafBytes;
    forecast.later_epoch_bytes -= std::min(forecast.later_epoch_bytes, kept);
  }
  const LeafCounters leaves = pump_->filler().leaf_counters();
  forecast.samples_per_second = samples_per_second;
  if (samples_per_second <= 0 && consuming_.us > 0) {
    forecast.samples_per_second = static_cast<double>(consumed_) / consuming_.seconds();
  }
  // What lies on this machine is no link.
  if (connections_ == 0) return forecast;
  if (leaves.fetching.us <= 0) return forecast;
  forecast.link_bytes_per_second =
      static_cast<double>(leaves.fetched_bytes + leaves.neighbour_bytes) /
      leaves.fetching.seconds();
  const double bytes_per_sample =
      static_cast<double>(derived_.epoch_bytes) /
      static_cast<double>(std::max<std::uint64_t>(1, plan_.worker_samples));
  if (forecast.link_bytes_per_second <= 0 || bytes_per_sample <= 0) return forecast;
  forecast.link_samples_per_second = forecast.link_bytes_per_second / bytes_per_sample;
  forecast.epoch_download = Duration::Microseconds(static_cast<std::int64_t>(
      static_cast<double>(forecast.epoch_bytes) / forecast.link_bytes_per_second * 1e6));
  if (forecast.samples_per_second > forecast.link_samples_per_second) {
    forecast.waiting_share = 1 - forecast.link_samples_per_second / forecast.samples_per_second;
  }
  return forecast;
}

}  // namespace

std::string Forecast::Text() const {
  const auto rate = [](double per_second) {
    return FormatCount(static_cast<std::uint64_t>(per_second)) + " samples/s";
  };
  char gigabytes[32];
  std::snprintf(gigabytes, sizeof gigabytes, "%.3g GB", static_cast<double>(epoch_bytes) / 1e9);
  std::string text = std::string("an epoch is ") + gigabytes;
  if (link_bytes_per_second <= 0) return text + " on this machine";
  char link[48];
  std::snprintf(link, sizeof link, "%.3g Mbit/s", link_bytes_per_second * 8 / 1e6);
  text += ", " + FormatDuration(epoch_download) + " at the measured " + link + ", enough for " +
          rate(link_samples_per_second);
  if (later_epoch_bytes < epoch_bytes) {
    std::snprintf(gigabytes, sizeof gigabytes, "%.3g GB",
                  static_cast<double>(later_epoch_bytes) / 1e9);
    text += std::string("; later epochs download ") + gigabytes;
  }
  if (samples_per_second <= 0) return text;
  if (waiting_share <= 0) return text + "; training at " + rate(samples_per_second) + " waits not";
  char share[16];
  std::snprintf(share, sizeof share, "%.0f%%", waiting_share * 100);
  return text + "; training at " + rate(samples_per_second) + " would wait " + share +
         " of the time";
}

Status Stream::Next(std::uint64_t sample_count_max, array::SampleBlock* batch) {
  const std::vector<array::ColumnSpec>& specs = columns();
  batch->columns.resize(specs.size());
  batch->ends.resize(specs.size());
  std::vector<Destination> destinations(specs.size());
  for (std::size_t c = 0; c < specs.size(); ++c) {
    if (specs[c].is_array()) {
      batch->ends[c].clear();
      batch->columns[c].resize(sample_count_max * specs[c].sample_bytes());
      destinations[c].rows = batch->columns[c].data();
    } else {
      destinations[c].bytes = &batch->columns[c];
      destinations[c].ends = &batch->ends[c];
    }
  }
  batch->sample_count = 0;
  DNC_ASSIGN(batch->sample_count, Next(sample_count_max, destinations));
  for (std::size_t c = 0; c < specs.size(); ++c) {
    if (specs[c].is_array()) {
      batch->columns[c].resize(batch->sample_count * specs[c].sample_bytes());
    }
  }
  return {};
}

Result<std::unique_ptr<Stream>> Stream::Open(const shard::Manifest* manifest,
                                             const store::ObjectStore* store,
                                             const StreamOptions& options) {
  DNC_ASSIGN(Derived derived, Derive(*manifest, options));
  DNC_ASSIGN(StreamOrder order,
             StreamOrder::Create(manifest, derived.begin, {options.worker, options.workers},
                                 options.epochs));
  auto stream =
      std::make_unique<StreamOfWindows>(manifest, options, std::move(derived), std::move(order));
  DNC_TRY(stream->Start(store));
  return std::unique_ptr<Stream>(std::move(stream));
}

}  // namespace dnc::stream
