// What a run of dividing has put into its store: shards, journal and manifest. A run
// that fails removes them again, unless it can go on from them.
// Not thread-safe. Private to this room.

#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "divide/journal.h"
#include "store/object_store.h"

namespace dnc::divide {

class StoredObjects {
 public:
  // With `read_back` every shard is read from the store after it was committed, and
  // compared by its leaves. `store` and `journal` must outlive it.
  StoredObjects(store::ObjectStore* store, Journal* journal, bool read_back)
      : store_(store), journal_(journal), read_back_(read_back) {}
  // Removes what was created since, unless Keep() was called.
  ~StoredObjects();
  StoredObjects(const StoredObjects&) = delete;
  StoredObjects& operator=(const StoredObjects&) = delete;

  store::ObjectStore* store() const { return store_; }
  Status Commit(store::ObjectWriter* writer, const std::string& key);
  // Records the shard in the journal, unless that names it already, and commits it.
  // Errors: those of the store; kCorrupt, it gives other bytes back.
  Status CommitShard(store::ObjectWriter* writer, const FinishedShard& shard, bool recorded);
  void Keep() { kept_ = true; }

 private:
  Status ReadBack(const shard::ShardInfo& shard);

  store::ObjectStore* store_;
  Journal* journal_;
  const bool read_back_;
  bool kept_ = false;
  std::vector<std::string> created_;
  Bytes leaf_;
};

}  // namespace dnc::divide
