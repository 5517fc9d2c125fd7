// Writes the samples of one split into shards, one open at a time, and gathers
// what the manifest says of them. Not thread-safe. Private to this room.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "array/column.h"
#include "base/result.h"
#include "shard/content_id.h"
#include "shard/manifest.h"
#include "shard/shard_writer.h"
#include "shard/statistics.h"
#include "store/object_store.h"

namespace dnc::divide {

// Commits objects, and remembers which of them are new in the store. Destroyed
// without Keep(), it deletes those.
class StoredObjects {
 public:
  explicit StoredObjects(store::ObjectStore* store) : store_(store) {}
  ~StoredObjects();
  StoredObjects(const StoredObjects&) = delete;
  StoredObjects& operator=(const StoredObjects&) = delete;

  store::ObjectStore* store() const { return store_; }
  Status Commit(store::ObjectWriter* writer, const std::string& key);
  void Keep() { created_.clear(); }

 private:
  store::ObjectStore* store_;
  std::vector<std::string> created_;
};

struct SplitWriterOptions {
  std::string split;
  std::uint64_t shard_bytes = 0;
  // If above 0: so many shards of equal numbers of samples, whatever their bytes.
  std::uint64_t shard_count = 0;
  std::uint64_t split_samples = 0;  // Then: of the whole split.
  shard::ShardWriterOptions shard;
};

class SplitWriter {
 public:
  // `objects` must outlive the writer.
  SplitWriter(const std::vector<array::ColumnSpec>& columns, const SplitWriterOptions& options,
              StoredObjects* objects);

  // Adds the samples [begin, end) of `block`.
  // Errors: those of the store.
  Status Add(const array::SampleBlock& block, std::uint64_t begin, std::uint64_t end);
  // Writes what is pending and closes the last shard. Nothing may be added after it.
  Status Finish();

  std::uint64_t samples() const { return samples_; }
  // Of all shards, as far as they are written.
  std::uint64_t bytes_out() const;
  const std::vector<shard::ShardInfo>& shards() const { return shards_; }
  shard::SplitInfo split_info() const;

 private:
  // The shard that is being written. Its address is fixed: the writer's sink
  // holds it.
  struct OpenShard {
    std::unique_ptr<store::ObjectWriter> object;
    shard::ContentHasher hasher;
    std::unique_ptr<shard::ShardWriter> writer;
    std::uint64_t blocks = 0;
  };

  Status WriteBlock(const array::SampleBlock& block);
  Status WritePending();
  // How many more samples the open shard takes, where shards are counted.
  std::uint64_t ShardSamplesLeft() const;
  Status OpenNext();
  Status Close();
  // What the open shard will have once the blocks that its writer holds back are
  // written, judged by those before them; 0 while there are none.
  std::uint64_t ExpectedBytes() const;

  std::vector<array::ColumnSpec> columns_;
  std::vector<std::size_t> column_bytes_;
  SplitWriterOptions options_;
  StoredObjects* objects_;
  array::SampleBlock pending_;
  shard::StatisticsAccumulator statistics_;
  std::unique_ptr<OpenShard> open_;
  std::vector<shard::ShardInfo> shards_;
  std::uint64_t samples_ = 0;
  std::uint64_t written_samples_ = 0;
  std::uint64_t closed_bytes_ = 0;
};

}  // namespace dnc::divide
