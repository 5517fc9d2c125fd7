// The blocks of a split in the order of an epoch, laid end to end: which block
// lies at which position, and the reverse. Pure; memory is proportional to the
// number of shards, and a query costs about a microsecond.
//
// What is permuted are runs of `run_blocks` neighbouring blocks of a shard, or a few
// less, so that its runs are about equal: neighbours share leaves, which then are
// fetched once. Here a "block" is such a run, but where blocks of a shard are named.
//
// Blocks of one size are permuted by a Feistel permutation. Where a split mixes
// shards of several block sizes (a merged manifest), each size is permuted by
// itself, and the sizes are interleaved evenly. Positions follow from counting
// blocks, less what the short last blocks of shards lack; where those few lie
// is known from the inverse permutation.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/prng.h"
#include "base/result.h"
#include "shard/manifest.h"

namespace dnc::stream {

inline constexpr std::uint64_t kSequenceBlocksMax = std::uint64_t{1} << 31;

struct BlockSequenceOptions {
  std::uint64_t seed = 0;
  bool shuffle = true;  // false: the order in the shards.
  std::uint32_t run_blocks = 1;
};

class BlockSequence {
 public:
  struct Block {
    std::uint32_t shard_index = 0;  // Into Manifest::shards.
    std::uint32_t block_index = 0;  // The shard's block with which it begins.
    std::uint32_t samples = 0;

    friend bool operator==(const Block&, const Block&) = default;
  };

  BlockSequence() = default;  // Of no blocks.
  // Keeps no reference to `manifest`. A split without shards gives no blocks.
  // Errors: kInvalidArgument, a shard with samples but none in a block;
  // kTooLarge, more than kSequenceBlocksMax blocks.
  static Result<BlockSequence> Create(const shard::Manifest& manifest, const std::string& split,
                                      const BlockSequenceOptions& options);

  std::uint64_t block_count() const { return block_count_; }
  std::uint64_t sample_count() const { return sample_count_; }
  // Samples of the largest block of a shard that there is.
  std::uint32_t block_samples_max() const { return block_samples_max_; }

  // The block at a place of the sequence. Requires: place < block_count().
  Block At(std::uint64_t place) const;
  // The position of its first sample. Requires: place <= block_count().
  std::uint64_t Start(std::uint64_t place) const;
  // The place of the block that holds a position. Requires: position < sample_count().
  std::uint64_t PlaceOf(std::uint64_t position) const;
  // The position of the first sample of a block of a shard.
  // Requires: the shard is of the split, and has that block.
  std::uint64_t PositionOf(std::uint32_t shard_index, std::uint32_t block_index) const;
  // Upper bound of the shards' blocks that any `samples` consecutive positions touch.
  // Costs time proportional to the number of shards.
  std::uint64_t BlocksTouchedMax(std::uint64_t samples) const;
  // The same for the order of any seed: all but certain where short last blocks lie at
  // random (ten standard deviations), sure where they do not.
  std::uint64_t BlocksTouchedByAny(std::uint64_t samples) const;

 private:
  struct ShardSpan {
    std::uint32_t shard_index = 0;
    std::uint32_t run_blocks = 1;  // Of the shard's blocks in one block here.
    std::uint64_t block_samples = 0;
    std::uint64_t samples = 0;
    std::uint64_t first_block = 0;   // Of the blocks of its size; in order: of all.
    std::uint64_t first_sample = 0;  // Position in the order of the shards.
  };
  // A last block that is shorter than its size.
  struct ShortBlock {
    std::uint64_t rank = 0;  // In the permuted order of its size.
    // Samples lacked by it and the short blocks of smaller rank.
    std::uint64_t missing_sum = 0;
  };
  // All blocks of one size, in shuffled sequences.
  struct SizeClass {
    std::uint64_t block_samples = 0;
    std::uint64_t block_count = 0;
    std::vector<ShardSpan> shards;
    std::vector<ShortBlock> shorts;  // By rank.
    Permutation order = Permutation::Identity(0);
    // Of the `all` places that the classes before leave over, block_count are
    // this class's, evenly spread.
    std::uint64_t all = 0;
    std::uint64_t phase = 0;  // Less than `all`.

    std::uint64_t CountBefore(std::uint64_t place) const {
      return (place * block_count + phase) / all;
    }
    std::uint64_t SamplesBefore(std::uint64_t rank) const;
  };

  static Block BlockOf(const std::vector<ShardSpan>& shards, std::uint64_t block);
  void SpreadClasses(std::uint64_t seed);
  static void FindShortBlocks(SizeClass* size_class);
  // The places of all short blocks, ascending.
  std::vector<std::uint64_t> ShortPlaces() const;
  static const ShardSpan* Find(const std::vector<ShardSpan>& shards, std::uint32_t shard_index);
  std::uint64_t PlaceOfRank(std::size_t class_index, std::uint64_t rank) const;

  std::vector<ShardSpan> ordered_;  // Empty in a shuffled sequence.
  std::vector<SizeClass> classes_;  // Empty in an ordered one.
  std::uint64_t block_count_ = 0;
  std::uint64_t sample_count_ = 0;
  std::uint64_t shard_blocks_ = 0;
  std::uint32_t block_samples_min_ = 0;  // Of blocks of shards.
  std::uint32_t block_samples_max_ = 0;
};

}  // namespace dnc::stream
