// A shard as a RandomAccessSource whose bytes are checked: it is read leaf by leaf through
// a LeafCache, hashed; or, where its reader checks the bytes itself, as they lie on this
// machine. Belongs to the cache's thread.

#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/random_access_source.h"
#include "base/result.h"
#include "shard/manifest.h"
#include "stream/leaf_cache.h"

namespace dnc::stream {

class VerifiedSource final : public RandomAccessSource {
 public:
  // Both must outlive the source.
  VerifiedSource(const shard::ShardInfo* shard, std::uint32_t shard_index, LeafCache* leaves);

  std::uint64_t size() const override { return shard_->bytes; }
  // Errors: kCorrupt, past the end; those of LeafCache::Get.
  Status ReadAt(std::uint64_t offset, std::span<std::byte> out) const override;
  const std::string& name() const override { return name_; }
  // Says that what is read from now on are blocks, whose checksums the reader has and
  // compares.
  void ReadBlocksOnly() { blocks_only_ = true; }

 private:
  const shard::ShardInfo* shard_;
  std::uint32_t shard_index_;
  LeafCache* leaves_;
  bool blocks_only_ = false;
  std::string name_;
};

}  // namespace dnc::stream
