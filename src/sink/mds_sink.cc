#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "array/samples.h"
#include "base/file.h"
#include "base/random_access_source.h"
#include "image/image.h"
#include "sink/output_folder.h"
#include "sink/sinks.h"

// A shard is [samples: 4] [offsets: 4 each, one more than samples] [the configuration]
// [samples]; a sample is [sizes: 4 each, of columns whose size varies] [the columns], in
// the order of their names. The offsets are known at a shard's end only, so that its
// samples wait in a file of their own until then.
// Source: mosaicml/streaming, base/format/mds.

namespace dnc::sink {
namespace {

constexpr std::uint64_t kShardBytesMax = 1u << 31;  // Offsets have 32 bits.
constexpr std::size_t kShardSamplesMax = 1 << 20;   // Their offsets are held in memory.
constexpr std::size_t kCopyBytes = 1 << 20;
constexpr char kWaitingName[] = "samples.tmp";

struct Column {
  std::size_t index = 0;  // In the block.
  std::string name;
  std::string encoding;
  std::uint32_t size = 0;  // 0: it varies.
};

std::string ShapeList(const array::Shape& shape) {
  std::string text;
  for (const std::int64_t length : shape) {
    text += (text.empty() ? "" : ",") + std::to_string(length);
  }
  return text;
}

Result<Column> ColumnOf(const array::ColumnSpec& spec, std::size_t index) {
  Column column{index, spec.name, "bytes", 0};
  if (spec.kind == array::ColumnKind::kText) column.encoding = "str";
  if (spec.kind == array::ColumnKind::kImage) column.encoding = "jpeg";  // Or png; see below.
  if (!spec.is_array()) return column;
  // MDS has no bool.
  const std::string dtype =
      spec.dtype == array::DType::kBool ? "uint8" : array::DTypeName(spec.dtype);
  const bool empty = std::find(spec.shape.begin(), spec.shape.end(), 0) != spec.shape.end();
  if (empty || spec.sample_bytes() > UINT32_MAX) {
    return Error{ErrorCode::kUnsupported,
                 "mds cannot hold the column " + spec.name + ", " + array::ColumnTypeText(spec)};
  }
  column.encoding = spec.shape.empty() ? dtype : "ndarray:" + dtype + ":" + ShapeList(spec.shape);
  column.size = static_cast<std::uint32_t>(spec.sample_bytes());
  return column;
}

class MdsSink final : public SampleSink {
 public:
  MdsSink(std::unique_ptr<OutputFolder> folder, std::vector<array::ColumnSpec> specs,
          std::vector<Column> columns, const SinkOptions& options)
      : folder_(std::move(folder)),
        specs_(std::move(specs)),
        columns_(std::move(columns)),
        shard_bytes_(std::min(options.shard_bytes, kShardBytesMax)) {}

  Status Write(const array::SampleBlock& block) override {
    if (block.sample_count > 0 && !named_) NameImages(block);
    for (std::uint64_t i = 0; i < block.sample_count; ++i) {
      if (waiting_ == nullptr) {
        DNC_ASSIGN(waiting_, OutputFile::Create(folder_->PathOf(kWaitingName)));
      }
      DNC_TRY(PutSample(block, i));
      if (waiting_->bytes() >= shard_bytes_ || sizes_.size() == kShardSamplesMax) {
        DNC_TRY(CloseShard());
      }
    }
    return {};
  }
  Status Finish() override {
    if (waiting_ != nullptr) DNC_TRY(CloseShard());
    const nlohmann::json index = {{"shards", shards_}, {"version", 2}};
    DNC_ASSIGN(const auto file, OutputFile::Create(folder_->PathOf("index.json")));
    DNC_TRY(file->Write(AsBytes(index.dump())));
    DNC_TRY(file->Close());
    return folder_->Commit();
  }
  std::uint64_t bytes_written() const override {
    return closed_bytes_ + (waiting_ == nullptr ? 0 : waiting_->bytes());
  }

 private:
  // Both decoders of MDS tell by the content what an image is; the name is for people.
  void NameImages(const array::SampleBlock& block) {
    named_ = true;
    for (Column& column : columns_) {
      if (column.encoding == "jpeg" &&
          image::RecogniseImage(block.element(column.index, 0)) == image::ImageKind::kPng) {
        column.encoding = "png";
      }
    }
  }

