#include "stream/verified_source.h"

#include <algorithm>
#include <cstring>

#include "shard/content_id.h"

namespace dnc::stream {

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
  if (blocks_only_ && leaves_->local()) return leaves_->ReadUnhashed(*shard_, offset, out);
  while (!out.empty()) {
    const std::uint64_t begin = offset % shard::kLeafBytes;
    const LeafRef ref{shard_, shard_index_, offset / shard::kLeafBytes};
    const std::size_t count =
        std::min<std::uint64_t>(out.size(), LeafSize(*shard_, ref.leaf) - begin);
    DNC_ASSIGN(const ByteSpan bytes, leaves_->Get(ref));
    std::memcpy(out.data(), bytes.data() + begin, count);
    offset += count;
    out = out.subspan(count);
  }
  return {};
}

}  // namespace dnc::stream
