// Decodes the windows that are visited, one after another, out of a store, within a
// budget: the work of a stream's thread, without the thread.
//
// Not thread-safe, but for the counters.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "shard/shard_reader.h"
#include "store/object_store.h"
#include "stream/leaf_cache.h"
#include "stream/leaf_keeper.h"
#include "stream/memory_meter.h"
#include "stream/memory_need.h"
#include "stream/verified_source.h"
#include "stream/visit.h"
#include "stream/window.h"

namespace dnc::stream {

// What each kind of memory may take.
struct FillerBudget {
  std::uint64_t memory_bytes = 0;  // The sum.
  std::uint64_t block_bytes = 0;
  std::uint64_t index_bytes = 0;
  std::uint64_t fixed_bytes = 0;  // All that is held from the beginning to the end.
  std::uint64_t leaf_bytes = 0;
  std::uint64_t leaf_count = 0;
};

// Gives what a need leaves over to indexes and then to leaves, kept for later blocks.
// Requires: need.total() <= memory_bytes.
FillerBudget SpreadMemory(const shard::Manifest& manifest, const std::string& split,
                          const MemoryNeed& need, std::uint64_t memory_bytes);

struct FillerOptions {
  FillerBudget budget;
  int connections = 0;
  const store::ObjectStore* neighbours = nullptr;
  // Leaves on disk, and when they are needed; null: none.
  LeafFile* disk = nullptr;
  LeafKeeper* keeper = nullptr;
  // Told, from the filler's thread, what went wrong without stopping it. May be empty.
  std::function<void(const std::string&)> warn;
};

class WindowFiller {
 public:
  // All of these must outlive the filler. Once `stop` is true, and Wake() was called, a
  // call of Fill fails soon.
  WindowFiller(const shard::Manifest* manifest, const store::ObjectStore* store,
               const FillerOptions& options, const std::atomic<bool>* stop);
  ~WindowFiller();
  WindowFiller(const WindowFiller&) = delete;
  WindowFiller& operator=(const WindowFiller&) = delete;

  // Decodes a window, and fetches ahead for `next` (may be null). Blocks that an
  // unreleased window holds are shared with it.
  // Requires: at most one window is unreleased, the one visited before.
  // Errors: kCorrupt, naming shard and leaf or block; kCancelled, `stop` became true;
  // kResourceExhausted, no memory; those of the store.
  Result<std::unique_ptr<Window>> Fill(const WindowVisit& visit, const WindowVisit* next);
  // Takes a window back; its blocks' memory is used again.
  void Release(std::unique_ptr<Window> window);
  void Wake() { leaves_.Wake(); }  // From any thread.

  LeafCounters leaf_counters() const { return leaves_.counters(); }
  std::uint64_t decoded_bytes() const { return decoded_bytes_.load(std::memory_order_relaxed); }
  std::uint64_t memory_peak_bytes() const { return meter_.peak(); }

 private:
  struct OpenShard {
    std::uint32_t shard_index;
    std::uint64_t index_bytes;
    std::unique_ptr<VerifiedSource> source;
    shard::ShardReader reader;
  };
  using BlockKey = std::pair<std::uint32_t, std::uint32_t>;  // Shard, block.

  LeafCacheOptions CacheOptions(const FillerOptions& options);
  Result<const shard::ShardReader*> Open(std::uint32_t shard_index);
  Status CheckAgainstManifest(const shard::ShardReader& reader, std::uint32_t shard_index) const;
  // A block of that many samples to decode into, its memory counted.
  Result<std::unique_ptr<HeldBlock>> TakeBlock(std::uint32_t shard_index, std::uint64_t samples);
  // Tells the cache which leaves are needed for these blocks, in order, and after them
  // for the next window's.
  void ExpectLeaves(std::span<const BlockSlice> slices, std::span<const BlockSlice> next);
  void AddLeaves(const BlockSlice& slice, std::vector<LeafRef>* leaves);
  // The blocks that a leaf has a part of, if its shard is open; else all of the shard.
  LeafBlocks BlocksOf(const LeafRef& ref) const;
  // Makes held_ hold the slice's block, decoded or shared, for one more window.
  Status Hold(const BlockSlice& slice);
  void Unhold(const HeldBlock* block);
  void Free(std::unique_ptr<HeldBlock> block);

  const shard::Manifest* manifest_;
  const FillerBudget budget_;
  LeafKeeper* keeper_;
  MemoryMeter meter_;
  LeafCache leaves_;
  const std::atomic<bool>* stop_;
  const std::vector<ColumnSize> columns_;
  const bool all_arrays_;
  shard::BlockDecoder decoder_;
  std::list<OpenShard> open_;  // Last used first.
  std::map<std::uint32_t, std::list<OpenShard>::iterator> open_by_index_;
  std::uint64_t open_bytes_ = 0;
  std::map<BlockKey, std::unique_ptr<HeldBlock>> held_;                    // By windows.
  std::map<std::uint64_t, std::vector<std::unique_ptr<HeldBlock>>> free_;  // By samples.
  std::uint64_t block_bytes_ = 0;  // Of held and free blocks.
  bool first_ = true;              // No window was filled yet.
  std::atomic<std::uint64_t> decoded_bytes_ = 0;
};

}  // namespace dnc::stream