  Status PutSample(const array::SampleBlock& block, std::uint64_t i) {
    const std::uint64_t before = waiting_->bytes();
    for (const Column& column : columns_) {
      if (column.size > 0) continue;
      const auto size = static_cast<std::uint32_t>(block.element(column.index, i).size());
      DNC_TRY(waiting_->Write(std::as_bytes(std::span(&size, 1))));
    }
    for (const Column& column : columns_) {
      DNC_TRY(waiting_->Write(array::ElementOf(specs_, block, column.index, i)));
    }
    const std::uint64_t size = waiting_->bytes() - before;
    if (size > kShardBytesMax / 2) {
      return Error{ErrorCode::kTooLarge, "a sample of more than a GiB does not fit into mds"};
    }
    sizes_.push_back(static_cast<std::uint32_t>(size));
    return {};
  }

  nlohmann::json Configuration() const {
    nlohmann::json configuration = {{"compression", nullptr},
                                    {"format", "mds"},
                                    {"hashes", nlohmann::json::array()},
                                    {"size_limit", shard_bytes_},
                                    {"version", 2}};
    for (const Column& column : columns_) {
      configuration["column_names"].push_back(column.name);
      configuration["column_encodings"].push_back(column.encoding);
      configuration["column_sizes"].push_back(column.size > 0 ? nlohmann::json(column.size)
                                                              : nlohmann::json(nullptr));
    }
    return configuration;
  }

  Status CloseShard() {
    DNC_TRY(waiting_->Close());
    waiting_.reset();
    nlohmann::json configuration = Configuration();
    const std::string text = configuration.dump();
    const auto count = static_cast<std::uint32_t>(sizes_.size());
    std::vector<std::uint32_t> head = {count};
    auto offset = static_cast<std::uint32_t>(4 + 4 * (sizes_.size() + 1) + text.size());
    head.push_back(offset);
    for (const std::uint32_t size : sizes_) head.push_back(offset += size);
    char name[32];
    std::snprintf(name, sizeof name, "shard.%05zu.mds", shards_.size());
    DNC_ASSIGN(const auto file, OutputFile::Create(folder_->PathOf(name)));
    DNC_TRY(file->Write(std::as_bytes(std::span(head))));
    DNC_TRY(file->Write(AsBytes(text)));
    DNC_TRY(CopyWaiting(file.get()));
    DNC_TRY(file->Close());
    closed_bytes_ += file->bytes();
    configuration["samples"] = count;
    configuration["zip_data"] = nullptr;
    configuration["raw_data"] = {
        {"basename", name}, {"bytes", file->bytes()}, {"hashes", nlohmann::json::object()}};
    shards_.push_back(std::move(configuration));
    sizes_.clear();
    return {};
  }

  Status CopyWaiting(OutputFile* to) {
    const std::string path = folder_->PathOf(kWaitingName);
    {
      DNC_ASSIGN(const auto from, FileSource::Open(path));
      Bytes buffer;
      for (std::uint64_t offset = 0; offset < from->size(); offset += buffer.size()) {
        buffer.resize(std::min<std::uint64_t>(kCopyBytes, from->size() - offset));
        DNC_TRY(from->ReadAt(offset, buffer));
        DNC_TRY(to->Write(buffer));
      }
    }
    std::error_code error;
    std::filesystem::remove(path, error);
    return error ? Status(ErrnoError("remove", path, error.value())) : Status();
  }

  std::unique_ptr<OutputFolder> folder_;
  const std::vector<array::ColumnSpec> specs_;  // Of a block.
  std::vector<Column> columns_;                 // In the order of their names.
  const std::uint64_t shard_bytes_;
  bool named_ = false;
  std::unique_ptr<OutputFile> waiting_;  // Samples of the shard that is being made,
  std::vector<std::uint32_t> sizes_;     // and how many bytes each has.
  nlohmann::json shards_ = nlohmann::json::array();
  std::uint64_t closed_bytes_ = 0;
};

}  // namespace

Result<std::unique_ptr<SampleSink>> CreateMdsSink(const std::string& path,
                                                  const std::vector<array::ColumnSpec>& columns,
                                                  const SinkOptions& options) {
  std::vector<Column> made;
  for (std::size_t c = 0; c < columns.size(); ++c) {
    DNC_ASSIGN(Column column, ColumnOf(columns[c], c));
    made.push_back(std::move(column));
  }
  std::sort(made.begin(), made.end(),
            [](const Column& a, const Column& b) { return a.name < b.name; });
  DNC_ASSIGN(auto folder, OutputFolder::Create(path));
  return std::unique_ptr<SampleSink>(
      new MdsSink(std::move(folder), columns, std::move(made), options));
}

}  // namespace dnc::sink
