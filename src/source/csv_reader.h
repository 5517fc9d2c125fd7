// Records of a csv (RFC 4180): fields between delimiters; quotes around a field
// may hold delimiters, line ends and doubled quotes; lines end with LF or CRLF; a
// UTF-8 byte order mark and blank lines are skipped.
//
// Holds a buffer of 256 KiB, or one record where that is larger: at most
// kCsvRecordBytesMax. Fields are views of it. Not thread-safe.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "source/byte_stream.h"
#include "source/row_reader.h"

namespace dnc::source {

inline constexpr std::size_t kCsvRecordBytesMax = 16 << 20;
inline constexpr std::size_t kCsvFieldCountMax = 1 << 18;

struct CsvReaderOptions {
  std::string name;  // For messages.
  char delimiter = ',';
  // Every record must have as many fields as the first.
  bool is_rectangular = false;
};

class CsvReader final : public RowReader {
 public:
  CsvReader(std::unique_ptr<ByteStream> stream, CsvReaderOptions options);

  // Errors: kCorrupt, a quote that is never closed, or text behind a closing one;
  // kInvalidArgument, another number of fields, if is_rectangular; kTooLarge, a
  // record beyond the limits; all with the line; those of the stream.
  Result<bool> Next() override;
  std::span<const std::string_view> fields() const override { return fields_; }
  // The line on which the record begins.
  std::uint64_t number() const override { return record_line_; }
  std::uint64_t position() const override { return stream_->position(); }

 private:
  enum class Scan { kRecord, kBlank, kNeedsMore, kEnd };

  Status Refill();
  Result<Scan> ScanRecord();
  // The first delimiter or LF at `from` or behind it; size_ if there is none.
  std::size_t FindMark(std::size_t from);
  void LoadMarks(std::size_t block);
  Result<bool> ScanQuoted(std::size_t* at);
  void UndoubleQuotes();
  Status CheckRecord();
  Error TooLong() const;
  Error Wrong(ErrorCode code, const std::string& what) const;

  std::unique_ptr<ByteStream> stream_;
  CsvReaderOptions options_;
  std::vector<char> buffer_;  // Always 64 bytes longer than what is used.
  std::size_t size_ = 0;
  std::size_t next_ = 0;  // Where the next record begins.
  bool at_end_ = false;   // The stream has no more.
  bool started_ = false;
  std::size_t marks_block_ = SIZE_MAX;  // The block of 64 bytes that marks_ is of.
  std::uint64_t marks_ = 0;             // A bit for each delimiter and LF.
  std::uint64_t line_ = 1;
  std::uint64_t record_line_ = 1;
  std::size_t field_count_ = 0;           // Of the first record.
  std::vector<std::string_view> fields_;  // Of the record; views of buffer_.
  std::vector<std::size_t> doubled_;      // Indices of fields with doubled quotes.
};

}  // namespace dnc::source
