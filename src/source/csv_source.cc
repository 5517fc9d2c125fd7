#include "source/csv_source.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <set>

#include "base/human.h"
#include "source/csv_reader.h"
#include "source/text.h"

namespace dnc::source {
namespace {

enum class LabelKind { kNone, kInteger, kNumber, kText };

constexpr std::size_t kLabelBytesMax = 256;

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// As spreadsheets, pandas and R write a value that is not there.
bool IsMissing(std::string_view text) {
  static constexpr std::string_view kMissing[] = {"",     "NA",   "N/A",  "NaN", "nan",
                                                  "NULL", "null", "None", "?"};
  return std::find(std::begin(kMissing), std::end(kMissing), text) != std::end(kMissing);
}

std::optional<double> ParseNumber(std::string_view text) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (rest != end || text.empty()) return std::nullopt;
  if (error == std::errc::result_out_of_range) {
    // Too small is zero, too large infinite; from_chars does not say which.
    return std::strtod(std::string(text).c_str(), nullptr);
  }
  if (error != std::errc()) return std::nullopt;
  return value;
}

std::optional<std::int64_t> ParseInteger(std::string_view text) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  std::int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (rest != end || error != std::errc()) return std::nullopt;
  return value;
}

// What the first pass finds, and the second relies on.
struct CsvLayout {
  std::vector<std::string> names;  // Of the columns; "#0", "#1" without a header.
  bool has_header = false;
  std::optional<std::size_t> label_index;
  LabelKind label_kind = LabelKind::kNone;
  std::vector<std::string> class_names;
  std::uint64_t sample_count = 0;

  std::size_t feature_count() const { return names.size() - (label_index ? 1 : 0); }
  std::string ColumnText(std::size_t index) const { return "column \"" + names[index] + "\""; }
};

// Where a value stands, for messages.
struct Place {
  const CsvReader* reader;
  const CsvLayout* layout;
  const std::string* file;

  Error Wrong(std::size_t column, const std::string& what) const {
    return {ErrorCode::kInvalidArgument, *file + ": line " + std::to_string(reader->line()) + ": " +
                                             layout->ColumnText(column) + ": " + what};
  }
};

Result<float> ParseFeature(const Place& place, std::size_t column) {
  const std::string_view text = Trim(place.reader->field(column));
  if (IsMissing(text)) {
    return place.Wrong(column, "the value is missing (\"" + std::string(text) +
                                   "\"); fill it in or leave the line out");
  }
  const std::optional<double> number = ParseNumber(text);
  if (!number) {
    return place.Wrong(column, "\"" + Printable(text, 60) +
                                   "\" is not a number; every column but the label must be numeric "
                                   "(--label-column NAME chooses the label)");
  }
  const auto value = static_cast<float>(*number);
  if (!std::isfinite(value)) {
    return place.Wrong(column, "\"" + Printable(text, 60) + "\" does not fit a float32");
  }
  return value;
}

Status CheckFieldCount(const Place& place) {
  if (place.reader->field_count() == place.layout->names.size()) return {};
  return Error{ErrorCode::kInvalidArgument,
               *place.file + ": line " + std::to_string(place.reader->line()) + ": " +
                   std::to_string(place.reader->field_count()) + " fields, but line 1 has " +
                   std::to_string(place.layout->names.size())};
}

// "#3" is the column of that index.
Result<std::optional<std::size_t>> LabelByNumber(const std::string& label, std::size_t field_count,
                                                 const std::string& file) {
  if (label.empty() || label[0] != '#') return std::optional<std::size_t>();
  const std::optional<std::int64_t> index = ParseInteger(std::string_view(label).substr(1));
  if (!index) return std::optional<std::size_t>();  // A name that begins with "#".
  if (*index < 0 || static_cast<std::uint64_t>(*index) >= field_count) {
    return Error{ErrorCode::kInvalidArgument, file + ": the label column is given as " + label +
                                                  ", but there are " + std::to_string(field_count) +
                                                  " columns, #0 to #" +
                                                  std::to_string(field_count - 1)};
  }
  return std::optional<std::size_t>(static_cast<std::size_t>(*index));
}

Result<std::size_t> LabelByName(const std::string& label, const std::vector<std::string>& names,
                                const std::string& file) {
  const auto found = std::find(names.begin(), names.end(), label);
  if (found != names.end()) {
    if (std::find(found + 1, names.end(), label) != names.end()) {
      return Error{ErrorCode::kInvalidArgument, file + ": two columns are named \"" + label +
                                                    "\"; give the label by number, "
                                                    "such as #" +
                                                    std::to_string(found - names.begin())};
    }
    return static_cast<std::size_t>(found - names.begin());
  }
  std::string list;
  for (const std::string& name : names) {
    if (list.size() > 400) {
      list += ", ...";
      break;
    }
    list += (list.empty() ? "" : ", ") + name;
  }
  const std::string nearest = NearestName(label, names);
  return Error{ErrorCode::kInvalidArgument,
               file + ": no column is named \"" + label + "\"; " +
                   (nearest.empty() ? "" : "did you mean \"" + nearest + "\"? ") +
                   "Its first line has: " + list};
}

