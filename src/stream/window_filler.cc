#include "stream/window_filler.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/assert.h"
#include "shard/content_id.h"

namespace dnc::stream {
namespace {

// Leaves that are asked for ahead at most.
constexpr std::size_t kExpectedMax = 64;

Error Differs(const shard::ShardInfo& shard, const std::string& what) {
  return {ErrorCode::kCorrupt, "shard " + shard.cid + " is not what the manifest describes: " +
                                   what + "; divide the data again"};
}

// In the order of their bytes, so that neighbours share a leaf while it is there and each
// shard's index is read once.
std::vector<BlockSlice> ByPlace(std::vector<BlockSlice> slices) {
  std::sort(slices.begin(), slices.end(), [](const BlockSlice& a, const BlockSlice& b) {
    return std::pair(a.shard_index, a.block_index) < std::pair(b.shard_index, b.block_index);
  });
  return slices;
}

}  // namespace

FillerBudget SpreadMemory(const shard::Manifest& manifest, const std::string& split,
                          const MemoryNeed& need, std::uint64_t memory_bytes) {
  DNC_ASSERT(need.total() <= memory_bytes);
  FillerBudget budget;
  budget.memory_bytes = memory_bytes;
  budget.block_bytes = need.block_bytes();
  budget.fixed_bytes = need.decoder_bytes + need.table_bytes + need.manifest_bytes +
                       need.batch_bytes + need.ahead_bytes;
  std::uint64_t leaf_count = 0;
  std::uint64_t index_bytes_all = 0;
  for (const shard::ShardInfo& shard : manifest.shards) {
    if (shard.split != split || shard.samples == 0) continue;
    leaf_count += shard.leaves.size();
    index_bytes_all += ShardIndexBytes(manifest, shard);
  }
  std::uint64_t spare = memory_bytes - need.total();
  const std::uint64_t indexes = std::min(spare / 4, index_bytes_all - need.index_bytes);
  budget.index_bytes = need.index_bytes + indexes;
  spare -= indexes;
  budget.leaf_bytes = std::max<std::uint64_t>(need.leaf_bytes, 1);
  budget.leaf_count = std::clamp<std::uint64_t>(1 + spare / budget.leaf_bytes, 1,
                                                std::max<std::uint64_t>(leaf_count, 1));
  return budget;
}

LeafCacheOptions WindowFiller::CacheOptions(const FillerOptions& options) {
  LeafCacheOptions cache;
  cache.leaf_bytes = options.budget.leaf_bytes;
  cache.leaf_count_max = options.budget.leaf_count;
  cache.connections = options.connections;
  cache.neighbours = options.neighbours;
  cache.disk = options.disk;
  if (options.keeper != nullptr) {
    cache.on_evict = [this, warn = options.warn](const LeafRef& ref, ByteSpan bytes) {
      const Status kept = keeper_->Offer(ref.digest(), bytes, BlocksOf(ref));
      if (!kept.ok() && warn) warn("the cache takes no more: " + kept.error().message);
    };
    cache.on_wrong_on_disk = [this](const LeafRef& ref) { keeper_->Drop(ref.digest()); };
  }
  return cache;
}

WindowFiller::WindowFiller(const shard::Manifest* manifest, const store::ObjectStore* store,
                           const FillerOptions& options, const std::atomic<bool>* stop)
    : manifest_(manifest),
      budget_(options.budget),
      keeper_(options.keeper),
      meter_(options.budget.memory_bytes),
      leaves_(store, CacheOptions(options), &meter_, stop),
      stop_(stop),
      columns_(ColumnSizes(manifest->columns)),
      all_arrays_(array::AllArrays(manifest->columns)) {
  meter_.Add(budget_.fixed_bytes);
}

WindowFiller::~WindowFiller() = default;

Result<std::unique_ptr<Window>> WindowFiller::Fill(const WindowVisit& visit,
                                                   const WindowVisit* next) {
  if (keeper_ != nullptr) keeper_->Advance(visit.ordinal);
  const std::vector<BlockSlice> slices = ByPlace(visit.slices);
  // The very first window has the link to itself: leaves of later ones, on their way at the
  // same time, would take most of it.
  const bool alone = std::exchange(first_, false);
  const std::vector<BlockSlice> next_slices =
      next == nullptr ? std::vector<BlockSlice>() : ByPlace(next->slices);
  const std::span<const BlockSlice> ahead =
      alone ? std::span<const BlockSlice>() : std::span(next_slices);
  for (std::size_t i = 0; i < slices.size(); ++i) {
    ExpectLeaves(std::span(slices).subspan(i), ahead);
    if (Status status = Hold(slices[i]); !status.ok()) return status.error();
  }
  ExpectLeaves({}, next_slices);
  std::vector<Window::Slice> parts;
  for (const BlockSlice& slice : visit.slices) {
    HeldBlock* block = held_.at({slice.shard_index, slice.block_index}).get();
    parts.push_back({block, slice.begin, slice.end});
  }
  return std::make_unique<Window>(visit.number, visit.epoch, std::move(parts), visit.order,
                                  columns_);
}

void WindowFiller::ExpectLeaves(std::span<const BlockSlice> slices,
                                std::span<const BlockSlice> next) {
  std::vector<LeafRef> leaves;
  const std::size_t most = std::min<std::size_t>(leaves_.leaf_count_max(), kExpectedMax);
  for (const std::span<const BlockSlice> part : {slices, next}) {
    for (const BlockSlice& slice : part) {
      if (leaves.size() >= most) break;
      if (!held_.contains({slice.shard_index, slice.block_index})) AddLeaves(slice, &leaves);
    }
  }
  leaves_.Expect(leaves);
}

void WindowFiller::AddLeaves(const BlockSlice& slice, std::vector<LeafRef>* leaves) {
  const auto add = [leaves](const LeafRef& ref) {
    if (std::find(leaves->begin(), leaves->end(), ref) == leaves->end()) leaves->push_back(ref);
  };
  const shard::ShardInfo* info = &manifest_->shards[slice.shard_index];
  // If they are not as many as they must, Open() will say so.
  if (info->leaves.size() != shard::LeafCount(info->bytes)) return;
  // Where a block lies is known once its shard is open, which takes the shard's last leaf.
  auto open = open_by_index_.find(slice.shard_index);
  if (open == open_by_index_.end()) {
    const LeafRef last{info, slice.shard_index, info->leaves.size() - 1};
    add(last);
    const bool room = open_bytes_ + ShardIndexBytes(*manifest_, *info) <= budget_.index_bytes;
    if (!room || !leaves_.Has(last)) return;
    // An error comes again when the block's turn has come.
    if (!Open(slice.shard_index).ok()) return;
    open = open_by_index_.find(slice.shard_index);
  }
  if (leaves_.local()) return;  // Its blocks are read past the cache.
  const shard::BlockExtent extent = open->second->reader.extent(slice.block_index);
  const std::uint64_t last = (extent.offset + extent.bytes - 1) / shard::kLeafBytes;
  for (std::uint64_t leaf = extent.offset / shard::kLeafBytes; leaf <= last; ++leaf) {
    add({info, slice.shard_index, leaf});
  }
}

LeafBlocks WindowFiller::BlocksOf(const LeafRef& ref) const {
  const shard::ShardInfo& info = *ref.shard;
  const auto block_count = static_cast<std::uint32_t>((info.samples - 1) / info.block_samples + 1);
  LeafBlocks blocks{ref.shard_index, 0, block_count - 1};
  const auto open = open_by_index_.find(ref.shard_index);
  if (open == open_by_index_.end()) return blocks;
  const shard::ShardReader& reader = open->second->reader;
  const std::uint64_t begin = ref.leaf * shard::kLeafBytes;
  const std::uint64_t end = begin + LeafSize(info, ref.leaf);
  // The last block that begins at or before an offset.
  const auto block_at = [&](std::uint64_t offset) {
    std::uint32_t low = 0;
    std::uint32_t high = block_count;
    while (high - low > 1) {
      const std::uint32_t middle = low + (high - low) / 2;
      (reader.extent(middle).offset <= offset ? low : high) = middle;
    }
    return low;
  };
  blocks.first_block = block_at(begin);
  blocks.last_block = block_at(end - 1);
  return blocks;
}

void WindowFiller::Unhold(const HeldBlock* block) {
  const auto held = held_.find({block->shard_index, block->block_index});
  if (--held->second->windows > 0) return;
  Free(std::move(held->second));
  held_.erase(held);
}

void WindowFiller::Release(std::unique_ptr<Window> window) {
  for (const Window::Slice& slice : window->slices()) Unhold(slice.block);
}

Status WindowFiller::Hold(const BlockSlice& slice) {
  if (stop_->load(std::memory_order_relaxed)) {
    return Error{ErrorCode::kCancelled, "loading was stopped"};
  }
  const BlockKey key(slice.shard_index, slice.block_index);
  if (const auto found = held_.find(key); found != held_.end()) {
    ++found->second->windows;
    return {};
  }
  DNC_ASSIGN(const shard::ShardReader* reader, Open(slice.shard_index));
  DNC_ASSIGN(std::unique_ptr<HeldBlock> block,
             TakeBlock(slice.shard_index, reader->extent(slice.block_index).samples));
  block->shard_index = slice.shard_index;
  block->block_index = slice.block_index;
  block->windows = 1;
  if (const Status status = decoder_.Decode(*reader, slice.block_index, &block->data);
      !status.ok()) {
    Free(std::move(block));
    return status.error();
  }
  std::uint64_t raw_bytes = 0;
  for (const Bytes& column : block->data.columns) raw_bytes += column.size();
  for (const auto& ends : block->data.ends) raw_bytes += 4 * ends.size();
  if (raw_bytes > block->bytes) {
    Free(std::move(block));
    return Differs(manifest_->shards[slice.shard_index],
                   "block " + std::to_string(slice.block_index) + " has " +
                       std::to_string(raw_bytes) + " bytes, more than it says of the largest");
  }
  decoded_bytes_.fetch_add(raw_bytes, std::memory_order_relaxed);
  held_[key] = std::move(block);
  return {};
}

Result<std::unique_ptr<HeldBlock>> WindowFiller::TakeBlock(std::uint32_t shard_index,
                                                           std::uint64_t samples) {
  // Buffers of arrays are of the exact size, so that what is held is what was computed,
  // and are used again. What varies is counted as the largest block, and allocated anew.
  std::uint64_t bytes = BlockBytesMax(*manifest_, manifest_->shards[shard_index]);
  if (all_arrays_) bytes = samples * array::SampleBytes(manifest_->columns);
  if (const auto found = free_.find(samples); all_arrays_ && found != free_.end()) {
    std::unique_ptr<HeldBlock> block = std::move(found->second.back());
    found->second.pop_back();
    if (found->second.empty()) free_.erase(found);
    return block;
  }
  while (block_bytes_ + bytes > budget_.block_bytes) {
    if (free_.empty()) {
      return Error{ErrorCode::kResourceExhausted,
                   "a window touches more blocks than its memory was computed for; give more "
                   "memory"};
    }
    const auto largest = std::prev(free_.end());
    block_bytes_ -= largest->second.back()->bytes;
    meter_.Take(largest->second.back()->bytes);
    largest->second.pop_back();
    if (largest->second.empty()) free_.erase(largest);
  }
  auto block = std::make_unique<HeldBlock>();
  block->bytes = bytes;
  block->samples = samples;
  block_bytes_ += block->bytes;
  meter_.Add(block->bytes);
  block->data.columns.resize(columns_.size());
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    if (all_arrays_) block->data.columns[c].reserve(samples * columns_[c].bytes);
  }
  return block;
}

