// Leaves of shards on the provider's disk, so that the next epoch need not fetch
// them again. A leaf (at most 1 MiB, shard/content_id.h) is a file named by its
// SHA-256, and is checked by it at every read: a file that was damaged or changed
// counts as absent and is removed.
//
// The files never take more than the budget, at any instant, a file being written
// included; room is made before a write, by removing the leaf that was not used for
// the longest time. Only files that a cache created are removed.
//
// Several processes may be given one folder: each locks a sub-folder of its own
// ("leaves-0", "leaves-1", ...). What a process that has ended left behind is taken
// over by the next one, up to its budget; the rest of it is removed.
//
// Thread-safe.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/result.h"
#include "shard/manifest.h"
#include "store/object_store.h"

namespace dnc::provider {

struct LeafCacheStatistics {
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::uint64_t evictions = 0;
  std::uint64_t damaged = 0;     // Files that did not match their name.
  std::uint64_t disk_bytes = 0;  // In use now, in whole blocks of the file system.
  std::uint64_t disk_bytes_peak = 0;
};

class LeafCache {
 public:
  // Opens the cache in `folder`, which is created if it is missing. `disk_bytes` 0
  // keeps nothing and touches no disk.
  // Errors: kIo, the folder cannot be used; kResourceExhausted, 1000 processes use it.
  static Result<std::unique_ptr<LeafCache>> Open(const std::string& folder,
                                                 std::uint64_t disk_bytes);
  ~LeafCache();  // Leaves the files for the next run.
  LeafCache(const LeafCache&) = delete;
  LeafCache& operator=(const LeafCache&) = delete;

  // Fills all of `out` with the leaf of that hash and length; false if it is not there.
  bool Get(const Digest& leaf, std::span<std::byte> out);

  // Keeps a leaf, if it fits into the budget at all. A full or failing disk is not an
  // error: the leaf is then fetched again when it is needed.
  // Requires: Sha256(bytes) == leaf, which the caller has checked.
  void Put(const Digest& leaf, ByteSpan bytes);

  LeafCacheStatistics statistics() const;
  // The sub-folder in use; empty without a disk cache.
  const std::string& folder() const { return folder_; }

 private:
  struct Entry {
    std::uint64_t disk_bytes = 0;
    std::uint64_t last_use = 0;  // Key of by_use_.
  };

  LeafCache() = default;
  Status Adopt();
  std::string PathOf(const Digest& leaf) const;
  void Touch(const Digest& leaf, Entry* entry);
  bool MakeRoom(std::uint64_t bytes);
  bool Remove(const Digest& leaf);

  std::uint64_t budget_ = 0;
  std::string folder_;
  int lock_fd_ = -1;

  mutable std::mutex mutex_;  // Guards all below, and the files.
  std::map<Digest, Entry> entries_;
  std::map<std::uint64_t, Digest> by_use_;  // The oldest use first.
  std::uint64_t next_use_ = 1;
  LeafCacheStatistics statistics_;
};

// Reads `out.size()` bytes of the object `cid` at `offset`, from wherever it lies.
using RangeReader =
    std::function<Status(const std::string& cid, std::uint64_t offset, std::span<std::byte> out)>;

// The shards of a manifest as an ObjectStore to read from: leaf by leaf, out of the
// cache or through `fetch`. Nothing that it returns has not been checked against the
// manifest's leaf hashes. Writing and deleting are refused.
//
// Errors of Read: kNotFound, not a shard of the manifest; kCorrupt, past its end, or
// a leaf that `fetch` gave twice with wrong bytes; those of `fetch`.
class CachedShards final : public store::ObjectStore {
 public:
  // `manifest` and `cache` must outlive it.
  CachedShards(const shard::Manifest* manifest, LeafCache* cache, RangeReader fetch);

  Result<std::unique_ptr<store::ObjectWriter>> Create() override;
  Result<std::uint64_t> Size(const std::string& key) const override;
  Status Read(const std::string& key, std::uint64_t offset,
              std::span<std::byte> out) const override;
  Status Delete(const std::string& key) override;
  Result<std::vector<std::string>> List() const override;
  std::string Describe() const override;

 private:
  Result<const shard::ShardInfo*> Find(const std::string& key) const;
  Status ReadLeaf(const shard::ShardInfo& shard, std::uint64_t leaf_index,
                  std::span<std::byte> out) const;

  const shard::Manifest* manifest_;
  LeafCache* cache_;
  RangeReader fetch_;
  std::map<std::string, std::uint32_t, std::less<>> shard_indices_;
};

}  // namespace dnc::provider
