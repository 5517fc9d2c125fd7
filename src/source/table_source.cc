#include "source/table_source.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>

#include "base/assert.h"
#include "base/human.h"
#include "source/table_survey.h"
#include "source/text.h"

namespace dnc::source {
namespace {

using array::FeatureKind;

// Rows held in memory, and then those that a reader still has.
class HeldRows {
 public:
  struct Row {
    std::string text;               // All fields, one behind the other.
    std::vector<std::size_t> ends;  // SIZE_MAX: NULL.
    std::uint64_t number = 0;
  };

  // Reads rows until there are enough. Keeps the reader for the rest.
  Status Hold(std::unique_ptr<RowReader> reader) {
    reader_ = std::move(reader);
    std::uint64_t bytes = 0;
    while (rows_.size() < kPipeRows && bytes < kPipeBytes) {
      DNC_ASSIGN(const bool more, reader_->Next());
      if (!more) {
        is_all_ = true;
        return {};
      }
      Row row;
      row.number = reader_->number();
      for (const std::string_view field : reader_->fields()) {
        row.text.append(field);
        row.ends.push_back(field.data() == nullptr ? SIZE_MAX : row.text.size());
      }
      bytes += row.text.size() + row.ends.size() * sizeof(std::size_t);
      rows_.push_back(std::move(row));
    }
    return {};
  }

  bool is_all() const { return is_all_; }
  const std::deque<Row>& rows() const { return rows_; }
  std::deque<Row>& rows() { return rows_; }
  RowReader* reader() { return reader_.get(); }

 private:
  std::unique_ptr<RowReader> reader_;
  std::deque<Row> rows_;
  bool is_all_ = false;
};

// The held rows once more; and, if `and_rest`, the others behind them, for which
// each held row is given up once it was passed.
class HeldReader final : public RowReader {
 public:
  HeldReader(HeldRows* held, bool and_rest) : held_(held), and_rest_(and_rest) {}

  Result<bool> Next() override {
    if (next_ < held_->rows().size()) {
      Show(held_->rows()[next_++]);
      return true;
    }
    if (!and_rest_ || held_->is_all()) return false;
    held_->rows().clear();
    next_ = 0;
    in_rest_ = true;
    return held_->reader()->Next();
  }
  std::span<const std::string_view> fields() const override {
    return in_rest_ ? held_->reader()->fields() : fields_;
  }
  std::uint64_t number() const override { return in_rest_ ? held_->reader()->number() : number_; }
  std::uint64_t position() const override { return held_->reader()->position(); }

 private:
  void Show(const HeldRows::Row& row) {
    fields_.clear();
    std::size_t begin = 0;
    for (const std::size_t end : row.ends) {
      if (end == SIZE_MAX) {
        fields_.emplace_back();
      } else {
        fields_.emplace_back(row.text.data() + begin, end - begin);
        begin = end;
      }
    }
    number_ = row.number;
  }

