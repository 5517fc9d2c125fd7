#include "divide/divide.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>

#include "array/column.h"
#include "base/human.h"
#include "divide/split_writer.h"

namespace dnc::divide {
namespace {

// Where a source does not say how long it is, whole windows of splits are read
// ahead up to this many bytes, to know the length of the last one.
constexpr std::uint64_t kReadAheadBytesMax = 16u << 20;
// A block is at most this part of a shard.
constexpr std::uint64_t kShardBlocksMin = 8;

Status CheckOptions(const DivideOptions& options) {
  DNC_TRY(CheckSplits(options.splits));
  if (options.shard_bytes < kShardBytesMin || options.shard_bytes > kShardBytesMax) {
    return Error{ErrorCode::kInvalidArgument, "shards of " + FormatByteCount(options.shard_bytes) +
                                                  "; expected " + FormatByteCount(kShardBytesMin) +
                                                  " to " + FormatByteCount(kShardBytesMax)};
  }
  if (options.zstd_level < 1 || options.zstd_level > 19) {
    return Error{ErrorCode::kInvalidArgument,
                 "zstd level " + std::to_string(options.zstd_level) + "; expected 1 to 19"};
  }
  if (options.threads < 1) {
    return Error{ErrorCode::kInvalidArgument,
                 std::to_string(options.threads) + " threads; expected at least 1"};
  }
  return {};
}

// Nothing, or the manifest that will be replaced.
Result<std::optional<shard::Manifest>> ExistingManifest(const store::ObjectStore& store,
                                                        bool overwrite) {
  const Result<std::uint64_t> size = store.Size(kManifestKey);
  if (!size.ok()) {
    if (size.error().code == ErrorCode::kNotFound) return std::optional<shard::Manifest>();
    return size.error();
  }
  if (!overwrite) {
    return Error{ErrorCode::kAlreadyExists,
                 store.Describe() + " holds a divided dataset already (" + kManifestKey +
                     "); pass another folder, or --overwrite to replace it"};
  }
  const shard::ManifestLimits limits;
  DNC_ASSIGN(const Bytes text, store::GetObject(store, kManifestKey, limits.bytes_max));
  Result<shard::Manifest> manifest = shard::ParseManifest(AsText(text), kManifestKey);
  // One that cannot be read names no shards that could be deleted for it.
  if (!manifest.ok()) return std::optional<shard::Manifest>();
  return std::optional<shard::Manifest>(std::move(manifest).value());
}

class Divider {
 public:
  Divider(source::SampleSource* source, store::ObjectStore* store, const DivideOptions& options)
      : source_(source),
        options_(options),
        objects_(store),
        assigner_(options.splits, options.seed),
        sample_bytes_(array::SampleBytes(source->columns())) {
    totals_.samples_total = source->sample_count();
  }

  Status Open();
  Status DivideAll(const DivideCallback& progress);
  // Closes the shards and stores the manifest.
  Result<shard::Manifest> Finish();
  const DivideProgress& totals() const { return totals_; }

 private:
  Status Distribute(const array::SampleBlock& block);
  std::uint64_t WindowSamples(std::uint64_t left_in_block) const;
  // Samples of the split of these cumulative fractions, if it can be cut into batches.
  Result<std::uint64_t> CountedSplit(double begin, double end) const;
  Error NoSamples() const;
  Error EmptySplit(const std::string& split) const;
  shard::Manifest MakeManifest() const;

