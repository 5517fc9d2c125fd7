// Leaves in memory on their way from a store to the decoder: asked for ahead, fetched by
// several connections at once, checked against the manifest before any of their bytes is
// used, kept as long as there is room. A leaf that is wrong is fetched again from another
// mirror. Leaves that go may be kept on disk (leaf_keeper.h) and come back from there.
//
// Blocks of a store on this machine are read past the cache and checked by their checksums
// alone, which stand in an index that was hashed (docs/decisions/0005).
//
// The methods belong to one thread, but for the counters; connections are its own
// threads. Without connections a leaf is read when it is waited for.

#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "shard/manifest.h"
#include "store/object_store.h"
#include "stream/leaf_file.h"
#include "stream/memory_meter.h"

namespace dnc::stream {

// Leaves hashed together at most (base/sha256_many.h).
inline constexpr std::uint64_t kLeafBatch = 8;

// `shard_index` tells shards apart.
struct LeafRef {
  const shard::ShardInfo* shard = nullptr;
  std::uint32_t shard_index = 0;
  std::uint64_t leaf = 0;

  const Digest& digest() const { return shard->leaves[leaf]; }
  friend bool operator==(const LeafRef&, const LeafRef&) = default;
};

// Bytes of one leaf of a shard.
std::uint64_t LeafSize(const shard::ShardInfo& shard, std::uint64_t leaf);

struct LeafCacheOptions {
  std::uint64_t leaf_bytes = 0;      // Of the longest leaf that will be asked for.
  std::uint64_t leaf_count_max = 1;  // Kept; at least 1.
  int connections = 0;
  // Holds some leaves under their own ids, and is asked before the store; null: nobody.
  const store::ObjectStore* neighbours = nullptr;
  const LeafFile* disk = nullptr;  // Where leaves may lie; null: nowhere.
  // Called with leaves of right bytes that leave the memory, and with those on disk that
  // turned out to be wrong. May be empty.
  std::function<void(const LeafRef&, ByteSpan)> on_evict;
  std::function<void(const LeafRef&)> on_wrong_on_disk;
};

struct LeafCounters {
  std::uint64_t fetched_bytes = 0;  // From the store.
  std::uint64_t neighbour_bytes = 0;
  std::uint64_t disk_bytes = 0;  // From the disk.
  std::uint64_t rejected = 0;    // Leaves wrong at one mirror.
  Duration fetching;             // Time in which at least one read of the store ran.
};

class LeafCache {
 public:
  // `store`, `meter` and `stop` must outlive the cache. `meter` counts the leaves held;
  // once `stop` is true every call fails with kCancelled.
  LeafCache(const store::ObjectStore* store, LeafCacheOptions options, MemoryMeter* meter,
            const std::atomic<bool>* stop);
  ~LeafCache();
  LeafCache(const LeafCache&) = delete;
  LeafCache& operator=(const LeafCache&) = delete;

  // Says which leaves are needed, the first one first, and begins to fetch them, as many
  // as there is room for. Others go for them; the least lately needed first.
  void Expect(std::span<const LeafRef> refs);
  // A leaf's bytes, valid until the next call of Expect, Get or Read. Waits for it.
  // Requires: leaf < shard->leaves.size().
  // Errors: kCorrupt, the bytes are not those of the manifest anywhere, naming shard and
  // leaf; kCancelled; those of the store.
  Result<ByteSpan> Get(const LeafRef& ref);
  // Fills `out` with bytes of a shard from `offset` on straight from the store, unhashed.
  // Requires: the store is local.
  // Errors: those of the store.
  Status ReadUnhashed(const shard::ShardInfo& shard, std::uint64_t offset,
                      std::span<std::byte> out);
  // Whether Get would not wait.
  bool Has(const LeafRef& ref);
  // Wakes a thread that waits in Get, so that it sees `stop`. From any thread.
  void Wake();

  bool local() const { return store_->local(); }
  std::uint64_t leaf_count_max() const { return options_.leaf_count_max; }
  LeafCounters counters() const;  // From any thread.

 private:
  using Key = std::pair<std::uint32_t, std::uint64_t>;  // Shard index, leaf.
  enum class State {
    kEmpty,
    kOnDisk,   // To be read from there.
    kQueued,   // To be read from the store.
    kReading,  // A connection reads it.
    kRead,     // Its bytes are here, unchecked.
    kFailed,
    kReady,
  };
  struct Entry {
    State state = State::kEmpty;
    LeafRef ref;
    std::uint64_t bytes = 0;
    std::byte* buffer = nullptr;
    std::uint64_t used = 0;  // When it was last asked for.
    bool from_disk = false;
    bool from_neighbour = false;
    int rejections = 0;
    Status failure;
  };

  static Key KeyOf(const LeafRef& ref) { return {ref.shard_index, ref.leaf}; }
  Entry* Find(const LeafRef& ref);
  // An entry for a leaf that has none, not one that was asked for at `clock_`; null if
  // there is none to spare.
  Entry* Take(std::unique_lock<std::mutex>* lock, const LeafRef& ref);
  void Enqueue(Entry* entry);
  void Reset(Entry* entry);
  // Reads leaves that no connection reads: from the disk, or all.
  void ReadHere(std::unique_lock<std::mutex>* lock, Entry* first);
  void ReadFromStore(std::unique_lock<std::mutex>* lock, Entry* entry);
  // Whether a neighbour had it.
  bool ReadFromNeighbour(std::unique_lock<std::mutex>* lock, Entry* entry);
  // Checks what was read, `first` and others.
  void Verify(std::unique_lock<std::mutex>* lock, Entry* first);
  Status Refuse(Entry* entry, const Digest& found);
  void RunConnection();

  const store::ObjectStore* store_;
  const LeafCacheOptions options_;
  MemoryMeter* meter_;
  const std::atomic<bool>* stop_;
  std::unique_ptr<std::byte[]> buffers_;  // The meter counts those that were used.

  mutable std::mutex mutex_;
  std::condition_variable work_;   // For connections.
  std::condition_variable there_;  // For the caller.
  // Under mutex_; but the bytes of an entry belong to whoever its state says.
  std::vector<Entry> entries_;
  std::map<Key, Entry*> by_key_;
  std::deque<Entry*> queue_;
  std::uint64_t clock_ = 0;
  bool stopping_ = false;
  int reading_ = 0;
  Instant reading_since_;
  LeafCounters counters_;
  // After a failure neighbours are left alone for a while, longer each time.
  Instant neighbours_rest_until_{INT64_MIN};
  int neighbour_failures_ = 0;

  std::vector<std::thread> connections_;  // Last: they start when all else is there.
};

}  // namespace dnc::stream
