// Small datasets for this room's tests: real shards in memory, whose every sample
// tells where it belongs, and a store that counts its reads and fails on purpose.

#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/prng.h"
#include "shard/content_id.h"
#include "shard/manifest.h"
#include "shard/shard_writer.h"
#include "store/object_store.h"
#include "stream/manifests_for_test.h"

namespace dnc::stream {

class StoreForTest final : public store::ObjectStore {
 public:
  Result<std::unique_ptr<store::ObjectWriter>> Create() override {
    return Error{ErrorCode::kUnsupported, "this store is only read"};
  }
  Result<std::uint64_t> Size(const std::string& key) const override {
    return std::uint64_t{objects_.at(key).size()};
  }
  Status Read(const std::string& key, std::uint64_t offset,
              std::span<std::byte> out) const override {
    std::unique_lock lock(mutex_);
    const int read_index = static_cast<int>(reads_.size());
    reads_.push_back({key, offset});
    changed_.notify_all();
    changed_.wait(lock, [&] { return read_index < reads_allowed_; });
    if (read_index == fail_read_index_) {
      return Error{ErrorCode::kUnavailable, "fault on purpose"};
    }
    const auto object = objects_.find(key);
    if (object == objects_.end()) return Error{ErrorCode::kNotFound, "no object " + key};
    return MemorySource(object->second, key).ReadAt(offset, out);
  }
  Status Delete(const std::string&) override {
    return Error{ErrorCode::kUnsupported, "this store is only read"};
  }
  Result<std::vector<std::string>> List() const override { return std::vector<std::string>(); }
  std::string Describe() const override { return "a store for tests"; }
  bool local() const override { return local_; }
  void SetLocal() { local_ = true; }

  Bytes& object(const std::string& key) { return objects_[key]; }
  void FailRead(int read_index) { fail_read_index_ = read_index; }
  // Reads beyond the first `count` wait until more are allowed.
  void AllowReads(int count) {
    const std::lock_guard lock(mutex_);
    reads_allowed_ = count;
    changed_.notify_all();
  }
  void WaitForReads(std::size_t count) const {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return reads_.size() >= count; });
  }
  // (key, offset) of every read so far.
  std::vector<std::pair<std::string, std::uint64_t>> reads() const {
    const std::lock_guard lock(mutex_);
    return reads_;
  }

 private:
  std::map<std::string, Bytes> objects_;
  int fail_read_index_ = -1;
  bool local_ = false;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  mutable std::vector<std::pair<std::string, std::uint64_t>> reads_;
  int reads_allowed_ = INT32_MAX;
};

struct DatasetForTest {
  shard::Manifest manifest;
  StoreForTest store;
};

// Byte `i` of a sample's element in a column.
inline std::byte ByteForTest(std::uint64_t shard, std::uint64_t row, std::size_t column,
                             std::size_t i) {
  return static_cast<std::byte>(Mix64(Mix64(shard * 1000003 + row) + column * 64 + i / 8) >>
                                (8 * (i % 8)));
}

// Columns of uint8 with `column_bytes` bytes a sample.
inline std::unique_ptr<DatasetForTest> MakeDataset(const std::vector<ShardShape>& shapes,
                                                   const std::vector<std::int64_t>& column_bytes) {
  auto dataset = std::make_unique<DatasetForTest>();
  dataset->manifest = ManifestOf(shapes);
  std::vector<array::ColumnSpec>& columns = dataset->manifest.columns;
  columns.clear();
  for (std::size_t c = 0; c < column_bytes.size(); ++c) {
    columns.push_back({"c" + std::to_string(c), array::DType::kUint8, {column_bytes[c]}, {}});
  }
  for (std::size_t s = 0; s < shapes.size(); ++s) {
    shard::ShardInfo& info = dataset->manifest.shards[s];
    Bytes bytes;
    shard::ContentHasher hasher;
    shard::ShardWriterOptions options;
    options.block_samples = info.block_samples;
    options.zstd_level = 1;
    shard::ShardWriter writer(columns, options, [&](ByteSpan written) {
      bytes.insert(bytes.end(), written.begin(), written.end());
      hasher.Update(written);
      return Status();
    });
    for (std::uint64_t row = 0; row < info.samples; row += info.block_samples) {
      array::SampleBlock block;
      block.sample_count = std::min<std::uint64_t>(info.block_samples, info.samples - row);
      for (std::size_t c = 0; c < columns.size(); ++c) {
        Bytes& column = block.columns.emplace_back();
        for (std::uint64_t i = 0; i < block.sample_count; ++i) {
          for (std::size_t b = 0; b < columns[c].sample_bytes(); ++b) {
            column.push_back(ByteForTest(s, row + i, c, b));
          }
        }
      }
      DNC_ASSERT(writer.Append(block).ok());
    }
    DNC_ASSERT(writer.Finish().ok());
    shard::ContentHasher::Identity identity = hasher.Finish();
    info.cid = identity.cid;
    info.bytes = identity.bytes;
    info.leaves = identity.leaves;
    dataset->store.object(info.cid) = std::move(bytes);
  }
  return dataset;
}

}  // namespace dnc::stream
