#include <array>
#include <cstdio>
#include <cstring>
#include <utility>

#include "array/npy_header.h"
#include "array/samples.h"
#include "image/image.h"
#include "sink/output_folder.h"
#include "sink/sinks.h"

// shard-000000.tar and so on; a sample is files of one number: 000000042.jpg,
// 000000042.cls. An image is .jpg, .png or .webp by its content in the first sample, a
// label y that is a whole number .cls, a text .txt (.json if the column is called so), an
// array .npy, bytes .bin; but for x and y, the column's name stands before.
// Source of the tar format: POSIX.1-2017, pax, "ustar Interchange Format".

namespace dnc::sink {
namespace {

constexpr std::size_t kBlockBytes = 512;
constexpr std::size_t kExtensionBytesMax = 80;

// Octal digits and a zero byte.
void PutOctal(std::uint64_t value, std::size_t offset, std::size_t size, char* header) {
  for (std::size_t i = size - 1; i-- > 0; value >>= 3) {
    header[offset + i] = static_cast<char>('0' + (value & 7));
  }
}

std::array<char, kBlockBytes> TarHeader(const std::string& name, std::uint64_t size) {
  std::array<char, kBlockBytes> header{};
  std::memcpy(header.data(), name.data(), name.size());
  PutOctal(0644, 100, 8, header.data());
  PutOctal(0, 108, 8, header.data());
  PutOctal(0, 116, 8, header.data());
  PutOctal(size, 124, 12, header.data());
  PutOctal(0, 136, 12, header.data());  // 1970: the same bytes on every day.
  std::memset(header.data() + 148, ' ', 8);
  header[156] = '0';
  std::memcpy(header.data() + 257,
              "ustar\0"
              "00",
              8);
  std::uint64_t sum = 0;
  for (const char c : header) sum += static_cast<std::uint8_t>(c);
  PutOctal(sum, 148, 7, header.data());
  return header;
}

bool IsWholeNumber(const array::ColumnSpec& column) {
  return column.is_array() && column.shape.empty() && !array::IsFloat(column.dtype) &&
         column.dtype != array::DType::kUint64;
}

// Of a column whose values fit int64.
std::string NumberText(array::DType dtype, ByteSpan element) {
  std::int64_t value = 0;
  std::memcpy(&value, element.data(), element.size());  // Little-endian.
  const bool is_signed = dtype == array::DType::kInt8 || dtype == array::DType::kInt16 ||
                         dtype == array::DType::kInt32;
  if (is_signed) {
    const int shift = 64 - 8 * static_cast<int>(element.size());
    value = static_cast<std::int64_t>(static_cast<std::uint64_t>(value) << shift) >> shift;
  }
  return std::to_string(value);
}

class WebDatasetSink final : public SampleSink {
 public:
  WebDatasetSink(std::unique_ptr<OutputFolder> folder,
                 const std::vector<array::ColumnSpec>& columns, const SinkOptions& options)
      : folder_(std::move(folder)), columns_(columns), options_(options) {
    for (const array::ColumnSpec& column : columns_) {
      npy_headers_.push_back(column.is_array() ? array::FormatNpyHeader(column.dtype, column.shape)
                                               : Bytes());
    }
  }

  Status Write(const array::SampleBlock& block) override {
    if (block.sample_count > 0 && extensions_.empty()) DNC_TRY(NameColumns(block));
    for (std::uint64_t i = 0; i < block.sample_count; ++i, ++samples_) {
      if (tar_ == nullptr) DNC_TRY(OpenTar());
      for (std::size_t c = 0; c < columns_.size(); ++c) DNC_TRY(PutElement(block, c, i));
      if (tar_->bytes() >= options_.shard_bytes) DNC_TRY(CloseTar());
    }
    return {};
  }
  Status Finish() override {
    if (tar_ == nullptr && tars_ == 0) DNC_TRY(OpenTar());
    if (tar_ != nullptr) DNC_TRY(CloseTar());
    return folder_->Commit();
  }
  std::uint64_t bytes_written() const override {
    return closed_bytes_ + (tar_ == nullptr ? 0 : tar_->bytes());
  }