// Reads the first record: names, label column, and whether it is a header.
Status ReadLayout(const CsvReader& reader, const SourceOptions& options, const std::string& file,
                  CsvLayout* layout) {
  const std::size_t count = reader.field_count();
  std::vector<std::string> fields;
  for (std::size_t i = 0; i < count; ++i) fields.emplace_back(Trim(reader.field(i)));
  DNC_ASSIGN(layout->label_index, LabelByNumber(options.label_column, count, file));
  const bool by_name = !options.label_column.empty() && !layout->label_index;
  layout->has_header = by_name;
  for (std::size_t i = 0; i < count && !layout->has_header; ++i) {
    layout->has_header = i != layout->label_index && !ParseNumber(fields[i]);
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (!IsUtf8(fields[i])) {
      return Error{ErrorCode::kInvalidArgument,
                   file + ": line 1: field " + std::to_string(i + 1) +
                       " is not UTF-8 text; convert the file with iconv -t UTF-8"};
    }
    layout->names.push_back(layout->has_header ? Printable(fields[i], 200)
                                               : "#" + std::to_string(i));
  }
  if (by_name) {
    DNC_ASSIGN(layout->label_index, LabelByName(options.label_column, fields, file));
  }
  if (layout->feature_count() == 0) {
    return Error{ErrorCode::kInvalidArgument,
                 file + ": its only column is the label; expected columns of numbers beside it"};
  }
  return {};
}

// The first pass over the labels: narrows their kind and collects their names.
class LabelSurvey {
 public:
  Status Add(const Place& place, std::size_t column) {
    const std::string_view text = Trim(place.reader->field(column));
    if (IsMissing(text)) {
      return place.Wrong(column, "the label is missing (\"" + std::string(text) + "\")");
    }
    if (kind_ == LabelKind::kInteger && !ParseInteger(text)) kind_ = LabelKind::kNumber;
    if (kind_ == LabelKind::kNumber) {
      const std::optional<double> number = ParseNumber(text);
      if (!number || !std::isfinite(static_cast<float>(*number))) kind_ = LabelKind::kText;
    }
    if (text.size() > kLabelBytesMax || !IsUtf8(text)) {
      return place.Wrong(column, "the label \"" + Printable(text, 60) +
                                     "\" is not UTF-8 text of at most 256 bytes");
    }
    if (names_.size() <= kClassCountMax && names_.find(text) == names_.end()) names_.emplace(text);
    if (kind_ == LabelKind::kText && names_.size() > kClassCountMax) {
      return Error{ErrorCode::kTooLarge, *place.file + ": " + place.layout->ColumnText(column) +
                                             ": more than " + std::to_string(kClassCountMax) +
                                             " different texts as labels; is it the label column?"};
    }
    return {};
  }
  void Finish(CsvLayout* layout) const {
    layout->label_kind = kind_;
    if (kind_ == LabelKind::kText) layout->class_names.assign(names_.begin(), names_.end());
  }

 private:
  LabelKind kind_ = LabelKind::kInteger;
  std::set<std::string, std::less<>> names_;
};

Result<CsvLayout> Survey(const SharedSource& source, const SourceOptions& options) {
  const std::string& file = source->name();
  CsvReader reader(source);
  CsvLayout layout;
  const Place place{&reader, &layout, &file};
  LabelSurvey labels;
  for (bool is_first = true;; is_first = false) {
    DNC_ASSIGN(const bool more, reader.Next());
    if (!more) break;
    if (is_first) {
      DNC_TRY(ReadLayout(reader, options, file, &layout));
      if (layout.has_header) continue;
    }
    DNC_TRY(CheckFieldCount(place));
    for (std::size_t column = 0; column < layout.names.size(); ++column) {
      if (column == layout.label_index) {
        DNC_TRY(labels.Add(place, column));
      } else {
        DNC_TRY(ParseFeature(place, column));
      }
    }
    ++layout.sample_count;
  }
  if (layout.sample_count == 0) {
    return Error{
        ErrorCode::kInvalidArgument,
        file + ": holds no samples: " + (layout.has_header ? "only a header" : "no lines")};
  }
  if (layout.label_index) labels.Finish(&layout);
  return layout;
}

