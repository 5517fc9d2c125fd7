#include "divide/split_writer.h"

#include <algorithm>

#include "base/assert.h"
#include "base/human.h"
#include "divide/divide.h"

namespace dnc::divide {

StoredObjects::~StoredObjects() {
  // The run has failed already; a deletion that fails too has nobody to tell.
  for (const std::string& key : created_) static_cast<void>(store_->Delete(key).ok());
}

Status StoredObjects::Commit(store::ObjectWriter* writer, const std::string& key) {
  const Result<std::uint64_t> before = store_->Size(key);
  if (!before.ok() && before.error().code != ErrorCode::kNotFound) return before.error();
  // Noted first: a commit may fail after the object became visible.
  if (!before.ok()) created_.push_back(key);
  return writer->Commit(key);
}

SplitWriter::SplitWriter(const std::vector<array::ColumnSpec>& columns,
                         const SplitWriterOptions& options, StoredObjects* objects)
    : columns_(columns), options_(options), objects_(objects), statistics_(columns) {
  DNC_ASSERT(options.shard.block_samples > 0);
  pending_.columns.resize(columns_.size());
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    column_bytes_.push_back(columns_[c].sample_bytes());
    pending_.columns[c].reserve(options.shard.block_samples * column_bytes_[c]);
  }
}

Status SplitWriter::Add(const array::SampleBlock& block, std::uint64_t begin, std::uint64_t end) {
  DNC_ASSERT(begin <= end && end <= block.sample_count);
  const std::uint32_t block_samples = options_.shard.block_samples;
  samples_ += end - begin;
  while (begin < end) {
    const std::uint64_t count =
        std::min({end - begin, block_samples - pending_.sample_count, ShardSamplesLeft()});
    if (count == block_samples && count == block.sample_count) {
      DNC_TRY(WriteBlock(block));
    } else {
      for (std::size_t c = 0; c < columns_.size(); ++c) {
        const auto from =
            block.columns[c].begin() + static_cast<std::ptrdiff_t>(begin * column_bytes_[c]);
        pending_.columns[c].insert(pending_.columns[c].end(), from,
                                   from + static_cast<std::ptrdiff_t>(count * column_bytes_[c]));
      }
      pending_.sample_count += count;
    }
    begin += count;
    const bool full = ShardSamplesLeft() == 0;
    if (pending_.sample_count == block_samples || (full && pending_.sample_count > 0)) {
      DNC_TRY(WritePending());
    }
    if (full) DNC_TRY(Close());
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

Status SplitWriter::WritePending() {
  DNC_TRY(WriteBlock(pending_));
  pending_.sample_count = 0;
  for (Bytes& column : pending_.columns) column.clear();
  return {};
}

Status SplitWriter::WriteBlock(const array::SampleBlock& block) {
  if (open_ == nullptr) DNC_TRY(OpenNext());
  statistics_.Add(block);
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
  if (std::max(open_->writer->bytes_written(), ExpectedBytes()) >= options_.shard_bytes) {
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

Status SplitWriter::OpenNext() {
  auto open = std::make_unique<OpenShard>();
  DNC_ASSIGN(open->object, objects_->store()->Create());
  OpenShard* shard = open.get();
  open->writer = std::make_unique<shard::ShardWriter>(columns_, options_.shard,
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
  DNC_TRY(objects_->Commit(open_->object.get(), identity.cid));
  shard::ShardInfo info;
  info.cid = std::move(identity.cid);
  info.split = options_.split;
  info.bytes = identity.bytes;
  info.samples = open_->writer->samples_written();
  info.block_samples = options_.shard.block_samples;
  info.leaves = std::move(identity.leaves);
  closed_bytes_ += info.bytes;
  shards_.push_back(std::move(info));
  open_.reset();
  return {};
}

Status SplitWriter::Finish() {
  if (pending_.sample_count > 0) DNC_TRY(WritePending());
  if (open_ != nullptr) DNC_TRY(Close());
  return {};
}

std::uint64_t SplitWriter::bytes_out() const {
  return closed_bytes_ + (open_ == nullptr ? 0 : open_->writer->bytes_written());
}

shard::SplitInfo SplitWriter::split_info() const {
  return {options_.split, samples_, statistics_.Compute()};
}

}  // namespace dnc::divide
