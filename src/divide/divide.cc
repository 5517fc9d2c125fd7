#include "divide/divide.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>

#include "array/column.h"
#include "array/samples.h"
#include "base/human.h"
#include "divide/split_writer.h"

namespace dnc::divide {
namespace {

// Where a source does not say how long it is, whole windows of splits are read
// ahead up to this many bytes, to know the length of the last one.
constexpr std::uint64_t kReadAheadBytesMax = 16u << 20;
// Samples of a size each are asked for in as many as probably have this many bytes.
constexpr std::uint64_t kVaryingReadBytes = 512u << 10;
constexpr std::uint64_t kVaryingReadSamplesMax = 64;

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

// What the store held before the run.
struct Before {
  std::optional<Bytes> manifest_text;
  std::optional<shard::Manifest> manifest;  // Unless it cannot be read.
};

Result<Before> ExistingManifest(const store::ObjectStore& store, const std::string& key) {
  Before before;
  Result<Bytes> text = store::GetObject(store, key, shard::ManifestLimits().bytes_max);
  if (!text.ok()) {
    if (text.error().code == ErrorCode::kNotFound) return before;
    return text.error();
  }
  Result<shard::Manifest> manifest = shard::ParseManifest(AsText(*text), key);
  // One that cannot be read names no shards that could be deleted for it.
  if (manifest.ok()) before.manifest = std::move(manifest).value();
  before.manifest_text = std::move(text).value();
  return before;
}

std::set<std::string> ShardsOf(const std::optional<shard::Manifest>& manifest) {
  std::set<std::string> cids;
  if (!manifest) return cids;
  for (const shard::ShardInfo& shard : manifest->shards) cids.insert(shard.cid);
  return cids;
}

class Divider {
 public:
  Divider(source::SampleSource* source, store::ObjectStore* store, const DivideOptions& options)
      : source_(source),
        options_(options),
        store_(store),
        journal_(store, options.journal_name),
        objects_(store, &journal_, options.read_back),
        fixed_(array::AllArrays(source->columns())) {
    totals_.samples_total = source->sample_count();
  }

  // All of it. After an error, makes the store what it was, or keeps what is finished.
  Result<shard::Manifest> Run(const DivideCallback& progress);
  const DivideProgress& totals() const { return totals_; }
  std::uint64_t replaced_shards() const { return replaced_shards_; }

 private:
  Status Prepare();
  Status OpenJournal(JournalContent found);
  Status Discard(const JournalContent& found);
  Status OpenWriters();
  Status DivideAll(const DivideCallback& progress);
  void CountBlock(const array::SampleBlock& block);
  Result<shard::Manifest> Finish();
  Status StoreManifest(const shard::Manifest& manifest);
  Error AfterFailure(const Error& error);
  Digest RunDigest() const;
  // Samples of the split of these cumulative fractions, if it can be cut into batches.
  Result<std::uint64_t> CountedSplit(double begin, double end) const;
  Error NoSamples() const;
  Error EmptySplit(const std::string& split) const;
  shard::Manifest MakeManifest() const;

