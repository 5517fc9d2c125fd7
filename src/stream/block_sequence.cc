#include "stream/block_sequence.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/assert.h"

namespace dnc::stream {
namespace {

// Purposes of derived seeds.
constexpr std::uint64_t kOrderSeed = 0x626c6f636b73;   // "blocks"
constexpr std::uint64_t kSpreadSeed = 0x737072656164;  // "spread"

std::uint64_t DivideUp(std::uint64_t number, std::uint64_t divisor) {
  return number / divisor + (number % divisor != 0 ? 1 : 0);
}

// The first number in [low, high) for which `holds` is true, or high; `holds` is
// false and then true.
template <typename Holds>
std::uint64_t FirstThat(std::uint64_t low, std::uint64_t high, Holds holds) {
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    if (holds(middle)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

// As many blocks of a shard as make a run, at most `wanted`, so that its runs are
// about equal; their samples fit into 31 bits.
std::uint32_t RunBlocks(std::uint64_t shard_blocks, std::uint32_t block_samples,
                        std::uint32_t wanted) {
  const std::uint64_t most = std::max<std::uint64_t>(1, (std::uint64_t{1} << 31) / block_samples);
  const std::uint64_t run = std::clamp<std::uint64_t>(wanted, 1, std::min(most, shard_blocks));
  return static_cast<std::uint32_t>(DivideUp(shard_blocks, DivideUp(shard_blocks, run)));
}

}  // namespace

Result<BlockSequence> BlockSequence::Create(const shard::Manifest& manifest,
                                            const std::string& split,
                                            const BlockSequenceOptions& options) {
  BlockSequence sequence;
  std::map<std::uint64_t, SizeClass> classes;  // By block_samples.
  for (std::size_t i = 0; i < manifest.shards.size(); ++i) {
    const shard::ShardInfo& info = manifest.shards[i];
    if (info.split != split || info.samples == 0) continue;
    if (info.block_samples == 0) {
      return Error{ErrorCode::kInvalidArgument,
                   "shard " + info.cid + ": block_samples is 0, though it holds " +
                       std::to_string(info.samples) + " samples; the manifest is wrong"};
    }
    const std::uint64_t shard_blocks = DivideUp(info.samples, info.block_samples);
    if (shard_blocks > kSequenceBlocksMax - sequence.shard_blocks_) {
      return Error{ErrorCode::kTooLarge, "split \"" + split + "\" has more than " +
                                             std::to_string(kSequenceBlocksMax) +
                                             " blocks, the most that can be ordered"};
    }
    ShardSpan span;
    span.shard_index = static_cast<std::uint32_t>(i);
    span.run_blocks = RunBlocks(shard_blocks, info.block_samples, options.run_blocks);
    span.block_samples = std::uint64_t{info.block_samples} * span.run_blocks;
    const std::uint64_t blocks = DivideUp(shard_blocks, span.run_blocks);
    span.samples = info.samples;
    span.first_sample = sequence.sample_count_;
    if (options.shuffle) {
      SizeClass& size_class = classes[span.block_samples];
      span.first_block = size_class.block_count;
      size_class.block_samples = span.block_samples;
      size_class.block_count += blocks;
      size_class.shards.push_back(span);
    } else {
      span.first_block = sequence.block_count_;
      sequence.ordered_.push_back(span);
    }
    const bool first = sequence.block_count_ == 0;
    sequence.block_samples_min_ =
        first ? info.block_samples : std::min(sequence.block_samples_min_, info.block_samples);
    sequence.block_samples_max_ = std::max(
        sequence.block_samples_max_,
        static_cast<std::uint32_t>(std::min<std::uint64_t>(info.block_samples, info.samples)));
    sequence.block_count_ += blocks;
    sequence.shard_blocks_ += shard_blocks;
    sequence.sample_count_ += info.samples;
  }
  for (auto& [block_samples, size_class] : classes) {
    sequence.classes_.push_back(std::move(size_class));
  }
  sequence.SpreadClasses(options.seed);
  return sequence;
}

void BlockSequence::SpreadClasses(std::uint64_t seed) {
  std::uint64_t all = block_count_;
  for (std::size_t i = 0; i < classes_.size(); ++i) {
    SizeClass& size_class = classes_[i];
    size_class.order =
        Permutation(size_class.block_count, DeriveSeed(seed, kOrderSeed, size_class.block_samples));
    size_class.all = all;
    size_class.phase = DeriveSeed(seed, kSpreadSeed, i) % all;
    all -= size_class.block_count;
    FindShortBlocks(&size_class);
  }
}

void BlockSequence::FindShortBlocks(SizeClass* size_class) {
  for (const ShardSpan& shard : size_class->shards) {
    const std::uint64_t last_samples = shard.samples % shard.block_samples;
    if (last_samples == 0) continue;
    const std::uint64_t last_block = shard.first_block + shard.samples / shard.block_samples;
    size_class->shorts.push_back(
        {size_class->order.Inverse(last_block), shard.block_samples - last_samples});
  }
  std::sort(size_class->shorts.begin(), size_class->shorts.end(),
            [](const ShortBlock& a, const ShortBlock& b) { return a.rank < b.rank; });
  std::uint64_t sum = 0;
  for (ShortBlock& block : size_class->shorts) block.missing_sum = sum += block.missing_sum;
}

std::uint64_t BlockSequence::SizeClass::SamplesBefore(std::uint64_t rank) const {
  const auto after = std::partition_point(
      shorts.begin(), shorts.end(), [rank](const ShortBlock& block) { return block.rank < rank; });
  const std::uint64_t missing = after == shorts.begin() ? 0 : std::prev(after)->missing_sum;
  return rank * block_samples - missing;
}

BlockSequence::Block BlockSequence::BlockOf(const std::vector<ShardSpan>& shards,
                                            std::uint64_t block) {
  const auto after =
      std::partition_point(shards.begin(), shards.end(),
                           [block](const ShardSpan& shard) { return shard.first_block <= block; });
  const ShardSpan& shard = *std::prev(after);
  const std::uint64_t block_index = block - shard.first_block;
  const std::uint64_t samples = std::min<std::uint64_t>(
      shard.block_samples, shard.samples - block_index * shard.block_samples);
  return {shard.shard_index, static_cast<std::uint32_t>(block_index * shard.run_blocks),
          static_cast<std::uint32_t>(samples)};
}

BlockSequence::Block BlockSequence::At(std::uint64_t place) const {
  DNC_ASSERT(place < block_count_);
  if (classes_.empty()) return BlockOf(ordered_, place);
  for (const SizeClass& size_class : classes_) {
    const std::uint64_t rank = size_class.CountBefore(place);
    if (size_class.CountBefore(place + 1) > rank) {
      return BlockOf(size_class.shards, size_class.order(rank));
    }
    place -= rank;
  }
  DNC_ASSERT(false);  // The last class takes every place that is left.
}

std::uint64_t BlockSequence::Start(std::uint64_t place) const {
  DNC_ASSERT(place <= block_count_);
  if (place == block_count_) return sample_count_;
  if (classes_.empty()) {
    const auto after = std::partition_point(
        ordered_.begin(), ordered_.end(),
        [place](const ShardSpan& shard) { return shard.first_block <= place; });
    const ShardSpan& shard = *std::prev(after);
    return shard.first_sample + (place - shard.first_block) * shard.block_samples;
  }
  std::uint64_t samples = 0;
  for (const SizeClass& size_class : classes_) {
    const std::uint64_t rank = size_class.CountBefore(place);
    samples += size_class.SamplesBefore(rank);
    place -= rank;
  }
  return samples;
}

std::uint64_t BlockSequence::PlaceOf(std::uint64_t position) const {
  DNC_ASSERT(position < sample_count_);
  return FirstThat(0, block_count_,
                   [&](std::uint64_t place) { return Start(place + 1) > position; });
}

const BlockSequence::ShardSpan* BlockSequence::Find(const std::vector<ShardSpan>& shards,
                                                    std::uint32_t shard_index) {
  const auto found = std::partition_point(
      shards.begin(), shards.end(),
      [shard_index](const ShardSpan& shard) { return shard.shard_index < shard_index; });
  return found != shards.end() && found->shard_index == shard_index ? &*found : nullptr;
}

std::uint64_t BlockSequence::PositionOf(std::uint32_t shard_index,
                                        std::uint32_t block_index) const {
  const auto within = [block_index](const ShardSpan& shard) {
    return block_index % shard.run_blocks * (shard.block_samples / shard.run_blocks);
  };
  if (const ShardSpan* shard = Find(ordered_, shard_index); shard != nullptr) {
    return shard->first_sample + block_index / shard->run_blocks * shard->block_samples +
           within(*shard);
  }
  for (std::size_t i = 0; i < classes_.size(); ++i) {
    const ShardSpan* shard = Find(classes_[i].shards, shard_index);
    if (shard == nullptr) continue;
    const std::uint64_t rank =
        classes_[i].order.Inverse(shard->first_block + block_index / shard->run_blocks);
    return Start(PlaceOfRank(i, rank)) + within(*shard);
  }
  DNC_ASSERT(false);
}

std::uint64_t BlockSequence::PlaceOfRank(std::size_t class_index, std::uint64_t rank) const {
  const SizeClass& own = classes_[class_index];
  // The last class takes every place that is left, and so does an only one.
  std::uint64_t place = rank;
  if (own.all > own.block_count) {
    place = FirstThat(
        0, own.all, [&](std::uint64_t candidate) { return own.CountBefore(candidate + 1) > rank; });
  }
  // What is the n-th place for one class is the n-th that the class before does
  // not take.
  for (std::size_t i = class_index; i-- > 0;) {
    const SizeClass& before = classes_[i];
    place = FirstThat(0, before.all, [&](std::uint64_t candidate) {
      return candidate + 1 - before.CountBefore(candidate + 1) > place;
    });
  }
  return place;
}

std::vector<std::uint64_t> BlockSequence::ShortPlaces() const {
  std::vector<std::uint64_t> places;
  for (const ShardSpan& shard : ordered_) {
    if (shard.samples % shard.block_samples != 0) {
      places.push_back(shard.first_block + shard.samples / shard.block_samples);
    }
  }
  for (std::size_t i = 0; i < classes_.size(); ++i) {
    for (const ShortBlock& block : classes_[i].shorts) {
      places.push_back(PlaceOfRank(i, block.rank));
    }
  }
  std::sort(places.begin(), places.end());
  return places;
}

std::uint64_t BlockSequence::BlocksTouchedMax(std::uint64_t samples) const {
  if (samples == 0 || block_count_ == 0) return 0;
  // The most short blocks that fall into one stretch of positions...
  const std::vector<std::uint64_t> places = ShortPlaces();
  std::uint64_t shorts_max = 0;
  std::size_t first = 0;
  for (std::size_t last = 0; last < places.size(); ++last) {
    while (Start(places[last]) >= Start(places[first] + 1) - 1 + samples) ++first;
    shorts_max = std::max<std::uint64_t>(shorts_max, last - first + 1);
  }
  // ... beside the full ones: all but the two at the ends lie in it whole. A run that is
  // short has one short block at most.
  const std::uint64_t full_max = 2 + (samples - 1) / block_samples_min_;
  return std::min({shard_blocks_, samples, full_max + shorts_max});
}

std::uint64_t BlockSequence::BlocksTouchedByAny(std::uint64_t samples) const {
  if (classes_.empty() || samples == 0) return BlocksTouchedMax(samples);
  std::uint64_t shorts = 0;
  for (const SizeClass& size_class : classes_) shorts += size_class.shorts.size();
  const std::uint64_t full_max = 2 + (samples - 1) / block_samples_min_;
  const double share =
      std::min(1.0, static_cast<double>(full_max) / static_cast<double>(shard_blocks_));
  const double expected = static_cast<double>(shorts) * share;
  const auto likely = static_cast<std::uint64_t>(expected + 10 * std::sqrt(expected) + 10);
  return std::min({shard_blocks_, samples, full_max + std::min(shorts, likely)});
}

}  // namespace dnc::stream