void WindowFiller::Free(std::unique_ptr<HeldBlock> block) {
  if (all_arrays_) {
    free_[block->samples].push_back(std::move(block));
    return;
  }
  block_bytes_ -= block->bytes;
  meter_.Take(block->bytes);
}

Result<const shard::ShardReader*> WindowFiller::Open(std::uint32_t shard_index) {
  if (const auto found = open_by_index_.find(shard_index); found != open_by_index_.end()) {
    open_.splice(open_.begin(), open_, found->second);
    return &open_.front().reader;
  }
  const shard::ShardInfo& info = manifest_->shards[shard_index];
  if (info.leaves.size() != shard::LeafCount(info.bytes)) {
    return Differs(info, "it lists " + std::to_string(info.leaves.size()) + " leaves for " +
                             std::to_string(info.bytes) + " bytes");
  }
  const std::uint64_t bytes = ShardIndexBytes(*manifest_, info);
  while (open_bytes_ + bytes > budget_.index_bytes) {
    DNC_ASSERT(!open_.empty());
    open_bytes_ -= open_.back().index_bytes;
    meter_.Take(open_.back().index_bytes);
    open_by_index_.erase(open_.back().shard_index);
    open_.pop_back();
  }
  auto source = std::make_unique<VerifiedSource>(&info, shard_index, &leaves_);
  shard::ShardLimits limits;
  limits.block_count_max = static_cast<std::uint32_t>((info.samples - 1) / info.block_samples + 1);
  limits.block_bytes_max = BlockBytesMax(*manifest_, info);
  limits.column_count_max = static_cast<std::uint32_t>(columns_.size());
  DNC_ASSIGN(shard::ShardReader reader, shard::ShardReader::Open(source.get(), limits));
  DNC_TRY(CheckAgainstManifest(reader, shard_index));
  source->ReadBlocksOnly();
  meter_.Add(bytes);
  open_bytes_ += bytes;
  open_.push_front({shard_index, bytes, std::move(source), std::move(reader)});
  open_by_index_[shard_index] = open_.begin();
  return &open_.front().reader;
}

