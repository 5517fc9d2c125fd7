#include "divide/split_writer.h"

#include <algorithm>
#include <utility>

#include "array/samples.h"
#include "base/assert.h"
#include "base/human.h"
#include "divide/divide.h"

namespace dnc::divide {
namespace {

// A block is at most this part of a shard.
constexpr std::uint64_t kShardBlocksMin = 8;
constexpr std::uint64_t kBlockBytes = 1u << 20;
// Where samples have a size each, a shard's blocks have the number of samples that its
// first block needed. When that number makes blocks this much larger than they should
// be, or many that are this much smaller, the shard is closed and the next one counts
// anew.
constexpr std::uint64_t kLargeBlock = 4;
constexpr std::uint64_t kSmallBlock = 8;
constexpr int kSmallBlocksMax = 8;
constexpr std::uint64_t kVaryingBlockSamplesMax = 1u << 16;

std::uint64_t BlockBytes(std::uint64_t shard_bytes) {
  return std::clamp<std::uint64_t>(shard_bytes / kShardBlocksMin, 1, kBlockBytes);
}

}  // namespace

std::uint32_t FixedBlockSamples(const std::vector<array::ColumnSpec>& columns,
                                std::uint64_t shard_bytes) {
  const std::uint64_t sample_bytes = std::max<std::uint64_t>(array::SampleBytes(columns), 1);
  const std::uint64_t fitting = shard_bytes / kShardBlocksMin / sample_bytes;
  return static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(fitting, 1, shard::BlockSamples(columns)));
}

SplitWriter::SplitWriter(const std::vector<array::ColumnSpec>& columns,
                         const SplitWriterOptions& options, StoredObjects* objects)
    : columns_(columns),
      options_(options),
      objects_(objects),
      fixed_(array::AllArrays(columns)),
      block_bytes_(BlockBytes(options.shard_bytes)),
      statistics_(columns),
      digest_(columns) {
  array::ClearSamples(columns_, &pending_);
  if (!fixed_) return;
  fixed_block_samples_ = FixedBlockSamples(columns, options.shard_bytes);
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    pending_.columns[c].reserve(fixed_block_samples_ * columns_[c].sample_bytes());
  }
}

void SplitWriter::AddFinished(FinishedShard shard, bool present) {
  DNC_ASSERT(samples_ == 0);
  finished_.push_back({std::move(shard), present});
}

const SplitWriter::Finished* SplitWriter::Passing() const {
  if (open_ != nullptr || pending_.sample_count > 0 || shards_.size() >= finished_.size()) {
    return nullptr;
  }
  const Finished& next = finished_[shards_.size()];
  return next.present ? &next : nullptr;
}

Status SplitWriter::Add(const array::SampleBlock& block, std::uint64_t begin, std::uint64_t end) {
  DNC_ASSERT(begin <= end && end <= block.sample_count);
  if (begin == end) return {};
  if (ended_) return SourceChanged();
  samples_ += end - begin;
  while (begin < end) {
    if (Passing() != nullptr) {
      DNC_TRY(Pass(block, &begin, end));
    } else if (fixed_) {
      DNC_TRY(AddFixed(block, &begin, end));
    } else {
      DNC_TRY(AddVarying(block, &begin, end));
    }
    DNC_TRY(CloseIfCounted());
  }
  return {};
}

std::uint64_t SplitWriter::ShardSamplesLeft() const {
  if (options_.shard_count == 0) return UINT64_MAX;
  // Shard k of n holds the samples from S k / n on, rounded down.
  const std::uint64_t closed = shards_.size();
  const std::uint64_t each = options_.split_samples / options_.shard_count;
  const std::uint64_t rest = options_.split_samples % options_.shard_count;
  const std::uint64_t end = each * (closed + 1) + rest * (closed + 1) / options_.shard_count;
  return end - written_samples_ - pending_.sample_count;
}

Status SplitWriter::CloseIfCounted() {
  if (Passing() != nullptr || ShardSamplesLeft() > 0) return {};
  if (pending_.sample_count > 0) DNC_TRY(WritePending());
  return open_ != nullptr ? Close() : Status();
}

