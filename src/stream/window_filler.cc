#include "stream/window_filler.h"

#include <algorithm>

#include "base/assert.h"
#include "shard/content_id.h"

namespace dnc::stream {
namespace {

std::vector<std::size_t> ColumnBytes(const shard::Manifest& manifest) {
  std::vector<std::size_t> bytes;
  for (const array::ColumnSpec& column : manifest.columns) bytes.push_back(column.sample_bytes());
  return bytes;
}

Error Differs(const shard::ShardInfo& shard, const std::string& what) {
  return {ErrorCode::kCorrupt, "shard " + shard.cid + " is not what the manifest describes: " +
                                   what + "; divide the data again"};
}

}  // namespace

WindowFiller::Budget WindowFiller::BudgetOf(const Plan& plan, std::uint64_t memory_bytes) {
  const MemoryNeed need = MemoryNeedOf(plan);
  DNC_ASSERT(need.total() <= memory_bytes);
  Budget budget;
  budget.block_bytes = need.samples_bytes + need.partial_bytes;
  budget.fixed_bytes = need.decoder_bytes + need.table_bytes;
  std::uint64_t leaf_count = 0;
  std::uint64_t index_bytes_all = 0;
  for (const shard::ShardInfo& shard : plan.manifest().shards) {
    if (shard.split != plan.options().split || shard.samples == 0) continue;
    leaf_count += shard.leaves.size();
    index_bytes_all += ShardIndexBytes(plan.manifest(), shard);
  }
  std::uint64_t spare = memory_bytes - need.total();
  const std::uint64_t indexes = std::min(spare / 4, index_bytes_all - need.index_bytes);
  budget.index_bytes = need.index_bytes + indexes;
  spare -= indexes;
  budget.leaves.leaf_bytes = std::max<std::uint64_t>(need.leaf_bytes, 1);
  budget.leaves.leaf_count_max = std::clamp<std::uint64_t>(1 + spare / budget.leaves.leaf_bytes, 1,
                                                           std::max<std::uint64_t>(leaf_count, 1));
  return budget;
}

WindowFiller::WindowFiller(const Plan* plan, const store::ObjectStore* store,
                           std::uint64_t memory_bytes, const std::atomic<bool>* stop)
    : WindowFiller(plan, store, memory_bytes, BudgetOf(*plan, memory_bytes), stop) {}

WindowFiller::WindowFiller(const Plan* plan, const store::ObjectStore* store,
                           std::uint64_t memory_bytes, const Budget& budget,
                           const std::atomic<bool>* stop)
    : plan_(plan),
      budget_(budget),
      meter_(memory_bytes),
      leaves_(store, budget.leaves, &meter_, stop),
      stop_(stop),
      column_bytes_(ColumnBytes(plan->manifest())),
      sample_bytes_(array::SampleBytes(plan->manifest().columns)) {
  meter_.Add(budget_.fixed_bytes);
}

WindowFiller::~WindowFiller() = default;

std::vector<BlockSlice> WindowFiller::SlicesByPlace(std::uint64_t window) const {
  std::vector<BlockSlice> slices = plan_->WindowSlices(window);
  std::sort(slices.begin(), slices.end(), [](const BlockSlice& a, const BlockSlice& b) {
    return std::pair(a.shard_index, a.block_index) < std::pair(b.shard_index, b.block_index);
  });
  return slices;
}

Result<std::unique_ptr<Window>> WindowFiller::Fill(std::uint64_t window) {
  const std::vector<BlockSlice> slices = SlicesByPlace(window);
  std::size_t fetched = 0;
  for (std::size_t i = 0; i < slices.size(); ++i) {
    if (i == fetched) {
      DNC_ASSIGN(const std::size_t count, PrefetchLeaves(std::span(slices).subspan(i), window));
      fetched += count;
    }
    DNC_TRY(Hold(slices[i]));
  }
  std::vector<Window::Slice> parts;
  for (const BlockSlice& slice : plan_->WindowSlices(window)) {
    HeldBlock* block = held_.at({slice.shard_index, slice.block_index}).get();
    parts.push_back({block, slice.begin, slice.end});
  }
  return std::make_unique<Window>(window, std::move(parts), plan_->WindowOrder(window),
                                  !plan_->options().shuffle, column_bytes_);
}

void WindowFiller::AddLeaves(const BlockSlice& slice, const shard::ShardReader& reader,
                             std::vector<LeafRef>* leaves) const {
  const shard::ShardInfo* info = &plan_->manifest().shards[slice.shard_index];
  const shard::BlockExtent extent = reader.extent(slice.block_index);
  const std::uint64_t last = (extent.offset + extent.bytes - 1) / shard::kLeafBytes;
  for (std::uint64_t leaf = extent.offset / shard::kLeafBytes; leaf <= last; ++leaf) {
    const LeafRef ref{info, slice.shard_index, leaf};
    if (std::find(leaves->begin(), leaves->end(), ref) == leaves->end()) leaves->push_back(ref);
  }
}

Result<std::size_t> WindowFiller::PrefetchLeaves(std::span<const BlockSlice> slices,
                                                 std::uint64_t window) {
  std::vector<LeafRef> leaves;
  const std::uint64_t leaf_count_max = std::min(leaves_.leaf_count_max(), kLeafBatch);
  std::size_t count = 0;
  bool full = false;
  for (; count < slices.size() && !full; ++count) {
    const BlockSlice& slice = slices[count];
    if (held_.contains({slice.shard_index, slice.block_index})) continue;
    // Where a block lies is known once its shard is open, which takes the shard's
    // last leaf; behind other blocks, that one is fetched along with theirs.
    if (count > 0 && !open_by_index_.contains(slice.shard_index)) {
      const shard::ShardInfo& info = plan_->manifest().shards[slice.shard_index];
      if (leaves.size() < leaf_count_max && !info.leaves.empty()) {
        leaves.push_back({&info, slice.shard_index, info.leaves.size() - 1});
      }
      full = true;
      break;
    }
    DNC_ASSIGN(const shard::ShardReader* reader, Open(slice.shard_index));
    const std::size_t before = leaves.size();
    AddLeaves(slice, *reader, &leaves);
    if (leaves.size() > leaf_count_max) {
      leaves.resize(before);
      full = true;
      // A first block that alone has more leaves is read leaf by leaf.
      if (count > 0) break;
    }
  }
  if (!full && leaves_.leaf_count_max() >= 2 * kLeafBatch) AddLeavesAhead(window + 1, &leaves);
  DNC_TRY(leaves_.Prefetch(leaves));
  return count;
}

void WindowFiller::AddLeavesAhead(std::uint64_t window, std::vector<LeafRef>* leaves) const {
  if (window >= plan_->window_count()) return;
  const auto missing = static_cast<std::uint64_t>(std::count_if(
      leaves->begin(), leaves->end(), [&](const LeafRef& ref) { return !leaves_.Has(ref); }));
  if (missing == 0) return;
  std::uint64_t room = kLeafBatch - missing;
  std::vector<LeafRef> ahead;
  for (const BlockSlice& slice : SlicesByPlace(window)) {
    const auto open = open_by_index_.find(slice.shard_index);
    if (open != open_by_index_.end()) AddLeaves(slice, open->second->reader, &ahead);
  }
  for (const LeafRef& ref : ahead) {
    if (room == 0) return;
    if (leaves_.Has(ref) || std::find(leaves->begin(), leaves->end(), ref) != leaves->end()) {
      continue;
    }
    leaves->push_back(ref);
    --room;
  }
}

void WindowFiller::Release(std::unique_ptr<Window> window) {
  for (const Window::Slice& slice : window->slices()) {
    if (--slice.block->windows > 0) continue;
    const auto held = held_.find({slice.block->shard_index, slice.block->block_index});
    Free(std::move(held->second));
    held_.erase(held);
  }
}

Status WindowFiller::Hold(const BlockSlice& slice) {
  if (stop_->load(std::memory_order_relaxed)) {
    return Error{ErrorCode::kCancelled, "loading was stopped"};
  }
  const auto key = std::pair(slice.shard_index, slice.block_index);
  if (const auto found = held_.find(key); found != held_.end()) {
    ++found->second->windows;
    return {};
  }
  DNC_ASSIGN(const shard::ShardReader* reader, Open(slice.shard_index));
  std::unique_ptr<HeldBlock> block = TakeBlock(reader->extent(slice.block_index).samples);
  block->shard_index = slice.shard_index;
  block->block_index = slice.block_index;
  block->windows = 1;
  if (const Status status = decoder_.Decode(*reader, slice.block_index, &block->data);
      !status.ok()) {
    Free(std::move(block));
    return status.error();
  }
  decoded_bytes_.fetch_add(block->bytes, std::memory_order_relaxed);
  held_[key] = std::move(block);
  return {};
}

std::unique_ptr<HeldBlock> WindowFiller::TakeBlock(std::uint64_t samples) {
  // Buffers are of the exact size, so that what is held is what was computed.
  if (const auto found = free_.find(samples); found != free_.end()) {
    std::unique_ptr<HeldBlock> block = std::move(found->second.back());
    found->second.pop_back();
    if (found->second.empty()) free_.erase(found);
    return block;
  }
  while (block_bytes_ + samples * sample_bytes_ > budget_.block_bytes) {
    DNC_ASSERT(!free_.empty());
    const auto largest = std::prev(free_.end());
    block_bytes_ -= largest->second.back()->bytes;
    meter_.Take(largest->second.back()->bytes);
    largest->second.pop_back();
    if (largest->second.empty()) free_.erase(largest);
  }
  auto block = std::make_unique<HeldBlock>();
  block->bytes = samples * sample_bytes_;
  block->samples = samples;
  block_bytes_ += block->bytes;
  meter_.Add(block->bytes);
  block->data.columns.resize(column_bytes_.size());
  for (std::size_t c = 0; c < column_bytes_.size(); ++c) {
    block->data.columns[c].reserve(samples * column_bytes_[c]);
  }
  return block;
}

void WindowFiller::Free(std::unique_ptr<HeldBlock> block) {
  free_[block->samples].push_back(std::move(block));
}

Result<const shard::ShardReader*> WindowFiller::Open(std::uint32_t shard_index) {
  if (const auto found = open_by_index_.find(shard_index); found != open_by_index_.end()) {
    open_.splice(open_.begin(), open_, found->second);
    return &open_.front().reader;
  }
  const shard::ShardInfo& info = plan_->manifest().shards[shard_index];
  if (info.leaves.size() != shard::LeafCount(info.bytes)) {
    return Differs(info, "it lists " + std::to_string(info.leaves.size()) + " leaves for " +
                             std::to_string(info.bytes) + " bytes");
  }
  const std::uint64_t bytes = ShardIndexBytes(plan_->manifest(), info);
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
  limits.block_bytes_max =
      std::min<std::uint64_t>(info.block_samples, info.samples) * sample_bytes_;
  limits.column_count_max = static_cast<std::uint32_t>(column_bytes_.size());
  DNC_ASSIGN(shard::ShardReader reader, shard::ShardReader::Open(source.get(), limits));
  DNC_TRY(CheckAgainstManifest(reader, shard_index));
  meter_.Add(bytes);
  open_bytes_ += bytes;
  open_.push_front({shard_index, bytes, std::move(source), std::move(reader)});
  open_by_index_[shard_index] = open_.begin();
  return &open_.front().reader;
}

Status WindowFiller::CheckAgainstManifest(const shard::ShardReader& reader,
                                          std::uint32_t shard_index) const {
  const shard::ShardInfo& info = plan_->manifest().shards[shard_index];
  const shard::ShardSummary& summary = reader.summary();
  if (summary.samples != info.samples || summary.block_samples != info.block_samples) {
    return Differs(info, "it has " + std::to_string(summary.samples) + " samples in blocks of " +
                             std::to_string(summary.block_samples) + ", not " +
                             std::to_string(info.samples) + " in blocks of " +
                             std::to_string(info.block_samples));
  }
  const std::vector<array::ColumnSpec>& columns = plan_->manifest().columns;
  if (summary.columns.size() != columns.size()) {
    return Differs(info, std::to_string(summary.columns.size()) + " columns, not " +
                             std::to_string(columns.size()));
  }
  for (std::size_t c = 0; c < columns.size(); ++c) {
    const array::ColumnSpec& found = summary.columns[c];
    if (found.name != columns[c].name || found.dtype != columns[c].dtype ||
        found.shape != columns[c].shape) {
      return Differs(info, "its column \"" + found.name + "\" is " + array::ColumnTypeText(found) +
                               ", not \"" + columns[c].name + "\" of " +
                               array::ColumnTypeText(columns[c]));
    }
  }
  return {};
}

}  // namespace dnc::stream
