#include "divide/stored_objects.h"

#include <algorithm>

#include "base/hash.h"
#include "shard/content_id.h"

namespace dnc::divide {

StoredObjects::~StoredObjects() {
  if (kept_) return;
  // The run has failed already; a deletion that fails too has nobody to tell.
  for (const std::string& key : created_) static_cast<void>(store_->Delete(key).ok());
  static_cast<void>(journal_->Remove().ok());
}

Status StoredObjects::Commit(store::ObjectWriter* writer, const std::string& key) {
  const Result<std::uint64_t> before = store_->Size(key);
  if (!before.ok() && before.error().code != ErrorCode::kNotFound) return before.error();
  // Noted first: a commit may fail after the object became visible.
  if (!before.ok()) created_.push_back(key);
  return writer->Commit(key);
}

Status StoredObjects::CommitShard(store::ObjectWriter* writer, const FinishedShard& shard,
                                  bool recorded) {
  if (!recorded) DNC_TRY(journal_->Record(shard));
  DNC_TRY(Commit(writer, shard.info.cid));
  return read_back_ ? ReadBack(shard.info) : Status();
}

Status StoredObjects::ReadBack(const shard::ShardInfo& shard) {
  for (std::size_t i = 0; i < shard.leaves.size(); ++i) {
    const std::uint64_t offset = i * shard::kLeafBytes;
    leaf_.resize(std::min(shard::kLeafBytes, shard.bytes - offset));
    DNC_TRY(store_->Read(shard.cid, offset, leaf_));
    if (Sha256(leaf_) == shard.leaves[i]) continue;
    // Gone, so that a run that goes on makes it again.
    static_cast<void>(store_->Delete(shard.cid).ok());
    return Error{ErrorCode::kUnavailable,
                 store_->Describe() + " gives other bytes back than were written (shard " +
                     shard.cid + ", leaf " + std::to_string(i) +
                     "); the shard was deleted, run the same command to write it again"};
  }
  return {};
}

}  // namespace dnc::divide