  HeldRows* held_;
  bool and_rest_;
  bool in_rest_ = false;
  std::size_t next_ = 0;
  std::vector<std::string_view> fields_;
  std::uint64_t number_ = 0;
};

std::string Plural(std::uint64_t count, const std::string& one, const std::string& many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

class TableSource final : public SampleSource {
 public:
  TableSource(RowInput rows, SourceOptions options, ChosenColumns chosen)
      : rows_(std::move(rows)),
        options_(std::move(options)),
        context_(MakeTableContext(rows_, options_, std::move(chosen))) {}

  Status Open() {
    DNC_ASSIGN(auto reader, rows_.open());
    if (rows_.is_once) {
      DNC_TRY(held_.Hold(std::move(reader)));
      HeldReader first(&held_, false);
      DNC_ASSIGN(schema_, SurveyTable(context_, &first));
      if (!held_.is_all() && options_.table.missing == MissingPolicy::kMean) {
        return Error{ErrorCode::kUnsupported,
                     rows_.name +
                         ": --missing mean needs all values before the first sample, "
                         "which a pipe does not give; save it to a file first"};
      }
      reader_ = std::make_unique<HeldReader>(&held_, true);
    } else {
      DNC_ASSIGN(schema_, SurveyTable(context_, reader.get()));
      reader.reset();
      DNC_ASSIGN(reader_, rows_.open());
    }
    options_.survey_progress = nullptr;  // Its captures may end before this does.
    is_counted_ = !rows_.is_once || held_.is_all();
    MakeColumns();
    return {};
  }

  const std::vector<array::ColumnSpec>& columns() const override { return columns_; }
  std::optional<std::uint64_t> sample_count() const override {
    if (!is_counted_) return std::nullopt;
    return schema_.sample_count;
  }
  const std::vector<SkippedInput>& skipped() const override { return skipped_; }
  SourceBytes bytes() const override { return {reader_->position(), rows_.file_bytes}; }
  std::map<std::string, std::string> parameters() const override;
  std::string Describe() const override;
  Status Read(std::uint64_t sample_count_max, array::SampleBlock* block) override;
  Result<std::uint64_t> Skip(std::uint64_t sample_count) override;

 private:
  void MakeColumns();
  // Moves to the next row that is kept; false at the end.
  Result<bool> NextRow();
  template <typename Element>
  Status WriteFeatures(std::byte* out);
  Result<double> SlowFeature(const FeatureSchema& feature, std::string_view field);
  Result<double> CategoryIndex(const FeatureSchema& feature, std::string_view text);
  Status WriteLabel(std::span<std::byte> out);
  Error Misfit(std::size_t column, const std::string& what) const;

  RowInput rows_;
  SourceOptions options_;
  TableContext context_;
  TableSchema schema_;
  HeldRows held_;
  std::unique_ptr<RowReader> reader_;
  bool is_counted_ = true;
  std::uint64_t done_ = 0;
  std::vector<array::ColumnSpec> columns_;
  std::vector<SkippedInput> skipped_;  // Stays empty: a wrong row is an error.
};

void TableSource::MakeColumns() {
  array::ColumnSpec x{"x", schema_.dtype, {static_cast<std::int64_t>(schema_.features.size())}, {}};
  bool is_plain = !rows_.has_names;
  for (const FeatureSchema& feature : schema_.features) {
    const std::string& name = rows_.names[feature.column];
    x.features.push_back({name.empty() ? "#" + std::to_string(feature.column) : name, feature.kind,
                          feature.categories});
    is_plain = is_plain && feature.kind == FeatureKind::kNumber;
  }
  if (is_plain) x.features.clear();  // Numbers without names: nothing to say.
  columns_.push_back(std::move(x));
  switch (schema_.label_kind) {
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
          {"y", ClassIndexDType(schema_.class_names.size()), {}, schema_.class_names});
      break;
  }
}

std::string TableSource::Describe() const {
  std::uint64_t dates = 0;
  std::uint64_t categories = 0;
  for (const FeatureSchema& feature : schema_.features) {
    dates += feature.kind == FeatureKind::kDate ? 1 : 0;
    categories += feature.kind == FeatureKind::kCategory ? 1 : 0;
  }
  std::string text = rows_.kind + ", ";
  text += is_counted_ ? std::to_string(schema_.sample_count) + " " + rows_.row_word + "s"
                      : rows_.row_word + "s";
  text += " of " + std::to_string(schema_.features.size());
  if (dates + categories == 0) {
    text += " numbers";
  } else {
    text += " features (";
    if (dates > 0) text += Plural(dates, "date", "dates");
    if (dates > 0 && categories > 0) text += ", ";
    if (categories > 0) text += Plural(categories, "category", "categories");
    text += ")";
  }
  if (schema_.label) text += " and the label \"" + rows_.names[*schema_.label] + "\"";
  if (schema_.dropped_rows > 0) {
    text += "; left out for missing values: " +
            Plural(schema_.dropped_rows, rows_.row_word, rows_.row_word + "s");
  } else if (schema_.missing_values > 0) {
    text += "; " + Plural(schema_.missing_values, "missing value", "missing values");
  }
  return text;
}

std::map<std::string, std::string> TableSource::parameters() const {
  std::map<std::string, std::string> parameters = rows_.parameters;
  const TableOptions& table = options_.table;
  switch (table.missing) {
    case MissingPolicy::kError:
      parameters["missing"] = "error";
      break;
    case MissingPolicy::kDrop:
      parameters["missing"] = "drop";
      break;
    case MissingPolicy::kMean:
      parameters["missing"] = "mean";
      break;
    case MissingPolicy::kNan:
      parameters["missing"] = "nan";
      break;
    case MissingPolicy::kNumber: {
      char number[32];
      std::snprintf(number, sizeof number, "%.17g", table.missing_number);
      parameters["missing"] = number;
      break;
    }
  }
  if (table.missing_texts) {
    std::string list;
    for (const std::string& text : *table.missing_texts) list += (list.empty() ? "" : ",") + text;
    parameters["missing_values"] = list;
  }
  if (schema_.label) parameters["label_column"] = rows_.names[*schema_.label];
  return parameters;
}

Result<bool> TableSource::NextRow() {
  for (;;) {
    DNC_ASSIGN(const bool more, reader_->Next());
    if (!more) return false;
    const bool is_dropped =
        options_.table.missing == MissingPolicy::kDrop && context_.HasMissing(*reader_);
    if (!is_dropped) return true;
  }
}

// A value that the survey did not see: the file was changed, or it comes late in a pipe.
Error TableSource::Misfit(std::size_t column, const std::string& what) const {
  if (is_counted_) {
    return {ErrorCode::kCorrupt, rows_.name + ": the file changed while it was read (" +
                                     rows_.row_word + " " + std::to_string(reader_->number()) +
                                     ")"};
  }
  return context_.Wrong(*reader_, column,
                        what + ", as the first " + FormatCount(schema_.sample_count) + " " +
                            rows_.row_word +
                            "s of the pipe let expect; save it to a file, which is looked "
                            "through before it is divided");
}

Result<double> TableSource::CategoryIndex(const FeatureSchema& feature, std::string_view text) {
  const auto& names = feature.categories;
  const auto found = std::lower_bound(names.begin(), names.end(), text);
  if (found == names.end() || *found != text) {
    return Misfit(feature.column, "\"" + Printable(text, 60) + "\" is not one of the " +
                                      std::to_string(names.size()) + " categories");
  }
  return static_cast<double>(found - names.begin());
}

// Anything but a plain number.
Result<double> TableSource::SlowFeature(const FeatureSchema& feature, std::string_view field) {
  const std::string_view text = Trim(field);
  if (context_.IsMissing(field)) {
    if (options_.table.missing != MissingPolicy::kError) {
      // From a pipe, the first missing value may come behind the surveyed rows.
      if (feature.kind == FeatureKind::kCategory && !std::isnan(feature.fill)) {
        return CategoryIndex(feature, "");
      }
      return feature.fill;
    }
    return context_.Wrong(*reader_, feature.column,
                          "the value is missing; fill it in, or say what to do with --missing "
                          "drop, zero, nan or a number");
  }
  if (feature.kind == FeatureKind::kCategory) return CategoryIndex(feature, text);
  if (feature.is_boolean) {
    if (const auto value = ParseBoolean(text)) return *value ? 1.0 : 0.0;
  } else if (feature.kind == FeatureKind::kDate) {
    const ParsedDate date = ParseDate(text, options_.table.date_order);
    if (date.kind == ParsedDate::Kind::kUnknownOrder) {
      return context_.NoDate(*reader_, feature.column);
    }
    if (date.kind == ParsedDate::Kind::kDate) return date.seconds;
  } else if (const auto number = context_.Number(text)) {
    return *number;
  }
  return Misfit(feature.column,
                "\"" + Printable(text, 60) + "\" is not a " + FeatureKindName(feature.kind));
}

template <typename Element>
Status TableSource::WriteFeatures(std::byte* out) {
  const auto fields = reader_->fields();
  const bool numbers_first = !context_.missing.has_numbers();
  for (const FeatureSchema& feature : schema_.features) {
    const std::string_view field = fields[feature.column];
    std::optional<double> value;
    if (feature.kind == FeatureKind::kNumber && numbers_first && !feature.is_boolean) {
      value = context_.Number(Trim(field));
    }
    if (!value) {
      DNC_ASSIGN(value, SlowFeature(feature, field));
    }
    const auto element = static_cast<Element>(*value);
    if (!std::isfinite(element) && !std::isnan(element)) {
      return Misfit(feature.column, "\"" + Printable(field, 60) + "\" does not fit a " +
                                        array::DTypeName(schema_.dtype));
    }
    std::memcpy(out, &element, sizeof element);
    out += sizeof element;
  }
  return {};
}

Status TableSource::WriteLabel(std::span<std::byte> out) {
  const std::string_view field = reader_->fields()[*schema_.label];
  const std::string_view text = Trim(field);
  const auto misfit = [&](const char* what) {
    return Misfit(*schema_.label, "the label \"" + Printable(text, 60) + "\" is not " + what);
  };
  if (context_.IsMissing(field)) {
    if (is_counted_) return misfit("there");
    return context_.Wrong(*reader_, *schema_.label,
                          "the label is missing; --missing drop leaves such rows out");
  }
  if (schema_.label_kind == LabelKind::kInteger) {
    const std::optional<std::int64_t> value = ParseInteger(text);
    if (!value) return misfit("a whole number");
    std::memcpy(out.data(), &*value, out.size());
  } else if (schema_.label_kind == LabelKind::kNumber) {
    const std::optional<double> number = context_.Number(text);
    if (!number) return misfit("a number");
    const auto value = static_cast<float>(*number);
    std::memcpy(out.data(), &value, out.size());
  } else {
    const auto& names = schema_.class_names;
    const auto found = std::lower_bound(names.begin(), names.end(), text);
    if (found == names.end() || *found != text) return misfit("one of the classes");
    const auto index = static_cast<std::int64_t>(found - names.begin());
    std::memcpy(out.data(), &index, out.size());  // Little-endian: the low bytes first.
  }
  return {};
}

Status TableSource::Read(std::uint64_t sample_count_max, array::SampleBlock* block) {
  const std::uint64_t wanted =
      is_counted_ ? std::min(sample_count_max, schema_.sample_count - done_) : sample_count_max;
  block->sample_count = 0;
  block->columns.resize(columns_.size());
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    block->columns[c].resize(wanted * columns_[c].sample_bytes());
  }
  std::uint64_t count = 0;
  for (; count < wanted; ++count) {
    DNC_ASSIGN(const bool more, NextRow());
    if (!more) break;
    std::byte* x = block->columns[0].data() + count * columns_[0].sample_bytes();
    DNC_TRY(schema_.dtype == array::DType::kFloat32 ? WriteFeatures<float>(x)
                                                    : WriteFeatures<double>(x));
    if (schema_.label) {
      const std::size_t size = columns_[1].sample_bytes();
      DNC_TRY(WriteLabel(std::span(block->columns[1]).subspan(count * size, size)));
    }
  }
  if (is_counted_ && count < wanted) {
    return Error{ErrorCode::kCorrupt, rows_.name + ": the file changed while it was read"};
  }
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    block->columns[c].resize(count * columns_[c].sample_bytes());
  }
  block->sample_count = count;
  done_ += count;
  return {};
}

Result<std::uint64_t> TableSource::Skip(std::uint64_t sample_count) {
  std::uint64_t skipped = 0;
  for (; skipped < sample_count; ++skipped) {
    DNC_ASSIGN(const bool more, NextRow());
    if (!more) break;
    ++done_;
  }
  return skipped;
}

}  // namespace

Result<std::unique_ptr<SampleSource>> OpenTable(RowInput rows, const SourceOptions& options) {
  DNC_ASSIGN(ChosenColumns chosen, ChooseColumns(rows, options));
  auto source = std::make_unique<TableSource>(std::move(rows), options, std::move(chosen));
  DNC_TRY(source->Open());
  return std::unique_ptr<SampleSource>(std::move(source));
}

}  // namespace dnc::source
