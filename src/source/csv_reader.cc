#include "source/csv_reader.h"

#include <algorithm>
#include <bit>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/assert.h"

namespace dnc::source {
namespace {

constexpr std::size_t kBufferBytes = 256 << 10;
constexpr std::size_t kBlockBytes = 64;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

// A bit for each of 64 bytes that is `a` or `b`.
std::uint64_t MarksOf(const char* bytes, char a, char b) {
  std::uint64_t marks = 0;
#if defined(__SSE2__)
  const __m128i all_a = _mm_set1_epi8(a);
  const __m128i all_b = _mm_set1_epi8(b);
  for (int i = 0; i < 4; ++i) {
    const __m128i part = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + 16 * i));
    const __m128i equal = _mm_or_si128(_mm_cmpeq_epi8(part, all_a), _mm_cmpeq_epi8(part, all_b));
    marks |= static_cast<std::uint64_t>(static_cast<unsigned>(_mm_movemask_epi8(equal)))
             << (16 * i);
  }
#else
  for (std::size_t i = 0; i < kBlockBytes; ++i) {
    marks |= static_cast<std::uint64_t>(bytes[i] == a || bytes[i] == b) << i;
  }
#endif
  return marks;
}

}  // namespace

CsvReader::CsvReader(std::unique_ptr<ByteStream> stream, CsvReaderOptions options)
    : stream_(std::move(stream)), options_(std::move(options)) {}

Error CsvReader::Wrong(ErrorCode code, const std::string& what) const {
  return {code, options_.name + ": line " + std::to_string(record_line_) + ": " + what};
}

Error CsvReader::TooLong() const {
  return Wrong(ErrorCode::kTooLarge, "a record of more than " +
                                         std::to_string(kCsvRecordBytesMax >> 20) +
                                         " MiB; is a closing quote missing?");
}

// Moves what is left to the front and reads behind it, into twice the buffer if a
// record fills it.
Status CsvReader::Refill() {
  if (next_ > 0) std::memmove(buffer_.data(), buffer_.data() + next_, size_ - next_);
  size_ -= next_;
  next_ = 0;
  marks_block_ = SIZE_MAX;
  if (size_ > kCsvRecordBytesMax) return TooLong();
  const std::size_t capacity = std::max(kBufferBytes, 2 * size_);
  if (buffer_.size() < capacity + kBlockBytes) buffer_.resize(capacity + kBlockBytes);
  const auto free = std::as_writable_bytes(std::span(buffer_)).subspan(size_, capacity - size_);
  DNC_ASSIGN(const std::size_t got, stream_->Read(free));
  at_end_ = got < free.size();
  size_ += got;
  if (!started_) {
    started_ = true;
    if (std::string_view(buffer_.data(), size_).starts_with(kByteOrderMark)) {
      next_ = kByteOrderMark.size();
    }
  }
  return {};
}

void CsvReader::LoadMarks(std::size_t block) {
  marks_block_ = block;
  marks_ = MarksOf(buffer_.data() + block, options_.delimiter, '\n');
}

std::size_t CsvReader::FindMark(std::size_t from) {
  if (from >= size_) return size_;
  const std::size_t block = from - from % kBlockBytes;
  if (block != marks_block_) LoadMarks(block);
  std::uint64_t marks = marks_ & (~std::uint64_t{0} << (from % kBlockBytes));
  while (marks == 0) {
    if (marks_block_ + kBlockBytes >= size_) return size_;
    LoadMarks(marks_block_ + kBlockBytes);
    marks = marks_;
  }
  return std::min(size_, marks_block_ + static_cast<std::size_t>(std::countr_zero(marks)));
}

