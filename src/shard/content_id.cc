#include "shard/content_id.h"

#include <algorithm>

#include "ipfs/cid.h"
#include "ipfs/unixfs.h"

namespace dnc::shard {

static_assert(kLeafBytes == ipfs::kLeafBytes);

std::uint64_t LeafCount(std::uint64_t file_bytes) { return ipfs::LeafCount(file_bytes); }

std::string ContentIdFromLeaves(const std::vector<Digest>& leaves, std::uint64_t file_bytes) {
  return ipfs::BuildFile(leaves, file_bytes).cid.Text();
}

bool IsContentId(std::string_view text) {
  return text.starts_with('b') && ipfs::ParseCid(text).has_value();
}

void ContentHasher::Update(ByteSpan bytes) {
  while (!bytes.empty()) {
    // A full leaf is closed only when more comes: a file of exactly 1 MiB has one.
    if (leaf_bytes_ == kLeafBytes) {
      leaves_.push_back(leaf_.Finish());
      leaf_ = Sha256Hasher();
      leaf_bytes_ = 0;
    }
    const auto count =
        static_cast<std::size_t>(std::min<std::uint64_t>(kLeafBytes - leaf_bytes_, bytes.size()));
    leaf_.Update(bytes.first(count));
    leaf_bytes_ += count;
    bytes_ += count;
    bytes = bytes.subspan(count);
  }
}

ContentHasher::Identity ContentHasher::Finish() {
  leaves_.push_back(leaf_.Finish());
  std::string cid = ContentIdFromLeaves(leaves_, bytes_);
  return {std::move(cid), bytes_, std::move(leaves_)};
}

}  // namespace dnc::shard
