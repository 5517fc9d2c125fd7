// Content ids: a file's name is its IPFS CID under the profile unixfs-v1-2025:
// CIDv1, raw leaves of 1 MiB, a balanced tree of at most 1024 links a node,
// SHA-256, base32. Ours equal those that `ipfs add` prints for that profile.
// Sources: https://specs.ipfs.tech/unixfs/ and IPIP-499.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"

namespace dnc::shard {

inline constexpr std::uint64_t kLeafBytes = 1u << 20;

// Number of leaves of a file; one, empty, for an empty file.
std::uint64_t LeafCount(std::uint64_t file_bytes);

// The CID of a file of `file_bytes` whose leaves hash to `leaves`.
// Requires: leaves.size() == LeafCount(file_bytes).
std::string ContentIdFromLeaves(const std::vector<Digest>& leaves, std::uint64_t file_bytes);

// Whether `text` has the form of a CIDv1 in base32 with SHA-256 ("bafk..." or
// "bafy..."): safe as a file name and in a URL.
bool IsContentId(std::string_view text);

// Hashes a file's bytes as they come.
class ContentHasher {
 public:
  void Update(ByteSpan bytes);
  struct Identity {
    std::string cid;
    std::uint64_t bytes = 0;
    std::vector<Digest> leaves;
  };
  // Ends the hash; no Update() after it.
  Identity Finish();

 private:
  Sha256Hasher leaf_;
  std::uint64_t leaf_bytes_ = 0;
  std::uint64_t bytes_ = 0;
  std::vector<Digest> leaves_;
};

}  // namespace dnc::shard