 private:
  Status OpenTar() {
    char name[32];
    std::snprintf(name, sizeof name, "shard-%06u.tar", tars_++);
    DNC_ASSIGN(tar_, OutputFile::Create(folder_->PathOf(name)));
    return {};
  }
  Status CloseTar() {
    DNC_TRY(tar_->Write(Bytes(2 * kBlockBytes)));
    DNC_TRY(tar_->Close());
    closed_bytes_ += tar_->bytes();
    tar_.reset();
    return {};
  }

  Status NameColumns(const array::SampleBlock& block) {
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      const array::ColumnSpec& column = columns_[c];
      std::string extension;
      switch (column.kind) {
        case array::ColumnKind::kImage: {
          const auto kind = image::RecogniseImage(block.element(c, 0));
          extension = kind == image::ImageKind::kPng    ? "png"
                      : kind == image::ImageKind::kWebp ? "webp"
                                                        : "jpg";
          if (column.name != "x") extension = column.name + "." + extension;
          break;
        }
        case array::ColumnKind::kText:
          extension =
              column.name == "json" || column.name == "txt" ? column.name : column.name + ".txt";
          break;
        case array::ColumnKind::kBytes:
          extension = column.name + ".bin";
          break;
        case array::ColumnKind::kArray:
          extension = column.name + ".npy";
          if (IsWholeNumber(column)) extension = column.name == "y" ? "cls" : column.name + ".cls";
      }
      if (extension.size() > kExtensionBytesMax || extension.find('/') != std::string::npos) {
        return Error{ErrorCode::kUnsupported, "webdataset: the column " + column.name +
                                                  " has a name that is no extension of a file"};
      }
      extensions_.push_back(std::move(extension));
    }
    return {};
  }

  Status PutElement(const array::SampleBlock& block, std::size_t c, std::uint64_t i) {
    const ByteSpan element = array::ElementOf(columns_, block, c, i);
    if (IsWholeNumber(columns_[c])) {
      const std::string text = NumberText(columns_[c].dtype, element);
      return PutFile(c, {}, AsBytes(text));
    }
    return PutFile(c, npy_headers_[c], element);
  }

  Status PutFile(std::size_t c, ByteSpan head, ByteSpan content) {
    char number[16];
    std::snprintf(number, sizeof number, "%09llu.", static_cast<unsigned long long>(samples_));
    const std::uint64_t size = head.size() + content.size();
    const auto header = TarHeader(number + extensions_[c], size);
    DNC_TRY(tar_->Write(std::as_bytes(std::span(header))));
    DNC_TRY(tar_->Write(head));
    DNC_TRY(tar_->Write(content));
    static constexpr std::array<std::byte, kBlockBytes> kZeros{};
    return tar_->Write(ByteSpan(kZeros).first((kBlockBytes - size % kBlockBytes) % kBlockBytes));
  }

  std::unique_ptr<OutputFolder> folder_;
  const std::vector<array::ColumnSpec> columns_;
  const SinkOptions options_;
  std::vector<Bytes> npy_headers_;       // One a column; empty if it is no array.
  std::vector<std::string> extensions_;  // Likewise, once there is a sample.
  std::unique_ptr<OutputFile> tar_;
  unsigned tars_ = 0;
  std::uint64_t samples_ = 0;
  std::uint64_t closed_bytes_ = 0;
};

}  // namespace

Result<std::unique_ptr<SampleSink>> CreateWebDatasetSink(
    const std::string& path, const std::vector<array::ColumnSpec>& columns,
    const SinkOptions& options) {
  DNC_ASSIGN(auto folder, OutputFolder::Create(path));
  return std::unique_ptr<SampleSink>(new WebDatasetSink(std::move(folder), columns, options));
}

}  // namespace dnc::sink
