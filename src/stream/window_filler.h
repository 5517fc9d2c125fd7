// Decodes the windows of a plan, one after another, out of a store, within a
// budget: the work of the loader's thread, without the thread.
//
// Not thread-safe, but for the two counters.

#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "shard/shard_reader.h"
#include "store/object_store.h"
#include "stream/memory_meter.h"
#include "stream/memory_need.h"
#include "stream/plan.h"
#include "stream/verified_source.h"
#include "stream/window.h"

namespace dnc::stream {

class WindowFiller {
 public:
  // `plan`, its manifest, `store` and `stop` must outlive the filler.
  // Requires: memory_bytes >= MemoryNeedOf(*plan).total().
  WindowFiller(const Plan* plan, const store::ObjectStore* store, std::uint64_t memory_bytes,
               const std::atomic<bool>* stop);
  ~WindowFiller();
  WindowFiller(const WindowFiller&) = delete;
  WindowFiller& operator=(const WindowFiller&) = delete;

  // Decodes a window. Blocks that an unreleased window holds are shared with it.
  // Requires: at most one window is unreleased, the one before `window`.
  // Errors: kCorrupt, naming shard and leaf or block; kCancelled, `stop` became
  // true; those of the store.
  Result<std::unique_ptr<Window>> Fill(std::uint64_t window);
  // Takes a window back; its blocks' memory is used again.
  void Release(std::unique_ptr<Window> window);

  std::uint64_t fetched_bytes() const { return leaves_.fetched_bytes(); }
  std::uint64_t decoded_bytes() const { return decoded_bytes_.load(std::memory_order_relaxed); }
  std::uint64_t memory_peak_bytes() const { return meter_.peak(); }

 private:
  struct OpenShard {
    std::uint32_t shard_index;
    std::uint64_t index_bytes;
    std::unique_ptr<VerifiedSource> source;
    shard::ShardReader reader;
  };
  // What each kind of memory may take. Beyond what the plan needs, indexes and then
  // leaves are kept for later blocks.
  struct Budget {
    std::uint64_t block_bytes = 0;
    std::uint64_t index_bytes = 0;
    std::uint64_t fixed_bytes = 0;  // Decoder and tables.
    LeafCacheOptions leaves;
  };

  static Budget BudgetOf(const Plan& plan, std::uint64_t memory_bytes);
  WindowFiller(const Plan* plan, const store::ObjectStore* store, std::uint64_t memory_bytes,
               const Budget& budget, const std::atomic<bool>* stop);

  Result<const shard::ShardReader*> Open(std::uint32_t shard_index);
  Status CheckAgainstManifest(const shard::ShardReader& reader, std::uint32_t shard_index) const;
  // A block of that many samples to decode into, its memory reserved.
  std::unique_ptr<HeldBlock> TakeBlock(std::uint64_t samples);
  // The slices of a window in the order of their bytes, so that neighbours share a
  // leaf while it is there and each shard's index is read once.
  std::vector<BlockSlice> SlicesByPlace(std::uint64_t window) const;
  // Fetches the leaves of as many of these blocks as fit into the cache together,
  // from the first one on, and returns their number. If that is all, and there is
  // room, the batch is filled up with leaves of the window after `window`.
  Result<std::size_t> PrefetchLeaves(std::span<const BlockSlice> slices, std::uint64_t window);
  void AddLeaves(const BlockSlice& slice, const shard::ShardReader& reader,
                 std::vector<LeafRef>* leaves) const;
  void AddLeavesAhead(std::uint64_t window, std::vector<LeafRef>* leaves) const;
  // Makes held_ hold the slice's block, decoded or shared, for one more window.
  Status Hold(const BlockSlice& slice);
  void Free(std::unique_ptr<HeldBlock> block);

  const Plan* plan_;
  Budget budget_;
  MemoryMeter meter_;
  LeafCache leaves_;
  const std::atomic<bool>* stop_;
  std::vector<std::size_t> column_bytes_;
  std::uint64_t sample_bytes_;
  shard::BlockDecoder decoder_;
  std::list<OpenShard> open_;  // Last used first.
  std::map<std::uint32_t, std::list<OpenShard>::iterator> open_by_index_;
  std::uint64_t open_bytes_ = 0;
  // Held by windows, by (shard, block).
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::unique_ptr<HeldBlock>> held_;
  std::map<std::uint64_t, std::vector<std::unique_ptr<HeldBlock>>> free_;  // By samples.
  std::uint64_t block_bytes_ = 0;  // Of held and free blocks.
  std::atomic<std::uint64_t> decoded_bytes_ = 0;
};

}  // namespace dnc::stream
