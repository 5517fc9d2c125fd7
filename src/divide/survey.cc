#include "divide/survey.h"

#include <algorithm>
#include <cstring>

#include "base/random_access_source.h"
#include "base/time.h"
#include "divide/checked_object.h"
#include "shard/shard_reader.h"

namespace dnc::divide {
namespace {

// Of the shard that is measured: its beginning, with at least one block.
constexpr std::uint64_t kMeasuredBytes = 8u << 20;
constexpr std::uint64_t kTooFewBytes = 64u << 10;  // To say a speed.
constexpr int kMeasuredRuns = 3;

// The beginning of a shard in memory, so that it is decoding that is measured.
class LoadedSource final : public RandomAccessSource {
 public:
  static Result<LoadedSource> Load(const RandomAccessSource* source, std::uint64_t bytes) {
    LoadedSource loaded(source);
    loaded.bytes_.resize(std::min(bytes, source->size()));
    DNC_TRY(source->ReadAt(0, loaded.bytes_));
    return loaded;
  }

  std::uint64_t size() const override { return source_->size(); }
  const std::string& name() const override { return source_->name(); }
  Status ReadAt(std::uint64_t offset, std::span<std::byte> out) const override {
    if (offset > bytes_.size() || out.size() > bytes_.size() - offset) {
      return source_->ReadAt(offset, out);
    }
    std::memcpy(out.data(), bytes_.data() + offset, out.size());
    return {};
  }

 private:
  explicit LoadedSource(const RandomAccessSource* source) : source_(source) {}

  const RandomAccessSource* source_;
  Bytes bytes_;
};

// The best of a few runs, since the first one brings memory and caches along.
Result<double> MeasuredSpeed(const shard::ShardReader& reader, std::uint32_t blocks,
                             std::size_t column) {
  shard::BlockDecoder decoder;
  array::SampleBlock block;
  Duration best = Duration::Seconds(3600);
  std::uint64_t bytes = 0;
  for (int run = 0; run < kMeasuredRuns; ++run) {
    bytes = 0;
    const Instant begin = MonotonicNow();
    for (std::uint32_t b = 0; b < blocks; ++b) {
      DNC_TRY(decoder.DecodeColumn(reader, b, column, &block));
      bytes += reader.chunk(b, column).raw_bytes;
    }
    best = std::min(best, MonotonicNow() - begin);
  }
  if (bytes < kTooFewBytes || best <= Duration()) return 0.0;
  return static_cast<double>(bytes) / best.seconds();
}

Status MeasureSpeeds(const CheckedObject& object, StorageSurvey* survey) {
  DNC_ASSIGN(const shard::ShardReader whole, shard::ShardReader::Open(&object));
  if (whole.summary().block_count == 0) return {};
  std::uint64_t bytes = whole.extent(0).offset + whole.extent(0).bytes;
  std::uint32_t blocks = 1;
  while (blocks < whole.summary().block_count && bytes < kMeasuredBytes) {
    bytes = whole.extent(blocks).offset + whole.extent(blocks).bytes;
    ++blocks;
  }
  DNC_ASSIGN(const LoadedSource loaded, LoadedSource::Load(&object, bytes));
  DNC_ASSIGN(const shard::ShardReader reader, shard::ShardReader::Open(&loaded));
  for (std::size_t c = 0; c < survey->columns.size(); ++c) {
    DNC_ASSIGN(survey->columns[c].decoded_bytes_per_second, MeasuredSpeed(reader, blocks, c));
  }
  return {};
}

}  // namespace

Result<StorageSurvey> SurveyStorage(const shard::Manifest& manifest,
                                    const store::ObjectStore& store, std::size_t shards_max) {
  StorageSurvey survey;
  survey.columns.resize(manifest.columns.size());
  const std::size_t count = std::min(shards_max, manifest.shards.size());
  for (std::size_t i = 0; i < count; ++i) {
    const shard::ShardInfo& info = manifest.shards[i * manifest.shards.size() / count];
    const CheckedObject object(&store, &info);
    DNC_ASSIGN(const shard::ShardReader reader, shard::ShardReader::Open(&object));
    if (reader.summary().columns.size() != survey.columns.size()) {
      return Error{ErrorCode::kCorrupt,
                   "shard " + info.cid + " has other columns than its manifest"};
    }
    for (std::size_t c = 0; c < survey.columns.size(); ++c) {
      ColumnSurvey& column = survey.columns[c];
      for (std::uint32_t b = 0; b < reader.summary().block_count; ++b) {
        const shard::ChunkSummary chunk = reader.chunk(b, c);
        ++column.methods[std::string(chunk.filter) + ", " + chunk.codec];
        column.raw_bytes += chunk.raw_bytes;
        column.stored_bytes += chunk.stored_bytes;
      }
    }
    if (i == 0) DNC_TRY(MeasureSpeeds(object, &survey));
    ++survey.shards;
  }
  return survey;
}

}  // namespace dnc::divide