// Adds the field whose opening quote is before *at, and moves *at behind its closing
// one. False: the buffer ends within the field.
Result<bool> CsvReader::ScanQuoted(std::size_t* at) {
  const std::size_t begin = *at;
  std::size_t from = begin;
  bool is_doubled = false;
  for (;;) {
    const void* found = std::memchr(buffer_.data() + from, '"', size_ - from);
    if (found == nullptr) {
      if (!at_end_) return false;
      if (size_ - next_ > kCsvRecordBytesMax) return TooLong();
      return Wrong(
          ErrorCode::kCorrupt,
          "a quote is opened in field " + std::to_string(fields_.size() + 1) + " and never closed");
    }
    const auto quote = static_cast<std::size_t>(static_cast<const char*>(found) - buffer_.data());
    if (quote + 1 == size_ && !at_end_) return false;
    if (quote + 1 == size_ || buffer_[quote + 1] != '"') {
      if (is_doubled) doubled_.push_back(fields_.size());
      fields_.emplace_back(buffer_.data() + begin, quote - begin);
      *at = quote + 1;
      break;
    }
    is_doubled = true;
    from = quote + 2;
  }
  const bool has_return = *at < size_ && buffer_[*at] == '\r';
  if (*at + (has_return ? 1 : 0) == size_ && !at_end_) return false;
  // CR and LF, or CR at the very end.
  if (has_return && (*at + 1 == size_ || buffer_[*at + 1] == '\n')) ++*at;
  if (*at == size_ || buffer_[*at] == options_.delimiter || buffer_[*at] == '\n') return true;
  return Wrong(ErrorCode::kCorrupt,
               "field " + std::to_string(fields_.size()) +
                   " goes on behind its closing quote; write a quote within quotes twice");
}

// Finds the fields of the record at next_, and moves next_ behind it.
Result<CsvReader::Scan> CsvReader::ScanRecord() {
  fields_.clear();
  doubled_.clear();
  std::size_t at = next_;
  std::uint64_t lines = 0;
  if (at == size_) return at_end_ ? Scan::kEnd : Scan::kNeedsMore;
  for (;;) {
    if (at < size_ && buffer_[at] == '"') {
      ++at;
      DNC_ASSIGN(const bool is_whole, ScanQuoted(&at));
      if (!is_whole) return Scan::kNeedsMore;
      const std::string_view field = fields_.back();
      lines += static_cast<std::uint64_t>(std::count(field.begin(), field.end(), '\n'));
    } else {
      const std::size_t begin = at;
      at = FindMark(at);
      if (at == size_ && !at_end_) return Scan::kNeedsMore;
      std::size_t end = at;
      if (at == size_ || buffer_[at] == '\n') {
        if (end > begin && buffer_[end - 1] == '\r') --end;
        if (fields_.empty() && begin == end) {
          next_ = std::min(size_, at + 1);
          line_ += at < size_ ? 1 : 0;
          return Scan::kBlank;
        }
      }
      fields_.emplace_back(buffer_.data() + begin, end - begin);
    }
    if (at == size_ || buffer_[at] == '\n') {
      next_ = std::min(size_, at + 1);
      line_ += lines + (at < size_ ? 1 : 0);
      return Scan::kRecord;
    }
    if (fields_.size() >= kCsvFieldCountMax) {
      return Wrong(ErrorCode::kTooLarge,
                   "more than " + std::to_string(kCsvFieldCountMax) + " fields");
    }
    ++at;  // The delimiter.
  }
}

// Doubled quotes become single ones in place: the record is not scanned again.
void CsvReader::UndoubleQuotes() {
  for (const std::size_t index : doubled_) {
    std::string_view& field = fields_[index];
    char* const begin = buffer_.data() + (field.data() - buffer_.data());
    std::size_t size = 0;
    for (std::size_t in = 0; in < field.size(); ++in) {
      const char c = begin[in];
      begin[size++] = c;
      if (c == '"') ++in;
    }
    field = field.substr(0, size);
  }
}

Status CsvReader::CheckRecord() {
  if (field_count_ == 0) field_count_ = fields_.size();
  if (!options_.is_rectangular || fields_.size() == field_count_) return {};
  return Wrong(
      ErrorCode::kInvalidArgument,
      std::to_string(fields_.size()) + " fields, but line 1 has " + std::to_string(field_count_));
}

Result<bool> CsvReader::Next() {
  for (;;) {
    record_line_ = line_;
    const std::size_t begin = next_;
    DNC_ASSIGN(const Scan scan, ScanRecord());
    switch (scan) {
      case Scan::kEnd:
        return false;
      case Scan::kBlank:
        break;
      case Scan::kNeedsMore:
        DNC_TRY(Refill());
        break;
      case Scan::kRecord:
        if (next_ - begin > kCsvRecordBytesMax) return TooLong();
        UndoubleQuotes();
        DNC_TRY(CheckRecord());
        return true;
    }
  }
}

}  // namespace dnc::source
