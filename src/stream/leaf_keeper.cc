#include "stream/leaf_keeper.h"

#include "base/assert.h"

namespace dnc::stream {

LeafKeeper::LeafKeeper(LeafFile* file, std::uint64_t now, Need need,
                       const std::function<std::uint32_t(const Digest&)>& shard_of)
    : file_(file),
      need_(std::move(need)),
      now_(now),
      kept_(file->slot_count()),
      digests_(file->slot_count()) {
  const std::vector<StoredLeaf> leaves = file->Contents();
  for (std::uint32_t slot = file->slot_count(); slot-- > 0;) {
    const StoredLeaf& leaf = leaves[slot];
    if (leaf.bytes == 0) {
      empty_.push_back(slot);  // The first slots are taken first: the file stays short.
      continue;
    }
    Kept& kept = kept_[slot];
    const std::uint32_t shard_index = shard_of(leaf.digest);
    kept.ours = shard_index != UINT32_MAX;
    kept.blocks = {shard_index, leaf.first_block, leaf.last_block};
    digests_[slot] = leaf.digest;
    slot_of_[leaf.digest] = slot;
    kept.need = kept.ours ? need_(kept.blocks, now) : kNever;
    by_need_.insert({kept.need, slot});
  }
}

void LeafKeeper::SetNeed(std::uint32_t slot, std::uint64_t need) {
  by_need_.erase({kept_[slot].need, slot});
  kept_[slot].need = need;
  by_need_.insert({need, slot});
}

void LeafKeeper::Advance(std::uint64_t now) {
  now_ = now;
  while (!by_need_.empty() && by_need_.begin()->first < now) {
    const std::uint32_t slot = by_need_.begin()->second;
    SetNeed(slot, need_(kept_[slot].blocks, now));
  }
}

Status LeafKeeper::Offer(const Digest& digest, ByteSpan bytes, const LeafBlocks& blocks) {
  // What the window of now needed of it, it has had.
  const std::uint64_t need = need_(blocks, now_ + 1);
  if (const auto found = slot_of_.find(digest); found != slot_of_.end()) {
    kept_[found->second].blocks = blocks;
    kept_[found->second].ours = true;
    SetNeed(found->second, need);
    return {};
  }
  if (failed_ || bytes.empty()) return {};
  std::uint32_t slot;
  if (!empty_.empty()) {
    slot = empty_.back();
    empty_.pop_back();
  } else {
    DNC_ASSERT(!by_need_.empty());
    const auto latest = std::prev(by_need_.end());
    if (latest->first <= need) return {};
    slot = latest->second;
    by_need_.erase(latest);
    slot_of_.erase(digests_[slot]);
  }
  const StoredLeaf leaf{digest, static_cast<std::uint32_t>(bytes.size()), blocks.first_block,
                        blocks.last_block};
  if (const Status written = file_->Write(slot, leaf, bytes); !written.ok()) {
    failed_ = true;
    empty_.push_back(slot);
    return written;
  }
  kept_[slot] = {blocks, true, need};
  digests_[slot] = digest;
  slot_of_[digest] = slot;
  by_need_.insert({need, slot});
  return {};
}

void LeafKeeper::Drop(const Digest& digest) {
  const auto found = slot_of_.find(digest);
  if (found == slot_of_.end()) return;
  const std::uint32_t slot = found->second;
  slot_of_.erase(found);
  by_need_.erase({kept_[slot].need, slot});
  empty_.push_back(slot);
  // An error leaves a record of wrong bytes, which the next reader finds out again.
  static_cast<void>(file_->Clear(slot));
}

}  // namespace dnc::stream
