#include <zlib.h>

#include <cstring>
#include <utility>

#include "array/npy_header.h"
#include "base/assert.h"
#include "base/file.h"
#include "sink/output_folder.h"
#include "sink/sinks.h"
#include "zip/zip.h"

// npy: a header with the shape, then the elements. npz: a zip of such files, stored. All
// sizes are known before the first sample, so that each column has its place in the file,
// and all of them grow at once.

namespace dnc::sink {
namespace {

Status CheckColumns(Format format, const std::vector<array::ColumnSpec>& columns) {
  for (const array::ColumnSpec& column : columns) {
    if (column.is_array()) continue;
    return Error{ErrorCode::kUnsupported, std::string(FormatName(format)) +
                                              " holds arrays, but the column " + column.name +
                                              " is of kind " + array::ColumnKindName(column.kind) +
                                              "; export to webdataset or mds"};
  }
  return {};
}

Bytes HeaderOf(const array::ColumnSpec& column, std::uint64_t samples) {
  array::Shape shape = {static_cast<std::int64_t>(samples)};
  shape.insert(shape.end(), column.shape.begin(), column.shape.end());
  return array::FormatNpyHeader(column.dtype, shape);
}

class NpySink final : public SampleSink {
 public:
  static Result<std::unique_ptr<SampleSink>> Create(const std::string& path,
                                                    const std::vector<array::ColumnSpec>& columns,
                                                    const SinkOptions& options) {
    auto sink = std::unique_ptr<NpySink>(new NpySink(options.samples));
    DNC_ASSIGN(sink->folder_, OutputFolder::Create(path));
    for (const array::ColumnSpec& column : columns) {
      DNC_ASSIGN(auto file, OutputFile::Create(sink->folder_->PathOf(column.name + ".npy")));
      DNC_TRY(file->Write(HeaderOf(column, options.samples)));
      sink->files_.push_back(std::move(file));
    }
    return std::unique_ptr<SampleSink>(std::move(sink));
  }

  Status Write(const array::SampleBlock& block) override {
    written_ += block.sample_count;
    for (std::size_t c = 0; c < files_.size(); ++c) DNC_TRY(files_[c]->Write(block.columns[c]));
    return {};
  }
  Status Finish() override {
    DNC_ASSERT(written_ == samples_);
    for (const auto& file : files_) DNC_TRY(file->Close());
    return folder_->Commit();
  }
  std::uint64_t bytes_written() const override {
    std::uint64_t bytes = 0;
    for (const auto& file : files_) bytes += file->bytes();
    return bytes;
  }

 private:
  explicit NpySink(std::uint64_t samples) : samples_(samples) {}

  const std::uint64_t samples_;
  std::uint64_t written_ = 0;
  std::unique_ptr<OutputFolder> folder_;
  std::vector<std::unique_ptr<OutputFile>> files_;  // One a column.
};

// ---- npz

struct Member {
  zip::Member entry;  // Its size is the npy's.
  Bytes npy_header;
  std::uint64_t written = 0;

  std::uint64_t data_offset() const { return entry.header_offset + zip::LocalHeaderBytes(entry); }
  std::uint64_t end() const { return data_offset() + entry.size; }
};

class NpzSink final : public SampleSink {
 public:
  static Result<std::unique_ptr<SampleSink>> Create(const std::string& path,
                                                    const std::vector<array::ColumnSpec>& columns,
                                                    const SinkOptions& options) {
    if (PathExists(path)) {
      return Error{ErrorCode::kAlreadyExists, path + " is there already; export to another place"};
    }
    auto sink = std::unique_ptr<NpzSink>(new NpzSink(path));
    std::uint64_t offset = 0;
    for (const array::ColumnSpec& column : columns) {
      Member member;
      member.entry.name = column.name + ".npy";
      member.entry.header_offset = offset;
      member.npy_header = HeaderOf(column, options.samples);
      member.entry.size = member.npy_header.size() + options.samples * column.sample_bytes();
      offset = member.end();
      sink->members_.push_back(std::move(member));
    }
    DNC_ASSIGN(sink->file_, OutputFile::Create(sink->temporary_));
    sink->created_ = true;
    for (Member& member : sink->members_) DNC_TRY(sink->Add(member.npy_header, &member));
    return std::unique_ptr<SampleSink>(std::move(sink));
  }
  ~NpzSink() override {
    if (created_) std::remove(temporary_.c_str());
  }

  Status Write(const array::SampleBlock& block) override {
    for (std::size_t c = 0; c < members_.size(); ++c) {
      DNC_TRY(Add(block.columns[c], &members_[c]));
    }
    return {};
  }
  Status Finish() override {
    std::vector<zip::Member> entries;
    for (const Member& member : members_) {
      DNC_ASSERT(member.written == member.entry.size);
      DNC_TRY(file_->WriteAt(member.entry.header_offset, zip::FormatLocalHeader(member.entry)));
      entries.push_back(member.entry);
    }
    const std::uint64_t end = members_.back().end();
    DNC_TRY(file_->WriteAt(end, zip::FormatDirectory(entries, end)));
    DNC_TRY(file_->Close());
    if (std::rename(temporary_.c_str(), path_.c_str()) != 0) {
      return ErrnoError("rename to", path_, errno);
    }
    created_ = false;
    return {};
  }
  std::uint64_t bytes_written() const override {
    std::uint64_t bytes = 0;
    for (const Member& member : members_) bytes += member.written;
    return bytes;
  }

 private:
  explicit NpzSink(const std::string& path) : path_(path), temporary_(path + ".tmp") {}

  Status Add(ByteSpan bytes, Member* member) {
    DNC_TRY(file_->WriteAt(member->data_offset() + member->written, bytes));
    member->entry.crc32 = static_cast<std::uint32_t>(
        ::crc32_z(member->entry.crc32, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
    member->written += bytes.size();
    return {};
  }

  const std::string path_;
  const std::string temporary_;
  bool created_ = false;
  std::unique_ptr<OutputFile> file_;
  std::vector<Member> members_;
};

}  // namespace

Result<std::unique_ptr<SampleSink>> CreateNpySink(const std::string& path,
                                                  const std::vector<array::ColumnSpec>& columns,
                                                  const SinkOptions& options) {
  DNC_TRY(CheckColumns(Format::kNpy, columns));
  return NpySink::Create(path, columns, options);
}

Result<std::unique_ptr<SampleSink>> CreateNpzSink(const std::string& path,
                                                  const std::vector<array::ColumnSpec>& columns,
                                                  const SinkOptions& options) {
  DNC_TRY(CheckColumns(Format::kNpz, columns));
  return NpzSink::Create(path, columns, options);
}

}  // namespace dnc::sink
