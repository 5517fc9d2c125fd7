// Records of a csv file (RFC 4180): fields between commas; quotes around a field
// may hold commas, line ends and doubled quotes; lines end with LF or CRLF; a
// UTF-8 byte order mark and blank lines are skipped.
//
// Reads with a buffer of 256 KiB and holds one record, of at most
// kCsvRecordBytesMax. Not thread-safe.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "source/byte_stream.h"

namespace dnc::source {

inline constexpr std::size_t kCsvRecordBytesMax = 16 << 20;
inline constexpr std::size_t kCsvFieldCountMax = 1 << 18;

class CsvReader {
 public:
  explicit CsvReader(SharedSource source);

  // Moves to the next record; false at the end.
  // Errors: kCorrupt, a quote that is never closed, or text behind a closing one,
  // with the line; kTooLarge, a record beyond the limits; those of the source.
  Result<bool> Next();

  std::size_t field_count() const { return ends_.size(); }
  // Valid until Next(). Requires: index < field_count().
  std::string_view field(std::size_t index) const {
    const std::size_t begin = index == 0 ? 0 : ends_[index - 1];
    return std::string_view(text_).substr(begin, ends_[index] - begin);
  }
  // The line on which the record begins, from 1.
  std::uint64_t line() const { return record_line_; }

 private:
  enum class State { kFieldStart, kPlain, kQuoted, kQuoteInQuoted };

  Status Refill();
  Status Take(char c, State* state);
  Error Wrong(ErrorCode code, const std::string& what) const;

  SharedSource source_;
  std::uint64_t offset_ = 0;  // Of the next byte to load.
  std::string buffer_;
  std::size_t buffer_next_ = 0;
  std::uint64_t line_ = 1;
  std::uint64_t record_line_ = 1;
  std::string text_;               // All fields of the record, one behind the other.
  std::vector<std::size_t> ends_;  // Where each field ends in text_.
};

}  // namespace dnc::source