Status WindowFiller::CheckAgainstManifest(const shard::ShardReader& reader,
                                          std::uint32_t shard_index) const {
  const shard::ShardInfo& info = manifest_->shards[shard_index];
  const shard::ShardSummary& summary = reader.summary();
  if (summary.samples != info.samples || summary.block_samples != info.block_samples) {
    return Differs(info, "it has " + std::to_string(summary.samples) + " samples in blocks of " +
                             std::to_string(summary.block_samples) + ", not " +
                             std::to_string(info.samples) + " in blocks of " +
                             std::to_string(info.block_samples));
  }
  const std::vector<array::ColumnSpec>& columns = manifest_->columns;
  if (summary.columns.size() != columns.size()) {
    return Differs(info, std::to_string(summary.columns.size()) + " columns, not " +
                             std::to_string(columns.size()));
  }
  for (std::size_t c = 0; c < columns.size(); ++c) {
    const array::ColumnSpec& found = summary.columns[c];
    if (found.name != columns[c].name || found.dtype != columns[c].dtype ||
        found.shape != columns[c].shape || found.kind != columns[c].kind) {
      return Differs(info, "its column \"" + found.name + "\" is " + array::ColumnTypeText(found) +
                               ", not \"" + columns[c].name + "\" of " +
                               array::ColumnTypeText(columns[c]));
    }
  }
  return {};
}

}  // namespace dnc::stream
