#include "source/csv_source.h"

#include <algorithm>
#include <functional>

#include "base/assert.h"
#include "source/csv_format.h"
#include "source/csv_reader.h"
#include "source/table_columns.h"
#include "source/table_source.h"
#include "source/text.h"
#include "source/value.h"

namespace dnc::source {
namespace {

constexpr std::ptrdiff_t kSampleLinesMin = 4;

// As the options and the manifest write it.
std::string DelimiterName(char delimiter) {
  if (delimiter == '\t') return "tab";
  return std::string(1, delimiter);
}

Result<bool> HasHeader(const Input& input, const SourceOptions& options,
                       const std::vector<std::string>& first,
                       const std::vector<std::vector<std::string>>& below) {
  if (NamesColumns(options)) {
    if (options.table.header == false) {
      return Error{ErrorCode::kInvalidArgument,
                   input.name +
                       ": a column is given by name, but --no-header says that there "
                       "are no names; give it by number, such as #0"};
    }
    return true;
  }
  if (options.table.header) return *options.table.header;
  std::size_t label = SIZE_MAX;
  if (const auto number = ColumnNumber(options.label_column)) {
    label = static_cast<std::size_t>(*number);
  }
  return LooksLikeHeader(first, below, label);
}

Status ReadNames(const Input& input, const std::vector<std::string>& first, RowInput* rows) {
  for (std::size_t i = 0; i < first.size(); ++i) {
    if (!rows->has_names) {
      rows->names.push_back("#" + std::to_string(i));
      continue;
    }
    if (!IsUtf8(first[i])) {
      return Error{ErrorCode::kInvalidArgument,
                   input.name + ": line 1: field " + std::to_string(i + 1) +
                       " is not UTF-8 text; convert the file with iconv -t UTF-8"};
    }
    rows->names.push_back(Printable(first[i], 200));
  }
  return {};
}

// The first lines, and how to read all of them.
struct Sample {
  Bytes bytes;
  bool is_whole = false;  // There are no others.
  std::function<Result<std::unique_ptr<ByteStream>>()> open;
};

// More than the start of the input only where lines are so long that it has too few.
Result<Sample> TakeSample(const Input& input) {
  Sample sample{input.start, input.start.size() < kInputStartBytes, input.open};
  const auto has_enough = [&] {
    const std::string_view text = AsText(sample.bytes);
    return sample.is_whole || std::count(text.begin(), text.end(), '\n') >= kSampleLinesMin;
  };
  if (has_enough()) return sample;
  DNC_ASSIGN(auto stream, input.open());
  sample.bytes.clear();
  while (!has_enough() && sample.bytes.size() < 2 * kCsvRecordBytesMax) {
    const std::size_t before = sample.bytes.size();
    sample.bytes.resize(std::max<std::size_t>(1 << 20, 2 * before));
    DNC_ASSIGN(const std::size_t got, stream->Read(std::span(sample.bytes).subspan(before)));
    sample.is_whole = before + got < sample.bytes.size();
    sample.bytes.resize(before + got);
  }
  if (!input.is_once) return sample;
  auto rest = std::make_shared<std::unique_ptr<ByteStream>>(std::move(stream));
  sample.open = [rest, bytes = sample.bytes]() mutable -> Result<std::unique_ptr<ByteStream>> {
    DNC_ASSERT(*rest != nullptr);
    return OpenPrefixed(std::move(bytes), 0, std::move(*rest));
  };
  return sample;
}

// What is wrong with the first line, the reader says.
Error NoRecords(const Sample& sample, const std::string& name, char delimiter) {
  const auto bytes = std::make_shared<MemorySource>(sample.bytes, name);
  CsvReader reader(OpenRange(bytes, {0, bytes->size()}), {name, delimiter});
  const Result<bool> first = reader.Next();
  if (!first.ok()) return first.error();
  return {ErrorCode::kInvalidArgument, name + ": holds no samples: no lines"};
}

}  // namespace

Result<std::unique_ptr<SampleSource>> OpenCsv(const Input& input, const SourceOptions& options) {
  DNC_ASSIGN(const Sample sample, TakeSample(input));
  const char delimiter = options.table.delimiter != '\0'
                             ? options.table.delimiter
                             : FindDelimiter(sample.bytes, sample.is_whole);
  std::vector<std::vector<std::string>> below =
      SampleRecords(sample.bytes, sample.is_whole, delimiter);
  if (below.empty()) return NoRecords(sample, input.name, delimiter);
  const std::vector<std::string> first = below.front();
  below.erase(below.begin());

  RowInput rows;
  rows.name = input.name;
  rows.kind = (delimiter == '\t' ? "tsv" : "csv") + input.wrapping;
  rows.row_word = "line";
  DNC_ASSIGN(rows.has_names, HasHeader(input, options, first, below));
  DNC_TRY(ReadNames(input, first, &rows));
  rows.open = [open = sample.open, name = input.name, delimiter,
               has_header = rows.has_names]() -> Result<std::unique_ptr<RowReader>> {
    DNC_ASSIGN(auto stream, open());
    auto reader = std::make_unique<CsvReader>(
        std::move(stream), CsvReaderOptions{name, delimiter, /*is_rectangular=*/true});
    if (has_header) DNC_TRY(reader->Next());
    return std::unique_ptr<RowReader>(std::move(reader));
  };
  rows.is_once = input.is_once;
  rows.file_bytes = input.medium_bytes;
  rows.parameters = {{"delimiter", DelimiterName(delimiter)},
                     {"header", rows.has_names ? "yes" : "no"}};
  return OpenTable(std::move(rows), options);
}

bool LooksLikeCsv(ByteSpan start) {
  std::string_view text = AsText(start);
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return false;
  // JSON, XML and HTML are text too.
  if (text[first] == '{' || text[first] == '[' || text[first] == '<') return false;
  return std::none_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\r' && c != '\n';
  });
}

}  // namespace dnc::source