class CsvSource final : public SampleSource {
 public:
  CsvSource(SharedSource source, CsvLayout layout)
      : file_(source->name()),
        reader_(std::move(source)),
        layout_(std::move(layout)),
        remaining_(layout_.sample_count) {
    columns_.push_back(
        {"x", array::DType::kFloat32, {static_cast<std::int64_t>(layout_.feature_count())}, {}});
    switch (layout_.label_kind) {
      case LabelKind::kNone:
        break;
      case LabelKind::kInteger:
        columns_.push_back({"y", array::DType::kInt64, {}, {}});
        break;
      case LabelKind::kNumber:
        columns_.push_back({"y", array::DType::kFloat32, {}, {}});
        break;
      case LabelKind::kText:
        columns_.push_back(
            {"y", ClassIndexDType(layout_.class_names.size()), {}, layout_.class_names});
        break;
    }
  }

  const std::vector<array::ColumnSpec>& columns() const override { return columns_; }
  std::optional<std::uint64_t> sample_count() const override { return layout_.sample_count; }
  const std::vector<SkippedInput>& skipped() const override { return skipped_; }
  std::string Describe() const override {
    std::string text = "csv, " + std::to_string(layout_.sample_count) + " lines of " +
                       std::to_string(layout_.feature_count()) + " numbers";
    if (layout_.label_index)
      text += " and the label \"" + layout_.names[*layout_.label_index] + "\"";
    return text;
  }

  Status Read(std::uint64_t sample_count_max, array::SampleBlock* block) override {
    if (layout_.has_header && remaining_ == layout_.sample_count && !header_skipped_) {
      DNC_TRY(NextRecord());
      header_skipped_ = true;
    }
    const std::uint64_t count = std::min(sample_count_max, remaining_);
    block->sample_count = 0;
    block->columns.resize(columns_.size());
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      block->columns[c].resize(count * columns_[c].sample_bytes());
    }
    for (std::uint64_t i = 0; i < count; ++i) DNC_TRY(ReadSample(i, block));
    block->sample_count = count;
    remaining_ -= count;
    return {};
  }

 private:
  Error Changed() const {
    return {ErrorCode::kCorrupt, file_ + ": the file changed while it was read"};
  }

  Status NextRecord() {
    DNC_ASSIGN(const bool more, reader_.Next());
    if (!more || reader_.field_count() != layout_.names.size()) return Changed();
    return {};
  }

  Status ReadSample(std::uint64_t i, array::SampleBlock* block) {
    DNC_TRY(NextRecord());
    const Place place{&reader_, &layout_, &file_};
    std::byte* x = block->columns[0].data() + i * columns_[0].sample_bytes();
    for (std::size_t column = 0; column < layout_.names.size(); ++column) {
      if (column == layout_.label_index) {
        const std::size_t size = columns_[1].sample_bytes();
        DNC_TRY(WriteLabel(Trim(reader_.field(column)),
                           std::span(block->columns[1]).subspan(i * size, size)));
        continue;
      }
      DNC_ASSIGN(const float value, ParseFeature(place, column));
      std::memcpy(x, &value, sizeof value);
      x += sizeof value;
    }
    return {};
  }

  Status WriteLabel(std::string_view text, std::span<std::byte> out) const {
    if (layout_.label_kind == LabelKind::kInteger) {
      const std::optional<std::int64_t> value = ParseInteger(text);
      if (!value) return Changed();
      std::memcpy(out.data(), &*value, out.size());
    } else if (layout_.label_kind == LabelKind::kNumber) {
      const std::optional<double> number = ParseNumber(text);
      if (!number) return Changed();
      const auto value = static_cast<float>(*number);
      std::memcpy(out.data(), &value, out.size());
    } else {
      const auto& names = layout_.class_names;
      const auto found = std::lower_bound(names.begin(), names.end(), text);
      if (found == names.end() || *found != text) return Changed();
      const auto index = static_cast<std::int64_t>(found - names.begin());
      std::memcpy(out.data(), &index, out.size());  // Little-endian: the low bytes first.
    }
    return {};
  }

  std::string file_;
  CsvReader reader_;
  CsvLayout layout_;
  std::uint64_t remaining_;
  bool header_skipped_ = false;
  std::vector<array::ColumnSpec> columns_;
  std::vector<SkippedInput> skipped_;  // Stays empty: a wrong line is an error.
};

}  // namespace

Result<std::unique_ptr<SampleSource>> OpenCsv(const Input& input, const SourceOptions& options) {
  SharedSource source = input.file;
  DNC_ASSIGN(CsvLayout layout, Survey(source, options));
  return std::unique_ptr<SampleSource>(
      std::make_unique<CsvSource>(std::move(source), std::move(layout)));
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
