// Writes the samples of one split into shards, one open at a time, and gathers
// what the manifest says of them. Where samples are cut into blocks and blocks into
// shards depends on the samples alone, and begins anew with every shard: so a run that
// goes on from a journal passes over the finished shards and makes the same ones after
// them. Not thread-safe. Private to this room.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "array/column.h"
#include "base/result.h"
#include "divide/sample_digest.h"
#include "divide/stored_objects.h"
#include "shard/content_id.h"
#include "shard/manifest.h"
#include "shard/shard_writer.h"
#include "shard/statistics.h"
#include "store/object_store.h"

namespace dnc::divide {

// Samples in a block where every sample has as many bytes: up to about 1 MiB, and less
// in small shards, so that they close near their size.
std::uint32_t FixedBlockSamples(const std::vector<array::ColumnSpec>& columns,
                                std::uint64_t shard_bytes);

struct SplitWriterOptions {
  std::string split;
  std::uint64_t shard_bytes = 0;
  // If above 0: so many shards of equal numbers of samples, whatever their bytes.
  std::uint64_t shard_count = 0;
  std::uint64_t split_samples = 0;  // Then: of the whole split.
  shard::ShardWriterOptions shard;  // block_samples is set by the SplitWriter.
};

class SplitWriter {
 public:
  // `objects` must outlive the writer.
  SplitWriter(const std::vector<array::ColumnSpec>& columns, const SplitWriterOptions& options,
              StoredObjects* objects);

  // A shard of an earlier run, in their order, before any sample; `present` tells
  // whether the store has it.
  void AddFinished(FinishedShard shard, bool present);

  // Adds the samples [begin, end) of `block`.
  // Errors: those of the store; kInvalidArgument, they are not the samples of the
  // finished shards.
  Status Add(const array::SampleBlock& block, std::uint64_t begin, std::uint64_t end);
  // Writes what is pending and closes the last shard. Nothing may be added after it.
  Status Finish();

  std::uint64_t samples() const { return samples_; }
  // Of all shards, as far as they are written.
  std::uint64_t bytes_out() const;
  const std::vector<shard::ShardInfo>& shards() const { return shards_; }
  shard::SplitInfo split_info() const;

 private:
  struct Finished {
    FinishedShard shard;
    bool present;
  };
  // The shard that is being written. Its address is fixed: the writer's sink
  // holds it.
  struct OpenShard {
    std::unique_ptr<store::ObjectWriter> object;
    shard::ContentHasher hasher;
    std::unique_ptr<shard::ShardWriter> writer;
    std::uint32_t block_samples = 0;
    std::uint64_t blocks = 0;
    int small_blocks = 0;  // One behind the other, up to now.
  };

  // The finished shard that the next sample belongs to, or nullptr.
  const Finished* Passing() const;
  Status Pass(const array::SampleBlock& block, std::uint64_t* begin, std::uint64_t end);
  Status AddFixed(const array::SampleBlock& block, std::uint64_t* begin, std::uint64_t end);
  Status AddVarying(const array::SampleBlock& block, std::uint64_t* begin, std::uint64_t end);
  // How many more samples the open shard takes, where shards are counted.
  std::uint64_t ShardSamplesLeft() const;
  Status CloseIfCounted();
  Status WritePending();
  Status WriteBlock(const array::SampleBlock& block);
  Status OpenNext(std::uint32_t block_samples);
  Status Close();
  Error SourceChanged() const;
  Error TooLarge(std::uint64_t bytes) const;
  // What the open shard will have once the blocks that its writer holds back are
  // written, judged by those before them; 0 while there are none.
  std::uint64_t ExpectedBytes() const;

  const std::vector<array::ColumnSpec> columns_;
  const SplitWriterOptions options_;
  StoredObjects* objects_;
  const bool fixed_;                 // Samples have one size.
  const std::uint64_t block_bytes_;  // What a block should have.
  std::uint32_t fixed_block_samples_ = 0;
  array::SampleBlock pending_;
  std::uint64_t pending_bytes_ = 0;
  shard::StatisticsAccumulator statistics_;
  SampleDigest digest_;  // Of the shard that is being written or passed.
  std::vector<Finished> finished_;
  std::uint64_t passed_ = 0;  // Samples of the shard that is being passed.
  array::SampleBlock slice_;
  std::unique_ptr<OpenShard> open_;
  std::vector<shard::ShardInfo> shards_;
  bool finishing_ = false;
  bool ended_ = false;  // A shard that the end of the source closed is there.
  std::uint64_t samples_ = 0;
  std::uint64_t written_samples_ = 0;  // In blocks or passed; not those that are pending.
  std::uint64_t closed_bytes_ = 0;
};

}  // namespace dnc::divide
