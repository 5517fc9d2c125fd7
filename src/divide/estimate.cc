#include "divide/estimate.h"

#include <algorithm>
#include <cmath>

#include "array/samples.h"
#include "divide/split_writer.h"
#include "shard/shard_writer.h"
#include "source/wrapped_source.h"

namespace dnc::divide {
namespace {

constexpr std::uint64_t kMeasuredBytes = 4u << 20;
constexpr std::uint64_t kSlowBytes = 1u << 20;
constexpr std::uint64_t kPeekSamplesMax = 1u << 16;

class PeekingSource final : public PeekSource {
 public:
  explicit PeekingSource(std::unique_ptr<source::SampleSource> inner) : inner_(std::move(inner)) {
    array::ClearSamples(inner_->columns(), &peeked_);
  }

  Result<const array::SampleBlock*> Peek(std::uint64_t bytes_max) override {
    const std::vector<array::ColumnSpec>& specs = columns();
    std::uint64_t step = 1;
    while (array::StoredBlockBytes(specs, peeked_) < bytes_max &&
           peeked_.sample_count < kPeekSamplesMax) {
      DNC_TRY(inner_->Read(step, &scratch_));
      if (scratch_.sample_count == 0) {
        ended_ = true;
        break;
      }
      array::AppendSamples(specs, scratch_, 0, scratch_.sample_count, &peeked_);
      // As many as seem to be missing, but few where the sizes of samples may grow.
      const std::uint64_t bytes = array::StoredBlockBytes(specs, peeked_);
      const std::uint64_t each = std::max<std::uint64_t>(bytes / peeked_.sample_count, 1);
      const std::uint64_t missing = bytes < bytes_max ? (bytes_max - bytes) / each : 0;
      step = std::clamp<std::uint64_t>(missing, 1, array::AllArrays(specs) ? 4096 : 16);
    }
    return &peeked_;
  }
  bool ended() const override { return ended_; }

  Status Read(std::uint64_t sample_count_max, array::SampleBlock* block) override {
    if (given_ == peeked_.sample_count) {
      if (peeked_.sample_count > 0) {  // Free its memory.
        peeked_ = {};
        scratch_ = {};
        given_ = 0;
      }
      return inner_->Read(sample_count_max, block);
    }
    const std::vector<array::ColumnSpec>& specs = columns();
    const std::uint64_t count = std::min(sample_count_max, peeked_.sample_count - given_);
    array::ClearSamples(specs, block);
    array::AppendSamples(specs, peeked_, given_, given_ + count, block);
    given_ += count;
    if (count < sample_count_max && !ended_) {
      DNC_TRY(inner_->Read(sample_count_max - count, &scratch_));
      array::AppendSamples(specs, scratch_, 0, scratch_.sample_count, block);
    }
    return {};
  }

  const std::vector<array::ColumnSpec>& columns() const override { return inner_->columns(); }
  std::optional<std::uint64_t> sample_count() const override { return inner_->sample_count(); }
  std::string Describe() const override { return inner_->Describe(); }
  source::SourceBytes bytes() const override { return inner_->bytes(); }
  std::map<std::string, std::string> parameters() const override { return inner_->parameters(); }
  const std::vector<source::SkippedInput>& skipped() const override { return inner_->skipped(); }

