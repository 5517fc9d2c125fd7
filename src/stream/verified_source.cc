#include "stream/verified_source.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/assert.h"
#include "base/hash.h"
#include "base/sha256_many.h"
#include "shard/content_id.h"
#include "stream/huge_pages.h"

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
  const std::size_t bytes = options.leaf_count_max * options.leaf_bytes;
  buffers_ = std::make_unique_for_overwrite<std::byte[]>(bytes);
  PreferHugePages(buffers_.get(), bytes);
}

LeafCache::~LeafCache() { meter_->Take(entries_.size() * options_.leaf_bytes); }

Status LeafCache::Fetch(const LeafRef& ref, std::span<std::byte> out) {
  if (stop_->load(std::memory_order_relaxed)) {
    return Error{ErrorCode::kCancelled, "loading was stopped"};
  }
  DNC_TRY(store_->Read(ref.shard->cid, ref.leaf * shard::kLeafBytes, out));
  fetched_bytes_.fetch_add(out.size(), std::memory_order_relaxed);
  return {};
}

Status LeafCache::Check(const LeafRef& ref, const Digest& digest) const {
  const Digest& expected = ref.shard->leaves[ref.leaf];
  if (digest == expected) return {};
  const std::uint64_t offset = ref.leaf * shard::kLeafBytes;
  return Error{ErrorCode::kCorrupt,
               "shard " + ref.shard->cid + ", leaf " + std::to_string(ref.leaf) + " (bytes " +
                   std::to_string(offset) + " to " +
                   std::to_string(offset + LeafSize(*ref.shard, ref.leaf) - 1) + ") in " +
                   store_->Describe() + ": its SHA-256 is " + digest.Hex() +
                   ", but the manifest says " + expected.Hex() +
                   "; fetch or divide the shard again"};
}

void LeafCache::TakeEntry() {
  if (entries_.size() < options_.leaf_count_max) {
    meter_->Add(options_.leaf_bytes);
    entries_.push_front({{}, 0, buffers_.get() + entries_.size() * options_.leaf_bytes});
    return;
  }
  if (entries_.back().bytes > 0) by_key_.erase(entries_.back().key);
  entries_.back().bytes = 0;
  entries_.splice(entries_.begin(), entries_, std::prev(entries_.end()));
}

Status LeafCache::Prefetch(std::span<const LeafRef> leaves) {
  DNC_ASSERT(leaves.size() <= options_.leaf_count_max);
  std::vector<LeafRef> missing;
  for (const LeafRef& ref : leaves) {
    if (const auto found = by_key_.find({ref.shard_index, ref.leaf}); found != by_key_.end()) {
      entries_.splice(entries_.begin(), entries_, found->second);
    } else {
      missing.push_back(ref);
    }
  }
  std::span<const LeafRef> rest = missing;
  while (!rest.empty()) {
    const std::size_t count = std::min<std::size_t>(rest.size(), kLeafBatch);
    DNC_TRY(FetchBatch(rest.first(count)));
    rest = rest.subspan(count);
  }
  return {};
}

Status LeafCache::FetchBatch(std::span<const LeafRef> missing) {
  // On an error the entries stay without a key, to be taken again.
  std::vector<std::list<Entry>::iterator> taken;
  std::vector<ByteSpan> contents;
  for (const LeafRef& ref : missing) {
    const std::uint64_t bytes = LeafSize(*ref.shard, ref.leaf);
    DNC_ASSERT(bytes > 0 && bytes <= options_.leaf_bytes);
    TakeEntry();
    taken.push_back(entries_.begin());
    const std::span<std::byte> out(entries_.front().buffer, bytes);
    DNC_TRY(Fetch(ref, out));
    contents.push_back(out);
  }
  std::vector<Digest> digests(missing.size());
  Sha256Many(contents, digests);
  for (std::size_t i = 0; i < missing.size(); ++i) {
    DNC_TRY(Check(missing[i], digests[i]));
    Entry& entry = *taken[i];
    entry.key = {missing[i].shard_index, missing[i].leaf};
    entry.bytes = contents[i].size();
    by_key_[entry.key] = taken[i];
  }
  return {};
}

Result<ByteSpan> LeafCache::Get(const LeafRef& ref) {
  DNC_TRY(Prefetch(std::span(&ref, 1)));
  const Entry& entry = entries_.front();
  return ByteSpan(entry.buffer, entry.bytes);
}

Status LeafCache::ReadWhole(const LeafRef& ref, std::span<std::byte> out) {
  if (Has(ref)) {
    DNC_ASSIGN(const ByteSpan bytes, Get(ref));
    std::memcpy(out.data(), bytes.data(), out.size());
    return {};
  }
  DNC_TRY(Fetch(ref, out));
  return Check(ref, Sha256(out));
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
      DNC_TRY(leaves_->ReadWhole({shard_, shard_index_, leaf}, out.first(count)));
    } else {
      DNC_ASSIGN(const ByteSpan bytes, leaves_->Get({shard_, shard_index_, leaf}));
      std::memcpy(out.data(), bytes.data() + begin, count);
    }
    offset += count;
    out = out.subspan(count);
  }
  return {};
}

}  // namespace dnc::stream
