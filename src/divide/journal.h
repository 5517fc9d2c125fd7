// What a run of dividing has finished, kept in the store of the shards, so that the
// same run can go on after a kill. It lies in segments of a bounded number of shards,
// of which only the last one is rewritten: "dividing.json", "dividing-1.json"...
//
// A shard is recorded before it is committed: whoever reads the journal asks the store
// which of its shards are there. docs/formats/manifest.md describes the fields.
// Not thread-safe. Private to this room.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "shard/manifest.h"
#include "store/object_store.h"

namespace dnc::divide {

struct FinishedShard {
  shard::ShardInfo info;
  std::uint64_t raw_digest = 0;  // Of its samples, before compression.
  bool last = false;             // The end of the source closed it.
};

struct JournalContent {
  Digest run;                         // Of everything that the result depends on but the samples.
  std::string command;                // For people: what was being done.
  std::vector<FinishedShard> shards;  // In the order in which they were finished.
  // Once all shards are there: the manifest's digest, and the shards of the dataset that
  // it replaces.
  std::optional<Digest> manifest;
  std::vector<std::string> replaced;
};

class Journal {
 public:
  // `name` is "dividing", unless several runs write to one store. `store` must outlive it.
  Journal(store::ObjectStore* store, std::string name);

  // Nothing, or what an unfinished run left.
  // Errors: kCorrupt, it cannot be read; those of the store.
  Result<std::optional<JournalContent>> Read();

  // Begins with the content that was read, or anew. Stores nothing.
  void Begin(const JournalContent& content);
  // Stores that a shard is finished. Errors: those of the store.
  Status Record(const FinishedShard& shard);
  // Stores that only the manifest is missing.
  Status RecordEnd(const Digest& manifest, const std::vector<std::string>& replaced);
  // Removes the journal, its first segment last.
  Status Remove();

  bool stored() const { return stored_segments_ > 0; }

 private:
  std::string Key(std::size_t segment) const;
  std::string Format(std::size_t segment) const;
  Status Store(std::size_t segment);

  store::ObjectStore* store_;
  std::string name_;
  JournalContent content_;  // `shards` has those of the first and of the last segment.
  std::size_t segment_ = 0;
  std::vector<FinishedShard> segment_shards_;  // Of the last segment.
  std::size_t stored_segments_ = 0;
};

}  // namespace dnc::divide