  source::SampleSource* source_;
  const DivideOptions& options_;
  StoredObjects objects_;
  SplitAssigner assigner_;
  std::uint64_t sample_bytes_;
  std::uint64_t chunk_samples_ = 1;
  bool reads_windows_ = false;  // Every chunk is one window of the splits.
  std::uint64_t window_index_ = 0;
  std::uint64_t window_left_ = 0;
  std::uint64_t window_samples_ = 0;
  std::vector<std::unique_ptr<SplitWriter>> writers_;  // One a split.
  DivideProgress totals_;
};

Status Divider::Open() {
  const std::vector<array::ColumnSpec>& columns = source_->columns();
  // Small shards have small blocks, so that they close near their size.
  const std::uint64_t fitting =
      options_.shard_bytes / kShardBlocksMin / std::max<std::uint64_t>(sample_bytes_, 1);
  const auto block_samples = static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(fitting, 1, shard::BlockSamples(columns)));
  chunk_samples_ = block_samples;
  if (options_.splits.size() > 1 && !totals_.samples_total &&
      kSplitWindow * sample_bytes_ <= kReadAheadBytesMax) {
    chunk_samples_ = kSplitWindow;
    reads_windows_ = true;
  }
  double before = 0;  // Sum of the fractions of the splits before.
  for (const SplitFraction& split : options_.splits) {
    if (totals_.samples_total &&
        std::llround(split.fraction * static_cast<double>(*totals_.samples_total)) == 0) {
      return *totals_.samples_total == 0 ? NoSamples() : EmptySplit(split.name);
    }
    SplitWriterOptions writer;
    writer.split = split.name;
    writer.shard_bytes = options_.shard_bytes;
    writer.shard_count = options_.batches;
    if (options_.batches > 0) {
      const double end = &split == &options_.splits.back() ? 1 : before + split.fraction;
      DNC_ASSIGN(writer.split_samples, CountedSplit(before, end));
      before = end;
    }
    writer.shard.block_samples = block_samples;
    writer.shard.zstd_level = options_.zstd_level;
    writer.shard.threads = options_.threads;
    writers_.push_back(std::make_unique<SplitWriter>(columns, writer, &objects_));
  }
  return {};
}

Result<std::uint64_t> Divider::CountedSplit(double begin, double end) const {
  if (!totals_.samples_total) {
    return Error{ErrorCode::kInvalidArgument,
                 "the source (" + source_->Describe() +
                     ") does not say how many samples it has, so it cannot be cut into batches of "
                     "equal size; state the bytes of a shard instead"};
  }
  const auto total = static_cast<double>(*totals_.samples_total);
  const auto samples =
      static_cast<std::uint64_t>(std::llround(end * total) - std::llround(begin * total));
  if (samples >= options_.batches) return samples;
  return Error{ErrorCode::kInvalidArgument, FormatCount(samples) + " samples cannot make " +
                                                FormatCount(options_.batches) +
                                                " batches; ask for fewer"};
}

Status Divider::DivideAll(const DivideCallback& progress) {
  array::SampleBlock block;
  for (;;) {
    if (progress && !progress(totals_)) {
      return Error{ErrorCode::kCancelled, "dividing was stopped; nothing of it was kept"};
    }
    DNC_TRY(source_->Read(chunk_samples_, &block));
    if (block.sample_count == 0) return {};
    DNC_TRY(Distribute(block));
    totals_.samples_done += block.sample_count;
    totals_.bytes_in += block.sample_count * sample_bytes_;
    totals_.bytes_out = 0;
    for (const auto& writer : writers_) totals_.bytes_out += writer->bytes_out();
  }
}

std::uint64_t Divider::WindowSamples(std::uint64_t left_in_block) const {
  if (reads_windows_) return left_in_block;
  if (!totals_.samples_total) return kSplitWindow;
  const std::uint64_t before = window_index_ * kSplitWindow;
  if (before >= *totals_.samples_total) return kSplitWindow;
  return std::min(kSplitWindow, *totals_.samples_total - before);
}

Status Divider::Distribute(const array::SampleBlock& block) {
  if (writers_.size() == 1) return writers_[0]->Add(block, 0, block.sample_count);
  std::uint64_t begin = 0;  // Of the run of samples that go to `split`.
  std::uint32_t split = 0;
  for (std::uint64_t i = 0; i < block.sample_count; ++i) {
    if (window_left_ == 0) {
      window_samples_ = window_left_ = WindowSamples(block.sample_count - i);
      assigner_.BeginWindow(window_samples_);
      ++window_index_;
    }
    const std::uint32_t next = assigner_.Split(window_samples_ - window_left_);
    --window_left_;
    if (next != split) {
      DNC_TRY(writers_[split]->Add(block, begin, i));
      begin = i;
      split = next;
    }
  }
  return writers_[split]->Add(block, begin, block.sample_count);
}

Error Divider::NoSamples() const {
  return {ErrorCode::kInvalidArgument,
          "the source (" + source_->Describe() + ") has no samples; there is nothing to divide"};
}

Error Divider::EmptySplit(const std::string& split) const {
  const std::uint64_t samples = totals_.samples_total.value_or(totals_.samples_done);
  return {ErrorCode::kInvalidArgument, "split \"" + split + "\" would have none of the " +
                                           FormatCount(samples) +
                                           " samples; give it a larger fraction, or leave it out"};
}

shard::Manifest Divider::MakeManifest() const {
  shard::Manifest manifest;
  manifest.name = options_.name;
  manifest.description = options_.description;
  manifest.columns = source_->columns();
  std::string splits;
  for (std::size_t s = 0; s < writers_.size(); ++s) {
    manifest.splits.push_back(writers_[s]->split_info());
    for (const shard::ShardInfo& shard : writers_[s]->shards()) manifest.shards.push_back(shard);
    char fraction[32];
    std::snprintf(fraction, sizeof fraction, "%.12g", options_.splits[s].fraction);
    splits += (splits.empty() ? "" : ",") + options_.splits[s].name + "=" + fraction;
  }
  manifest.parameters = {{"source", source_->Describe()},
                         {"seed", std::to_string(options_.seed)},
                         {"splits", splits},
                         {"shard_bytes", std::to_string(options_.shard_bytes)},
                         {"zstd_level", std::to_string(options_.zstd_level)}};
  if (options_.batches > 0) manifest.parameters["batches"] = std::to_string(options_.batches);
  if (!source_->skipped().empty()) {
    manifest.parameters["skipped"] = std::to_string(source_->skipped().size());
  }
  for (const auto& [key, value] : options_.parameters) manifest.parameters[key] = value;
  return manifest;
}

Result<shard::Manifest> Divider::Finish() {
  if (totals_.samples_done == 0) return NoSamples();
  for (const auto& writer : writers_) {
    if (writer->samples() == 0) return EmptySplit(writer->split_info().name);
    DNC_TRY(writer->Finish());
  }
  totals_.bytes_out = 0;
  for (const auto& writer : writers_) totals_.bytes_out += writer->bytes_out();
  shard::Manifest manifest = MakeManifest();
  const std::string text = shard::FormatManifest(manifest);
  DNC_ASSIGN(const auto object, objects_.store()->Create());
  DNC_TRY(object->Write(AsBytes(text)));
  DNC_TRY(objects_.Commit(object.get(), kManifestKey));
  objects_.Keep();
  return manifest;
}

// Deletes the shards that only `before` names. Returns how many.
std::uint64_t DeleteReplaced(const shard::Manifest& before, const shard::Manifest& now,
                             store::ObjectStore* store) {
  std::set<std::string> kept;
  for (const shard::ShardInfo& shard : now.shards) kept.insert(shard.cid);
  std::uint64_t deleted = 0;
  for (const shard::ShardInfo& shard : before.shards) {
    // What cannot be deleted is left behind; the new dataset is whole without it.
    if (kept.insert(shard.cid).second && store->Delete(shard.cid).ok()) ++deleted;
  }
  return deleted;
}

}  // namespace

Result<DivideReport> Divide(source::SampleSource* source, store::ObjectStore* store,
                            const DivideOptions& options, const DivideCallback& progress) {
  const Instant begin = MonotonicNow();
  DNC_TRY(CheckOptions(options));
  DNC_ASSIGN(const std::optional<shard::Manifest> before,
             ExistingManifest(*store, options.overwrite));
  DivideReport report;
  {
    Divider divider(source, store, options);
    DNC_TRY(divider.Open());
    DNC_TRY(divider.DivideAll(progress));
    DNC_ASSIGN(report.manifest, divider.Finish());
    report.totals = divider.totals();
  }
  if (before) report.replaced_shards = DeleteReplaced(*before, report.manifest, store);
  report.skipped = source->skipped();
  report.elapsed = MonotonicNow() - begin;
  return report;
}

}  // namespace dnc::divide