Status SplitWriter::Pass(const array::SampleBlock& block, std::uint64_t* begin, std::uint64_t end) {
  const FinishedShard& shard = Passing()->shard;
  const std::uint64_t count = std::min(end - *begin, shard.info.samples - passed_);
  if (count == block.sample_count) {
    statistics_.Add(block);
    digest_.Add(block);
  } else {
    array::ClearSamples(columns_, &slice_);
    array::AppendSamples(columns_, block, *begin, *begin + count, &slice_);
    statistics_.Add(slice_);
    digest_.Add(slice_);
  }
  *begin += count;
  passed_ += count;
  if (passed_ < shard.info.samples) return {};
  passed_ = 0;
  if (digest_.Finish() != shard.raw_digest) return SourceChanged();
  closed_bytes_ += shard.info.bytes;
  written_samples_ += shard.info.samples;
  ended_ = shard.last;
  shards_.push_back(shard.info);
  if (ended_ && *begin < end) return SourceChanged();
  return {};
}

Status SplitWriter::AddFixed(const array::SampleBlock& block, std::uint64_t* begin,
                             std::uint64_t end) {
  const std::uint64_t count =
      std::min({end - *begin, fixed_block_samples_ - pending_.sample_count, ShardSamplesLeft()});
  if (count == fixed_block_samples_ && count == block.sample_count) {
    *begin += count;
    if (open_ == nullptr) DNC_TRY(OpenNext(fixed_block_samples_));
    return WriteBlock(block);
  }
  array::AppendSamples(columns_, block, *begin, *begin + count, &pending_);
  *begin += count;
  return pending_.sample_count == fixed_block_samples_ ? WritePending() : Status();
}

Status SplitWriter::AddVarying(const array::SampleBlock& block, std::uint64_t* begin,
                               std::uint64_t end) {
  // As long as no shard closes, so that Passing() stays as it is.
  const std::size_t shards = shards_.size();
  while (*begin < end && shards_.size() == shards && ShardSamplesLeft() > 0) {
    const std::uint64_t bytes = array::StoredSampleBytes(columns_, block, *begin);
    if (bytes > shard::kBlockBytesMax) return TooLarge(bytes);
    if (pending_.sample_count > 0 && options_.shard_count == 0 &&
        pending_bytes_ + bytes > kLargeBlock * block_bytes_) {
      const bool closes = open_ != nullptr;
      DNC_TRY(WritePending());
      if (closes && open_ != nullptr) DNC_TRY(Close());
      continue;
    }
    array::AppendSamples(columns_, block, *begin, *begin + 1, &pending_);
    pending_bytes_ += bytes;
    ++*begin;
    const bool full = open_ != nullptr ? pending_.sample_count == open_->block_samples
                                       : pending_bytes_ >= block_bytes_ ||
                                             pending_.sample_count == kVaryingBlockSamplesMax;
    if (full) DNC_TRY(WritePending());
  }
  return {};
}

Status SplitWriter::WritePending() {
  if (open_ == nullptr) {
    DNC_TRY(OpenNext(fixed_ ? fixed_block_samples_
                            : static_cast<std::uint32_t>(pending_.sample_count)));
  }
  DNC_TRY(WriteBlock(pending_));
  array::ClearSamples(columns_, &pending_);
  pending_bytes_ = 0;
  return {};
}

