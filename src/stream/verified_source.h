// Shards read leaf by leaf out of a store, each leaf checked against the manifest
// before any of its bytes is used or handed on. The last leaves are kept, as many
// as the caller allows, so that blocks which share a leaf fetch it once.
//
// Not thread-safe: a LeafCache and the sources over it belong to one thread.

#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "base/random_access_source.h"
#include "base/result.h"
#include "shard/manifest.h"
#include "store/object_store.h"
#include "stream/memory_meter.h"

namespace dnc::stream {

struct LeafCacheOptions {
  std::uint64_t leaf_bytes = 0;      // Of the longest leaf that will be asked for.
  std::uint64_t leaf_count_max = 1;  // Kept; at least 1.
};

// Leaves fetched together at most: as many as are hashed together.
inline constexpr std::uint64_t kLeafBatch = 8;

// `shard_index` tells shards apart.
struct LeafRef {
  const shard::ShardInfo* shard = nullptr;
  std::uint32_t shard_index = 0;
  std::uint64_t leaf = 0;

  friend bool operator==(const LeafRef&, const LeafRef&) = default;
};

class LeafCache {
 public:
  // All three must outlive the cache. `meter` counts the leaves held; once `stop`
  // is true every call fails with kCancelled.
  LeafCache(const store::ObjectStore* store, const LeafCacheOptions& options, MemoryMeter* meter,
            const std::atomic<bool>* stop);
  ~LeafCache();
  LeafCache(const LeafCache&) = delete;
  LeafCache& operator=(const LeafCache&) = delete;

  // A leaf's bytes, valid until the next call.
  // Requires: leaf < shard->leaves.size().
  // Errors: kCorrupt, the bytes are not those of the manifest, naming shard and
  // leaf; kCancelled; those of the store.
  Result<ByteSpan> Get(const LeafRef& ref);
  // Fetches leaves that will be asked for and keeps them, up to kLeafBatch at a time,
  // since several are hashed faster together (base/sha256_many.h).
  // Requires: at most leaf_count_max leaves, each one once.
  // Errors: as Get.
  Status Prefetch(std::span<const LeafRef> leaves);
  // Reads a whole leaf into `out` without keeping it, unless it is kept already.
  // After an error `out` holds bytes that must not be used.
  Status ReadWhole(const LeafRef& ref, std::span<std::byte> out);

  bool Has(const LeafRef& ref) const { return by_key_.contains({ref.shard_index, ref.leaf}); }
  std::uint64_t leaf_count_max() const { return options_.leaf_count_max; }
  std::uint64_t fetched_bytes() const { return fetched_bytes_.load(std::memory_order_relaxed); }

 private:
  using Key = std::pair<std::uint32_t, std::uint64_t>;  // Shard index, leaf.
  struct Entry {
    Key key;
    std::uint64_t bytes = 0;
    std::byte* buffer = nullptr;  // leaf_bytes of buffers_.
  };

  Status FetchBatch(std::span<const LeafRef> missing);
  Status Fetch(const LeafRef& ref, std::span<std::byte> out);
  Status Check(const LeafRef& ref, const Digest& digest) const;
  // An unused entry at the front of the list: a new one, or the one that was not
  // asked for the longest.
  void TakeEntry();

  const store::ObjectStore* store_;
  LeafCacheOptions options_;
  MemoryMeter* meter_;
  const std::atomic<bool>* stop_;
  // Of all leaves that may be kept; the meter counts those that were used.
  std::unique_ptr<std::byte[]> buffers_;
  std::list<Entry> entries_;  // Last used first.
  std::map<Key, std::list<Entry>::iterator> by_key_;
  std::atomic<std::uint64_t> fetched_bytes_ = 0;
};

class VerifiedSource final : public RandomAccessSource {
 public:
  // Both must outlive the source.
  VerifiedSource(const shard::ShardInfo* shard, std::uint32_t shard_index, LeafCache* leaves);

  std::uint64_t size() const override { return shard_->bytes; }
  // Errors: kCorrupt, past the end; those of LeafCache::Get.
  Status ReadAt(std::uint64_t offset, std::span<std::byte> out) const override;
  const std::string& name() const override { return name_; }

 private:
  const shard::ShardInfo* shard_;
  std::uint32_t shard_index_;
  LeafCache* leaves_;
  std::string name_;
};

}  // namespace dnc::stream
