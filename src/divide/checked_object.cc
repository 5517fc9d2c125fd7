#include "divide/checked_object.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "base/hash.h"
#include "shard/content_id.h"

namespace dnc::divide {
namespace {

// The index at the end of a shard, and a block that lies across two leaves.
constexpr std::size_t kLeavesKept = 4;
constexpr int kAttemptsMax = 8;

}  // namespace

Result<ByteSpan> CheckedObject::Leaf(std::size_t leaf) const {
  DNC_ASSERT(leaf < shard_->leaves.size());
  const auto found = std::find_if(kept_.begin(), kept_.end(),
                                  [leaf](const Kept& kept) { return kept.leaf == leaf; });
  if (found != kept_.end()) {
    kept_.splice(kept_.begin(), kept_, found);
    return ByteSpan(kept_.front().bytes);
  }
  if (kept_.size() < kLeavesKept) {
    kept_.emplace_front();
  } else {
    kept_.splice(kept_.begin(), kept_, std::prev(kept_.end()));
  }
  Kept& kept = kept_.front();
  kept.leaf = SIZE_MAX;  // Until it is right.
  const std::uint64_t offset = leaf * shard::kLeafBytes;
  kept.bytes.resize(std::min(shard::kLeafBytes, shard_->bytes - offset));
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    DNC_TRY(store_->Read(shard_->cid, offset, kept.bytes));
    if (Sha256(kept.bytes) == shard_->leaves[leaf]) {
      kept.leaf = leaf;
      return ByteSpan(kept.bytes);
    }
    if (!store_->Reject(shard_->cid, offset)) break;
  }
  return Error{ErrorCode::kCorrupt, "shard " + shard_->cid + ": leaf " + std::to_string(leaf) +
                                        " (bytes " + std::to_string(offset) + " to " +
                                        std::to_string(offset + kept.bytes.size() - 1) +
                                        ") is not the one of the manifest: bytes were changed in " +
                                        store_->Describe()};
}

Status CheckedObject::ReadAt(std::uint64_t offset, std::span<std::byte> out) const {
  if (offset > shard_->bytes || out.size() > shard_->bytes - offset) {
    return Error{ErrorCode::kCorrupt, "shard " + shard_->cid + " has " +
                                          std::to_string(shard_->bytes) +
                                          " bytes, but bytes up to " +
                                          std::to_string(offset + out.size()) + " were wanted"};
  }
  while (!out.empty()) {
    const std::uint64_t leaf = offset / shard::kLeafBytes;
    const std::uint64_t begin = offset % shard::kLeafBytes;
    DNC_ASSIGN(const ByteSpan bytes, Leaf(leaf));
    const std::size_t count = std::min<std::size_t>(out.size(), bytes.size() - begin);
    std::memcpy(out.data(), bytes.data() + begin, count);
    out = out.subspan(count);
    offset += count;
  }
  return {};
}

}  // namespace dnc::divide