  source::SampleSource* source_;
  const DivideOptions& options_;
  store::ObjectStore* store_;
  Journal journal_;
  StoredObjects objects_;
  const bool fixed_;  // Samples have one size.
  Before before_;
  bool goes_on_ = false;  // From a journal.
  std::unique_ptr<SplitRouter> router_;
  std::uint64_t chunk_samples_ = 1;
  std::vector<std::unique_ptr<SplitWriter>> writers_;  // One a split.
  DivideProgress totals_;
  std::uint64_t replaced_shards_ = 0;
};

// Of all that the result depends on but the samples themselves.
Digest Divider::RunDigest() const {
  shard::Manifest skeleton = MakeManifest();
  skeleton.splits.clear();
  skeleton.shards.clear();
  skeleton.parameters.erase("skipped");
  std::string text = shard::FormatManifest(skeleton);
  text += std::string(DNC_VERSION) + "\n" + options_.manifest_key + "\n" +
          std::to_string(options_.first_split_window);
  return Sha256(AsBytes(text));
}

Status Divider::Prepare() {
  DNC_TRY(CheckOptions(options_));
  DNC_ASSIGN(before_, ExistingManifest(*store_, options_.manifest_key));
  Result<std::optional<JournalContent>> found = journal_.Read();
  if (!found.ok()) {
    if (!options_.overwrite || found.error().code != ErrorCode::kCorrupt) return found.error();
    found = std::optional<JournalContent>();
  }
  const Digest run = RunDigest();
  const bool same_run = found->has_value() && (*found)->run == run;
  // Killed after its manifest was stored: what is left is to clean up.
  const bool was_complete = same_run && (*found)->manifest && before_.manifest_text &&
                            Sha256(*before_.manifest_text) == *(*found)->manifest;
  if (before_.manifest_text && !options_.overwrite && !was_complete) {
    return Error{ErrorCode::kAlreadyExists,
                 store_->Describe() + " holds a divided dataset already (" + options_.manifest_key +
                     "); pass another folder, or --overwrite to replace it"};
  }
  DNC_TRY(OpenWriters());
  JournalContent content;
  content.run = run;
  content.command = options_.command;
  if (same_run) return OpenJournal(std::move(**found));
  if (found->has_value()) DNC_TRY(Discard(**found));
  journal_.Begin(content);
  return {};
}

// Goes on from what the same run has finished.
Status Divider::OpenJournal(JournalContent found) {
  goes_on_ = true;
  if (before_.manifest_text && found.manifest &&
      Sha256(*before_.manifest_text) == *found.manifest) {
    // The manifest is this run's own; what it replaced is in the journal.
    shard::Manifest replaced;
    for (const std::string& cid : found.replaced) replaced.shards.push_back({.cid = cid});
    before_.manifest = std::move(replaced);
  }
  journal_.Begin(found);
  for (FinishedShard& shard : found.shards) {
    const Result<std::uint64_t> size = store_->Size(shard.info.cid);
    if (!size.ok() && size.error().code != ErrorCode::kNotFound) return size.error();
    const bool present = size.ok() && *size == shard.info.bytes;
    for (std::size_t s = 0; s < writers_.size(); ++s) {
      if (options_.splits[s].name != shard.info.split) continue;
      totals_.shards_kept += present ? 1 : 0;
      writers_[s]->AddFinished(std::move(shard), present);
      break;
    }
  }
  return {};
}

// Removes what another run has not finished.
Status Divider::Discard(const JournalContent& found) {
  if (!options_.overwrite && !found.shards.empty()) {
    return Error{ErrorCode::kAlreadyExists,
                 store_->Describe() + " holds " + std::to_string(found.shards.size()) +
                     " finished shards of another run that was interrupted" +
                     (found.command.empty() ? "" : ": " + found.command) +
                     "; run that again to finish it, pass --overwrite to begin anew, or divide "
                     "to another place"};
  }
  std::set<std::string> kept = ShardsOf(before_.manifest);
  for (const FinishedShard& shard : found.shards) {
    if (kept.insert(shard.info.cid).second) {
      static_cast<void>(store_->Delete(shard.info.cid).ok());  // It may not have been stored.
    }
  }
  return journal_.Remove();
}

Status Divider::OpenWriters() {
  const std::vector<array::ColumnSpec>& columns = source_->columns();
  SplitRouter::Options routes;
  routes.splits = options_.splits;
  routes.seed = options_.seed;
  routes.first_window = options_.first_split_window;
  routes.samples_total = totals_.samples_total;
  if (fixed_) {
    chunk_samples_ = FixedBlockSamples(columns, options_.shard_bytes);
    if (options_.splits.size() > 1 && !totals_.samples_total &&
        kSplitWindow * array::SampleBytes(columns) <= kReadAheadBytesMax) {
      chunk_samples_ = kSplitWindow;
      routes.blocks_are_windows = true;
    }
  }
  router_ = std::make_unique<SplitRouter>(routes);
  double before = 0;  // Sum of the fractions of the splits before.
  for (const SplitFraction& split : options_.splits) {
    if (totals_.samples_total && options_.first_split_window == 0 &&
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
    writer.shard.compression = options_.compression;
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

void Divider::CountBlock(const array::SampleBlock& block) {
  const std::vector<array::ColumnSpec>& columns = source_->columns();
  totals_.samples_done += block.sample_count;
  for (const Bytes& column : block.columns) totals_.bytes_in += column.size();
  totals_.bytes_out = 0;
  for (const auto& writer : writers_) totals_.bytes_out += writer->bytes_out();
  totals_.source = source_->bytes();
  if (fixed_) return;
  std::uint64_t largest = 1;
  for (std::uint64_t i = 0; i < block.sample_count; ++i) {
    largest = std::max(largest, array::StoredSampleBytes(columns, block, i));
  }
  chunk_samples_ = std::clamp<std::uint64_t>(kVaryingReadBytes / largest, 1,
                                             std::min(kVaryingReadSamplesMax, 4 * chunk_samples_));
}

Status Divider::DivideAll(const DivideCallback& progress) {
  array::SampleBlock block;
  for (;;) {
    if (progress && !progress(totals_)) {
      return Error{ErrorCode::kCancelled, "dividing was stopped"};
    }
    DNC_TRY(source_->Read(chunk_samples_, &block));
    if (block.sample_count == 0) return {};
    DNC_TRY(router_->Route(block.sample_count,
                           [&](std::uint32_t split, std::uint64_t begin, std::uint64_t end) {
                             return writers_[split]->Add(block, begin, end);
                           }));
    CountBlock(block);
  }
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
  manifest.steps = options_.steps;
  std::string splits;
  for (const SplitFraction& split : options_.splits) {
    char fraction[32];
    std::snprintf(fraction, sizeof fraction, "%.12g", split.fraction);
    splits += (splits.empty() ? "" : ",") + split.name + "=" + fraction;
  }
  for (const auto& writer : writers_) {
    manifest.splits.push_back(writer->split_info());
    for (const shard::ShardInfo& shard : writer->shards()) manifest.shards.push_back(shard);
  }
  manifest.parameters = {{"source", source_->Describe()},
                         {"seed", std::to_string(options_.seed)},
                         {"splits", splits},
                         {"shard_bytes", std::to_string(options_.shard_bytes)},
                         {"compression", shard::CompressionName(options_.compression)},
                         {"zstd_level", std::to_string(options_.zstd_level)}};
  if (options_.batches > 0) manifest.parameters["batches"] = std::to_string(options_.batches);
  for (const auto& [key, value] : source_->parameters()) manifest.parameters[key] = value;
  if (!source_->skipped().empty()) {
    manifest.parameters["skipped"] = std::to_string(source_->skipped().size());
  }
  for (const auto& [key, value] : source_->parameters()) manifest.parameters[key] = value;
  for (const auto& [key, value] : options_.parameters) manifest.parameters[key] = value;
  return manifest;
}

Status Divider::StoreManifest(const shard::Manifest& manifest) {
  const std::string text = shard::FormatManifest(manifest);
  const std::set<std::string> now = ShardsOf(manifest);
  std::vector<std::string> replaced;
  for (const std::string& cid : ShardsOf(before_.manifest)) {
    if (!now.contains(cid)) replaced.push_back(cid);
  }
  DNC_TRY(journal_.RecordEnd(Sha256(AsBytes(text)), replaced));
  DNC_ASSIGN(const auto object, store_->Create());
  DNC_TRY(object->Write(AsBytes(text)));
  DNC_TRY(objects_.Commit(object.get(), options_.manifest_key));
  objects_.Keep();
  for (const std::string& cid : replaced) {
    // What cannot be deleted is left behind; the new dataset is whole without it.
    if (store_->Delete(cid).ok()) ++replaced_shards_;
  }
  static_cast<void>(journal_.Remove().ok());
  return {};
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
  DNC_TRY(StoreManifest(manifest));
  return manifest;
}

Error Divider::AfterFailure(const Error& error) {
  std::size_t finished = 0;
  for (const auto& writer : writers_) finished += writer->shards().size();
  const bool stopped = error.code == ErrorCode::kCancelled;
  if (finished > 0 && (stopped || error.code == ErrorCode::kUnavailable)) {
    objects_.Keep();
    return {error.code, error.message + "; " + std::to_string(finished) +
                            (finished == 1 ? " finished shard is" : " finished shards are") +
                            " kept: run the same command again to go on"};
  }
  if (goes_on_) {
    objects_.Keep();
    return error;
  }
  if (stopped) return {error.code, error.message + "; nothing of it was kept"};
  return error;
}

Result<shard::Manifest> Divider::Run(const DivideCallback& progress) {
  if (Status status = Prepare(); !status.ok()) {
    objects_.Keep();  // What is there is not of this run.
    return status.error();
  }
  if (Status status = DivideAll(progress); !status.ok()) return AfterFailure(status.error());
  Result<shard::Manifest> manifest = Finish();
  if (!manifest.ok()) return AfterFailure(manifest.error());
  return manifest;
}

}  // namespace

Result<DivideReport> Divide(source::SampleSource* source, store::ObjectStore* store,
                            const DivideOptions& options, const DivideCallback& progress) {
  const Instant begin = MonotonicNow();
  DivideReport report;
  Divider divider(source, store, options);
  DNC_ASSIGN(report.manifest, divider.Run(progress));
  report.totals = divider.totals();
  report.replaced_shards = divider.replaced_shards();
  report.skipped = source->skipped();
  report.elapsed = MonotonicNow() - begin;
  return report;
}

}  // namespace dnc::divide
