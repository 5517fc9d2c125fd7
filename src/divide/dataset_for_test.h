// A source of made-up samples and a store that fails on purpose, for this room's
// tests.

#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "array/samples.h"
#include "base/prng.h"
#include "source/sample_source.h"
#include "store/object_store.h"

namespace dnc::divide {

// Sample i has the label i % 10, its number, and 52 bytes that do not compress.
class SourceForTest final : public source::SampleSource {
 public:
  struct Options {
    std::uint64_t samples = 0;
    bool count_known = true;
    std::uint64_t fail_after = UINT64_MAX;  // Samples before Read() fails.
    ErrorCode failure = ErrorCode::kCorrupt;
    std::uint64_t seed = 0;  // Of the samples.
    bool texts = false;      // A column of texts of 0 to 200 bytes besides.
  };

  explicit SourceForTest(const Options& options) : options_(options) {
    columns_ = {{"x", array::DType::kUint8, {52}, {}},
                {"number", array::DType::kInt64, {}, {}},
                {"y", array::DType::kInt32, {}, {"a", "b", "c"}}};
    if (options.texts) {
      columns_.push_back({"text", array::DType::kUint8, {}, {}, array::ColumnKind::kText, {}});
    }
  }

  const std::vector<array::ColumnSpec>& columns() const override { return columns_; }
  std::optional<std::uint64_t> sample_count() const override {
    return options_.count_known ? std::optional(options_.samples) : std::nullopt;
  }
  std::string Describe() const override { return "samples for tests"; }
  const std::vector<source::SkippedInput>& skipped() const override { return skipped_; }

  Status Read(std::uint64_t sample_count_max, array::SampleBlock* block) override {
    array::ClearSamples(columns_, block);
    if (next_ >= options_.fail_after) {
      return Error{options_.failure, "x.npy: fault on purpose"};
    }
    while (block->sample_count < sample_count_max && next_ < options_.samples) {
      Prng prng(DeriveSeed(options_.seed, next_));
      std::byte x[52];
      for (std::byte& byte : x) byte = static_cast<std::byte>(prng.Next());
      Put(x, sizeof x, &block->columns[0]);
      Put(&next_, 8, &block->columns[1]);
      const auto label = static_cast<std::int32_t>(next_ % 10);
      Put(&label, 4, &block->columns[2]);
      if (options_.texts) {
        for (std::uint64_t left = prng.Below(200); left > 0; --left) {
          block->columns[3].push_back(static_cast<std::byte>('a' + prng.Below(26)));
        }
        block->ends[3].push_back(static_cast<std::uint32_t>(block->columns[3].size()));
      }
      ++next_;
      ++block->sample_count;
    }
    return {};
  }

 private:
  static void Put(const void* bytes, std::size_t size, Bytes* column) {
    const auto* begin = static_cast<const std::byte*>(bytes);
    column->insert(column->end(), begin, begin + size);
  }

  Options options_;
  std::vector<array::ColumnSpec> columns_;
  std::vector<source::SkippedInput> skipped_;
  std::uint64_t next_ = 0;
};

// Passes everything on, but for one operation that changes the store: creating an
// object, a write, or a commit, counted together. One that dies fails in everything
// after that too, as for a process that is killed there.
class FaultyStore final : public store::ObjectStore {
 public:
  FaultyStore(store::ObjectStore* inner, int fail_index, bool dies = false)
      : inner_(inner), fail_index_(fail_index), dies_(dies) {}

  Result<std::unique_ptr<store::ObjectWriter>> Create() override {
    DNC_TRY(Step());
    DNC_ASSIGN(auto writer, inner_->Create());
    return std::unique_ptr<store::ObjectWriter>(new Writer(this, std::move(writer)));
  }
  Result<std::uint64_t> Size(const std::string& key) const override { return inner_->Size(key); }
  Status Read(const std::string& key, std::uint64_t offset,
              std::span<std::byte> out) const override {
    return inner_->Read(key, offset, out);
  }
  Status Delete(const std::string& key) override {
    if (dies_) DNC_TRY(Step());
    return inner_->Delete(key);
  }
  Result<std::vector<std::string>> List() const override { return inner_->List(); }
  std::string Describe() const override { return inner_->Describe(); }

  bool fired() const { return fired_; }

 private:
  class Writer final : public store::ObjectWriter {
   public:
    Writer(FaultyStore* store, std::unique_ptr<store::ObjectWriter> inner)
        : store_(store), inner_(std::move(inner)) {}
    Status Write(ByteSpan bytes) override {
      DNC_TRY(store_->Step());
      return inner_->Write(bytes);
    }
    Status Commit(const std::string& key) override {
      // The worst moment: the object is there, and the error comes all the same.
      const bool was_dead = store_->dies_ && store_->fired_;
      const Status step = store_->Step();
      if (!was_dead) DNC_TRY(inner_->Commit(key));
      return step;
    }

   private:
    FaultyStore* store_;
    std::unique_ptr<store::ObjectWriter> inner_;
  };

  Status Step() {
    const bool dead = dies_ && fired_;
    if (step_index_++ != fail_index_ && !dead) return {};
    fired_ = true;
    return Error{ErrorCode::kResourceExhausted, "no space on purpose"};
  }

  store::ObjectStore* inner_;
  int fail_index_;
  bool dies_;
  int step_index_ = 0;
  bool fired_ = false;
};

}  // namespace dnc::divide
