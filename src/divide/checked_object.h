// An object of a store that is read by leaves, each checked against its hash before a
// byte of it is used. A wrong leaf is asked for again, from another mirror where there
// is one. The last leaves are kept in memory. Not thread-safe.

#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>

#include "base/random_access_source.h"
#include "base/result.h"
#include "shard/manifest.h"
#include "store/object_store.h"

namespace dnc::divide {

class CheckedObject final : public RandomAccessSource {
 public:
  // Both must outlive it.
  CheckedObject(const store::ObjectStore* store, const shard::ShardInfo* shard)
      : store_(store), shard_(shard) {}

  std::uint64_t size() const override { return shard_->bytes; }
  const std::string& name() const override { return shard_->cid; }
  // Errors: kCorrupt, the store (and every mirror) has other bytes; those of the store.
  Status ReadAt(std::uint64_t offset, std::span<std::byte> out) const override;
  // A whole leaf, valid until the next read. Requires: leaf < shard.leaves.size().
  Result<ByteSpan> Leaf(std::size_t leaf) const;

 private:
  struct Kept {
    std::size_t leaf = 0;
    Bytes bytes;
  };

  const store::ObjectStore* store_;
  const shard::ShardInfo* shard_;
  mutable std::list<Kept> kept_;  // The last used first.
};

}  // namespace dnc::divide