Status SplitWriter::WriteBlock(const array::SampleBlock& block) {
  statistics_.Add(block);
  digest_.Add(block);
  const std::uint64_t bytes = array::StoredBlockBytes(columns_, block);
  DNC_TRY(open_->writer->Append(block));
  ++open_->blocks;
  written_samples_ += block.sample_count;
  if (options_.shard_count > 0) {
    if (open_->writer->bytes_written() <= kShardBytesMax) return {};
    return Error{ErrorCode::kTooLarge, "a batch of split \"" + options_.split +
                                           "\" has more than " + FormatByteCount(kShardBytesMax) +
                                           "; divide it into more batches than " +
                                           FormatCount(options_.shard_count)};
  }
  open_->small_blocks = bytes < block_bytes_ / kSmallBlock ? open_->small_blocks + 1 : 0;
  const bool too_small = !fixed_ && open_->block_samples < kVaryingBlockSamplesMax &&
                         open_->small_blocks >= kSmallBlocksMax;
  if (too_small ||
      std::max(open_->writer->bytes_written(), ExpectedBytes()) >= options_.shard_bytes) {
    return Close();
  }
  return {};
}

std::uint64_t SplitWriter::ExpectedBytes() const {
  // Blocks that the writer holds back. That is the same for any number of threads,
  // so that shards are cut at the same samples everywhere.
  constexpr std::uint64_t kHeldBack = 4;
  if (open_->blocks <= kHeldBack) return 0;
  return open_->writer->bytes_written() / (open_->blocks - kHeldBack) * open_->blocks;
}

Status SplitWriter::OpenNext(std::uint32_t block_samples) {
  auto open = std::make_unique<OpenShard>();
  DNC_ASSIGN(open->object, objects_->store()->Create());
  OpenShard* shard = open.get();
  open->block_samples = block_samples;
  shard::ShardWriterOptions writer_options = options_.shard;
  writer_options.block_samples = block_samples;
  open->writer = std::make_unique<shard::ShardWriter>(columns_, writer_options,
                                                      [shard](ByteSpan bytes) -> Status {
                                                        shard->hasher.Update(bytes);
                                                        return shard->object->Write(bytes);
                                                      });
  open_ = std::move(open);
  return {};
}

Status SplitWriter::Close() {
  DNC_TRY(open_->writer->Finish());
  shard::ContentHasher::Identity identity = open_->hasher.Finish();
  FinishedShard shard;
  shard.info.cid = std::move(identity.cid);
  shard.info.split = options_.split;
  shard.info.bytes = identity.bytes;
  shard.info.samples = open_->writer->samples_written();
  shard.info.block_samples = open_->block_samples;
  shard.info.block_bytes_max = open_->writer->block_bytes_max();
  shard.info.leaves = std::move(identity.leaves);
  shard.raw_digest = digest_.Finish();
  shard.last = finishing_;
  const bool recorded = shards_.size() < finished_.size();
  if (recorded && finished_[shards_.size()].shard.info.cid != shard.info.cid) {
    return SourceChanged();
  }
  DNC_TRY(objects_->CommitShard(open_->object.get(), shard, recorded));
  closed_bytes_ += shard.info.bytes;
  shards_.push_back(std::move(shard.info));
  open_.reset();
  return {};
}

Status SplitWriter::Finish() {
  if (passed_ > 0) return SourceChanged();
  finishing_ = true;
  if (pending_.sample_count > 0) DNC_TRY(WritePending());
  if (open_ != nullptr) DNC_TRY(Close());
  return shards_.size() < finished_.size() ? SourceChanged() : Status();
}

Error SplitWriter::TooLarge(std::uint64_t bytes) const {
  return {ErrorCode::kTooLarge, "a sample of split \"" + options_.split + "\" has " +
                                    FormatByteCount(bytes) + "; a shard's block holds at most " +
                                    FormatByteCount(shard::kBlockBytesMax) +
                                    " (files of any size are divided with --raw)"};
}

Error SplitWriter::SourceChanged() const {
  return {ErrorCode::kInvalidArgument,
          "the samples are not those that " + std::to_string(finished_.size()) +
              " finished shards of split \"" + options_.split +
              "\" were made of: the source has changed since; pass --overwrite to begin anew"};
}

std::uint64_t SplitWriter::bytes_out() const {
  return closed_bytes_ + (open_ == nullptr ? 0 : open_->writer->bytes_written());
}

shard::SplitInfo SplitWriter::split_info() const {
  return {options_.split, samples_, statistics_.Compute()};
}

}  // namespace dnc::divide
