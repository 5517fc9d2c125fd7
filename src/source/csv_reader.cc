#include "source/csv_reader.h"

#include <algorithm>

namespace dnc::source {
namespace {

constexpr std::size_t kBufferBytes = 256 << 10;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

}  // namespace

CsvReader::CsvReader(SharedSource source) : source_(std::move(source)) {}

Error CsvReader::Wrong(ErrorCode code, const std::string& what) const {
  return {code, source_->name() + ": line " + std::to_string(record_line_) + ": " + what};
}

Status CsvReader::Refill() {
  buffer_.resize(std::min<std::uint64_t>(kBufferBytes, source_->size() - offset_));
  buffer_next_ = 0;
  DNC_TRY(source_->ReadAt(offset_, std::as_writable_bytes(std::span(buffer_))));
  if (offset_ == 0 && buffer_.starts_with(kByteOrderMark)) buffer_next_ = kByteOrderMark.size();
  offset_ += buffer_.size();
  return {};
}

// One character within a record, but for line ends outside quotes.
Status CsvReader::Take(char c, State* state) {
  if (*state == State::kQuoted) {
    if (c == '"') {
      *state = State::kQuoteInQuoted;
    } else {
      text_.push_back(c);
    }
    return {};
  }
  if (c == ',') {
    if (ends_.size() + 1 >= kCsvFieldCountMax) {
      return Wrong(ErrorCode::kTooLarge,
                   "more than " + std::to_string(kCsvFieldCountMax) + " fields");
    }
    ends_.push_back(text_.size());
    *state = State::kFieldStart;
    return {};
  }
  if (c == '"' && *state == State::kFieldStart) {
    *state = State::kQuoted;
    return {};
  }
  if (*state == State::kQuoteInQuoted) {
    if (c != '"') {
      return Wrong(ErrorCode::kCorrupt,
                   "field " + std::to_string(ends_.size() + 1) +
                       " goes on behind its closing quote; write a quote within quotes twice");
    }
    *state = State::kQuoted;
  } else {
    *state = State::kPlain;
  }
  text_.push_back(c);
  return {};
}

Result<bool> CsvReader::Next() {
  text_.clear();
  ends_.clear();
  record_line_ = line_;
  State state = State::kFieldStart;
  bool carriage_return = false;  // Held back: part of a line end, or of the text.
  for (;;) {
    if (buffer_next_ == buffer_.size()) {
      if (offset_ == source_->size()) break;
      DNC_TRY(Refill());
      continue;
    }
    const char c = buffer_[buffer_next_++];
    if (c == '\n') ++line_;
    if (state != State::kQuoted) {
      if (c == '\n') {
        carriage_return = false;
        if (state == State::kFieldStart && ends_.empty()) {  // A blank line.
          record_line_ = line_;
          continue;
        }
        ends_.push_back(text_.size());
        return true;
      }
      if (carriage_return) {
        carriage_return = false;
        DNC_TRY(Take('\r', &state));
      }
      if (c == '\r') {
        carriage_return = true;
        continue;
      }
    }
    DNC_TRY(Take(c, &state));
    if (text_.size() > kCsvRecordBytesMax) {
      return Wrong(ErrorCode::kTooLarge, "a record of more than " +
                                             std::to_string(kCsvRecordBytesMax >> 20) +
                                             " MiB; is a closing quote missing?");
    }
  }
  if (state == State::kQuoted) {
    return Wrong(ErrorCode::kCorrupt, "a quote is opened in field " +
                                          std::to_string(ends_.size() + 1) + " and never closed");
  }
  if (state == State::kFieldStart && ends_.empty()) return false;
  ends_.push_back(text_.size());
  return true;
}

}  // namespace dnc::source
