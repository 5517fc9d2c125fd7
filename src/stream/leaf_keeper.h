// Decides which leaves stay on disk, since the future is known: of all that are there
// and the one that is offered, the one that is needed latest goes. Leaves that a stream
// will not need again go first of all.
//
// Not thread-safe; its file is.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "stream/leaf_file.h"

namespace dnc::stream {

// A leaf of a shard of the manifest, with the blocks that it has a part of.
struct LeafBlocks {
  std::uint32_t shard_index = 0;
  std::uint32_t first_block = 0;
  std::uint32_t last_block = 0;
};

class LeafKeeper {
 public:
  inline static constexpr std::uint64_t kNever = UINT64_MAX;
  // When a leaf is needed next, from `from` on: larger is later.
  using Need = std::function<std::uint64_t(const LeafBlocks&, std::uint64_t from)>;

  // `file` must outlive the keeper. `shard_of` tells to which shard of the manifest a
  // leaf that is already there belongs; UINT32_MAX: to none, so that it goes first.
  LeafKeeper(LeafFile* file, std::uint64_t now, Need need,
             const std::function<std::uint32_t(const Digest&)>& shard_of);

  // Says that needs before `now` have passed: leaves that were needed then are asked for
  // anew.
  void Advance(std::uint64_t now);
  // Keeps a leaf, if it is needed before another that goes for it. A leaf that is there
  // already stays, its need brought up to date. After a failure of the disk nothing more
  // is kept.
  // Errors: those of LeafFile::Write, once.
  Status Offer(const Digest& digest, ByteSpan bytes, const LeafBlocks& blocks);
  // Forgets a leaf whose bytes were wrong.
  void Drop(const Digest& digest);

  std::size_t size() const { return slot_of_.size(); }

 private:
  struct Kept {
    LeafBlocks blocks;
    bool ours = false;  // Of the manifest.
    std::uint64_t need = kNever;
  };
  void SetNeed(std::uint32_t slot, std::uint64_t need);

  LeafFile* file_;
  Need need_;
  std::uint64_t now_;
  std::vector<Kept> kept_;  // One a slot.
  std::map<Digest, std::uint32_t> slot_of_;
  std::vector<Digest> digests_;                                // One a slot.
  std::set<std::pair<std::uint64_t, std::uint32_t>> by_need_;  // Need, slot.
  std::vector<std::uint32_t> empty_;
  bool failed_ = false;
};

}  // namespace dnc::stream