 private:
  std::unique_ptr<source::SampleSource> inner_;
  array::SampleBlock peeked_;
  array::SampleBlock scratch_;
  std::uint64_t given_ = 0;  // Of peeked_.
  bool ended_ = false;
};

// Compressed bytes of the samples, as one shard.
Result<std::uint64_t> CompressedBytes(const std::vector<array::ColumnSpec>& columns,
                                      const array::SampleBlock& samples,
                                      const DivideOptions& options) {
  std::uint64_t bytes = 0;
  shard::ShardWriterOptions writer_options;
  writer_options.compression = options.compression;
  writer_options.zstd_level = options.zstd_level;
  const std::uint64_t each =
      std::max<std::uint64_t>(array::StoredBlockBytes(columns, samples) / samples.sample_count, 1);
  writer_options.block_samples = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(
      std::min<std::uint64_t>(options.shard_bytes / 8, 1u << 20) / each, 1, 1u << 20));
  shard::ShardWriter writer(columns, writer_options, [&bytes](ByteSpan written) -> Status {
    bytes += written.size();
    return {};
  });
  array::SampleBlock block;
  for (std::uint64_t begin = 0; begin < samples.sample_count;) {
    const std::uint64_t end =
        std::min<std::uint64_t>(samples.sample_count, begin + writer_options.block_samples);
    array::ClearSamples(columns, &block);
    array::AppendSamples(columns, samples, begin, end, &block);
    DNC_TRY(writer.Append(block));
    begin = end;
  }
  DNC_TRY(writer.Finish());
  return bytes;
}

// Samples of the whole source, as far as that can be known.
std::optional<double> SampleTotal(const PeekSource& source, const array::SampleBlock& samples) {
  if (source.ended()) return static_cast<double>(samples.sample_count);
  if (source.sample_count()) return static_cast<double>(*source.sample_count());
  const source::SourceBytes bytes = source.bytes();
  if (!bytes.total || bytes.done == 0 || bytes.done > *bytes.total) return std::nullopt;
  return static_cast<double>(samples.sample_count) * static_cast<double>(*bytes.total) /
         static_cast<double>(bytes.done);
}

}  // namespace

std::unique_ptr<PeekSource> MakePeekSource(std::unique_ptr<source::SampleSource> inner) {
  return std::make_unique<PeekingSource>(std::move(inner));
}

Result<Estimate> EstimateDividing(PeekSource* source, const DivideOptions& options) {
  const Instant begin = MonotonicNow();
  const bool slow = options.compression == shard::Compression::kSmallest;
  DNC_ASSIGN(const array::SampleBlock* samples, source->Peek(slow ? kSlowBytes : kMeasuredBytes));
  const Instant middle = MonotonicNow();
  Estimate estimate;
  estimate.measured_samples = samples->sample_count;
  if (samples->sample_count == 0) {
    estimate.samples = estimate.raw_bytes = estimate.stored_bytes = estimate.shards = 0;
    estimate.duration = Duration();
    return estimate;
  }
  for (const Bytes& column : samples->columns) estimate.measured_bytes += column.size();
  const auto compressed = CompressedBytes(source->columns(), *samples, options);
  if (!compressed.ok() && compressed.error().code == ErrorCode::kTooLarge) return estimate;
  DNC_ASSIGN(const std::uint64_t stored, compressed);
  const Duration compressing = MonotonicNow() - middle;
  estimate.ratio = static_cast<double>(stored) /
                   static_cast<double>(std::max<std::uint64_t>(estimate.measured_bytes, 1));
  const std::optional<double> total = SampleTotal(*source, *samples);
  estimate.exact = source->ended();
  if (!total) return estimate;
  const double scale = *total / static_cast<double>(samples->sample_count);
  const auto scaled = [scale](double value) {
    return static_cast<std::uint64_t>(std::llround(value * scale));
  };
  estimate.samples = scaled(static_cast<double>(samples->sample_count));
  estimate.raw_bytes = scaled(static_cast<double>(estimate.measured_bytes));
  estimate.stored_bytes = scaled(static_cast<double>(stored));
  estimate.shards = options.batches > 0
                        ? options.batches * options.splits.size()
                        : std::max<std::uint64_t>(*estimate.stored_bytes / options.shard_bytes,
                                                  options.splits.size());
  // Reading and compressing overlap.
  const double reading_us = static_cast<double>((middle - begin).us);
  const double compressing_us = static_cast<double>(compressing.us) / options.threads;
  estimate.duration = Duration::Microseconds(
      static_cast<std::int64_t>(scale * (options.threads > 1 ? std::max(reading_us, compressing_us)
                                                             : reading_us + compressing_us)));
  return estimate;
}

}  // namespace dnc::divide
