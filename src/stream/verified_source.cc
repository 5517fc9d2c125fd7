#include "stream/verified_source.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "base/hash.h"
#include "shard/content_id.h"

namespace dnc::stream {
namespace {

std::uint64_t LeafSize(const shard::ShardInfo& shard, std::uint64_t leaf) {
  return std::min(shard::kLeafBytes, shard.bytes - leaf * shard::kLeafBytes);
}

}  // namespace

LeafCache::LeafCache(const store::ObjectStore* store, const LeafCacheOptions& options,
                     MemoryMeter* meter, const std::atomic<bool>* stop)
    : store_(store), options_(options), meter_(meter), stop_(stop) {
  DNC_ASSERT(options.leaf_count_max > 0);
}

LeafCache::~LeafCache() { meter_->Take(entries_.size() * options_.leaf_bytes); }

Status LeafCache::Fetch(const shard::ShardInfo& shard, std::uint64_t leaf,
                        std::span<std::byte> out) {
  if (stop_->load(std::memory_order_relaxed)) {
    return Error{ErrorCode::kCancelled, "loading was stopped"};
  }
  const std::uint64_t offset = leaf * shard::kLeafBytes;
  DNC_TRY(store_->Read(shard.cid, offset, out));
  fetched_bytes_.fetch_add(out.size(), std::memory_order_relaxed);
  const Digest digest = Sha256(out);
  if (digest == shard.leaves[leaf]) return {};
  return Error{ErrorCode::kCorrupt, "shard " + shard.cid + ", leaf " + std::to_string(leaf) +
                                        " (bytes " + std::to_string(offset) + " to " +
                                        std::to_string(offset + out.size() - 1) + ") in " +
                                        store_->Describe() + ": its SHA-256 is " + digest.Hex() +
                                        ", but the manifest says " + shard.leaves[leaf].Hex() +
                                        "; fetch or divide the shard again"};
}

void LeafCache::TakeEntry() {
  if (entries_.size() < options_.leaf_count_max) {
    meter_->Add(options_.leaf_bytes);
    entries_.push_front({{}, 0, std::make_unique_for_overwrite<std::byte[]>(options_.leaf_bytes)});
    return;
  }
  if (entries_.back().bytes > 0) by_key_.erase(entries_.back().key);
  entries_.back().bytes = 0;
  entries_.splice(entries_.begin(), entries_, std::prev(entries_.end()));
}

Result<ByteSpan> LeafCache::Get(const shard::ShardInfo& shard, std::uint32_t shard_index,
                                std::uint64_t leaf) {
  const Key key{shard_index, leaf};
  if (const auto found = by_key_.find(key); found != by_key_.end()) {
    entries_.splice(entries_.begin(), entries_, found->second);
    return ByteSpan(found->second->buffer.get(), found->second->bytes);
  }
  const std::uint64_t bytes = LeafSize(shard, leaf);
  DNC_ASSERT(bytes > 0 && bytes <= options_.leaf_bytes);
  TakeEntry();
  Entry& entry = entries_.front();
  // On an error the entry stays without a key, to be taken again.
  DNC_TRY(Fetch(shard, leaf, {entry.buffer.get(), bytes}));
  entry.key = key;
  entry.bytes = bytes;
  by_key_[key] = entries_.begin();
  return ByteSpan(entry.buffer.get(), bytes);
}

Status LeafCache::ReadWhole(const shard::ShardInfo& shard, std::uint32_t shard_index,
                            std::uint64_t leaf, std::span<std::byte> out) {
  if (by_key_.contains({shard_index, leaf})) {
    DNC_ASSIGN(const ByteSpan bytes, Get(shard, shard_index, leaf));
    std::memcpy(out.data(), bytes.data(), out.size());
    return {};
  }
  return Fetch(shard, leaf, out);
}

VerifiedSource::VerifiedSource(const shard::ShardInfo* shard, std::uint32_t shard_index,
                               LeafCache* leaves)
    : shard_(shard), shard_index_(shard_index), leaves_(leaves), name_("shard " + shard->cid) {}

Status VerifiedSource::ReadAt(std::uint64_t offset, std::span<std::byte> out) const {
  if (offset > shard_->bytes || out.size() > shard_->bytes - offset) {
    return Error{ErrorCode::kCorrupt, name_ + ": " + std::to_string(out.size()) +
                                          " bytes wanted at " + std::to_string(offset) +
                                          ", but the manifest says that it has " +
                                          std::to_string(shard_->bytes)};
  }
  while (!out.empty()) {
    const std::uint64_t leaf = offset / shard::kLeafBytes;
    const std::uint64_t begin = offset % shard::kLeafBytes;
    const std::uint64_t leaf_bytes = LeafSize(*shard_, leaf);
    const std::size_t count = std::min<std::uint64_t>(out.size(), leaf_bytes - begin);
    if (count == leaf_bytes) {
      DNC_TRY(leaves_->ReadWhole(*shard_, shard_index_, leaf, out.first(count)));
    } else {
      DNC_ASSIGN(const ByteSpan bytes, leaves_->Get(*shard_, shard_index_, leaf));
      std::memcpy(out.data(), bytes.data() + begin, count);
    }
    offset += count;
    out = out.subspan(count);
  }
  return {};
}

}  // namespace dnc::stream
