#include "source/table_survey.h"

#include <cmath>
#include <set>

#include "base/assert.h"
#include "source/text.h"

namespace dnc::source {
namespace {

using array::FeatureKind;

constexpr std::uint64_t kRowsAProgress = 8192;
constexpr std::size_t kShownBytes = 60;

std::string Quoted(std::string_view text) { return "\"" + Printable(text, kShownBytes) + "\""; }

// The different texts of a column.
class Names {
 public:
  // False: it is one too many.
  bool Add(std::string_view text) {
    if (last_ != nullptr && *last_ == text) return true;
    auto found = names_.find(text);
    if (found == names_.end()) {
      if (names_.size() == kClassCountMax) return false;
      found = names_.emplace(text).first;
      bytes_ += text.size();
    }
    last_ = &*found;
    return true;
  }
  std::size_t bytes() const { return bytes_; }
  std::vector<std::string> Sorted() const { return {names_.begin(), names_.end()}; }

 private:
  std::set<std::string, std::less<>> names_;
  const std::string* last_ = nullptr;  // In names_: the same text often comes again.
  std::size_t bytes_ = 0;
};

Status CheckName(const TableContext& context, const RowReader& reader, std::size_t column,
                 std::string_view text) {
  if (text.size() <= kCategoryBytesMax && IsUtf8(text)) return {};
  if (text.size() > kCategoryBytesMax) {
    return context.Wrong(reader, column,
                         "the text " + Quoted(text) + " has " + std::to_string(text.size()) +
                             " bytes; a category has at most " + std::to_string(kCategoryBytesMax) +
                             "; leave the column out with --drop-columns");
  }
  return context.Wrong(reader, column,
                       Quoted(text) + " is not UTF-8 text; convert the file with iconv -t UTF-8");
}

Error TooManyNames(const TableContext& context, std::size_t column, const std::string& advice) {
  return {ErrorCode::kTooLarge, context.rows->name + ": column \"" + context.rows->names[column] +
                                    "\": more than " + std::to_string(kClassCountMax) +
                                    " different texts; " + advice};
}

class FeatureSurvey {
 public:
  enum class Kind { kUnknown, kNumber, kBoolean, kDate, kText };

  FeatureSurvey(const TableContext& context, std::size_t column)
      : context_(context), column_(column), takes_any_text_(context.chosen.is_category[column]) {
    const auto& types = context.rows->types;
    const DeclaredType type = types.empty() ? DeclaredType::kAny : types[column];
    if (type == DeclaredType::kText) takes_any_text_ = true;
    if (type == DeclaredType::kNumber) kind_ = Kind::kNumber;
    if (type == DeclaredType::kBoolean) kind_ = Kind::kBoolean;
    if (type == DeclaredType::kDate) kind_ = Kind::kDate;
    if (takes_any_text_) kind_ = Kind::kText;
  }

  Status Add(const RowReader& reader) {
    const std::string_view field = reader.fields()[column_];
    if (kind_ == Kind::kNumber && !context_.missing.has_numbers()) {
      if (const auto number = context_.Number(Trim(field))) return AddNumber(reader, *number);
    }
    if (context_.IsMissing(field)) return AddMissing(reader, field);
    return AddValue(reader, Trim(field));
  }

  // Requires: all rows were added.
  FeatureSchema Finish(MissingPolicy policy, double number) {
    FeatureSchema schema;
    schema.column = column_;
    schema.is_boolean = kind_ == Kind::kBoolean;
    if (kind_ == Kind::kDate) schema.kind = FeatureKind::kDate;
    if (policy == MissingPolicy::kNan) schema.fill = std::nan("");
    if (policy == MissingPolicy::kNumber) schema.fill = number;
    if (policy == MissingPolicy::kMean && count_ > 0) {
      schema.fill = sum_ / static_cast<double>(count_);
    }
    if (kind_ != Kind::kText) return schema;
    schema.kind = FeatureKind::kCategory;
    // The empty text sorts first: index 0.
    if (missing_ > 0 && policy != MissingPolicy::kNan && policy != MissingPolicy::kDrop) {
      names_.Add("");
      schema.fill = 0;
    }
    schema.categories = names_.Sorted();
    return schema;
  }

  std::uint64_t missing() const { return missing_; }
  std::size_t name_bytes() const { return names_.bytes(); }
  // Dates that a float32 would round.
  bool needs_float64() const { return needs_float64_; }
  const std::optional<Error>& beyond_float32() const { return beyond_float32_; }

 private:
  Status AddMissing(const RowReader& reader, std::string_view field) {
    if (context_.options->table.missing == MissingPolicy::kError) {
      const std::string shown = field.data() == nullptr ? "NULL" : Quoted(Trim(field));
      return context_.Wrong(reader, column_,
                            "the value is missing (" + shown +
                                "); fill it in, or say what to do with --missing drop, mean, "
                                "zero, nan or a number");
    }
    ++missing_;
    return {};
  }

  Status AddNumber(const RowReader& reader, double value) {
    if (!std::isfinite(value)) {
      return context_.Wrong(reader, column_,
                            Quoted(Trim(reader.fields()[column_])) + " does not fit a float64");
    }
    if (!std::isfinite(static_cast<float>(value)) && !beyond_float32_) {
      beyond_float32_ = context_.Wrong(
          reader, column_,
          Quoted(Trim(reader.fields()[column_])) + " does not fit a float32; take --dtype float64");
    }
    sum_ += value;
    ++count_;
    return {};
  }

  Status AddDate(const RowReader& reader, const ParsedDate& date) {
    if (date.kind == ParsedDate::Kind::kUnknownOrder) return context_.NoDate(reader, column_);
    if (static_cast<double>(static_cast<float>(date.seconds)) != date.seconds) {
      needs_float64_ = true;
    }
    sum_ += date.seconds;
    ++count_;
    return {};
  }

  // Requires: `text` is not missing.
  Status AddValue(const RowReader& reader, std::string_view text) {
    if (kind_ == Kind::kText && takes_any_text_) return AddName(reader, text);
    if (kind_ == Kind::kBoolean) {
      if (const auto value = ParseBoolean(text)) return AddNumber(reader, *value ? 1 : 0);
      return context_.Wrong(reader, column_, Quoted(text) + " is neither true nor false");
    }
    const std::optional<double> number = context_.Number(text);
    const ParsedDate date =
        number ? ParsedDate() : ParseDate(text, context_.options->table.date_order);
    const Kind kind = number                                 ? Kind::kNumber
                      : date.kind != ParsedDate::Kind::kNone ? Kind::kDate
                                                             : Kind::kText;
    if (kind_ == Kind::kUnknown) {
      kind_ = kind;
      first_text_ = Printable(text, kShownBytes);
      first_row_ = reader.number();
    }
    // A column of texts may hold one that reads as a date, but not as a number.
    if (kind_ == Kind::kText && kind != Kind::kNumber) return AddName(reader, text);
    if (kind != kind_) return Mixed(reader, text, kind);
    return number ? AddNumber(reader, *number) : AddDate(reader, date);
  }

  Status AddName(const RowReader& reader, std::string_view text) {
    DNC_TRY(CheckName(context_, reader, column_, text));
    // A table of such numbers would become one of names without a word.
    if (!takes_any_text_ && ParseCommaNumber(text)) {
      return context_.Wrong(reader, column_,
                            Quoted(text) +
                                " reads as a number with a decimal comma; "
                                "--decimal-comma takes it as one, --categories as a "
                                "name");
    }
    if (names_.Add(text)) return {};
    return TooManyNames(context_, column_, "leave the column out with --drop-columns");
  }

  Error Mixed(const RowReader& reader, std::string_view text, Kind kind) const {
    const auto word = [](Kind of) {
      return of == Kind::kNumber ? "a number" : of == Kind::kDate ? "a date" : "a text";
    };
    std::string what = Quoted(text) + " is not " + word(kind_);
    if (kind_ == Kind::kText) what = Quoted(text) + " is " + word(kind);
    if (first_row_ > 0) {
      what += ", but " + context_.rows->row_word + " " + std::to_string(first_row_) + " has " +
              word(kind_) + " (\"" + first_text_ + "\")";
    }
    return context_.Wrong(reader, column_,
                          what +
                              "; --categories takes all its values as names, --missing-values "
                              "says what stands for a missing one, --drop-columns leaves it "
                              "out, --label-column makes it the label");
  }

  const TableContext& context_;
  std::size_t column_;
  bool takes_any_text_;
  Kind kind_ = Kind::kUnknown;
  std::string first_text_;
  std::uint64_t first_row_ = 0;
  Names names_;
  std::uint64_t missing_ = 0;
  std::uint64_t count_ = 0;
  double sum_ = 0;
  bool needs_float64_ = false;
  std::optional<Error> beyond_float32_;
};

// Narrows the kind of the label and collects its names.
class LabelSurvey {
 public:
  LabelSurvey(const TableContext& context, std::size_t column)
      : context_(context), column_(column) {
    const auto& types = context.rows->types;
    const DeclaredType type = types.empty() ? DeclaredType::kAny : types[column];
    is_boolean_ = type == DeclaredType::kBoolean;
    if (is_boolean_ || type == DeclaredType::kText || context.chosen.is_category[column]) {
      kind_ = LabelKind::kText;
    }
  }

  Status Add(const RowReader& reader) {
    const std::string_view field = reader.fields()[column_];
    if (context_.IsMissing(field)) {
      return context_.Wrong(reader, column_,
                            "the label is missing (" +
                                (field.data() == nullptr ? "NULL" : Quoted(Trim(field))) +
                                "); --missing drop leaves such rows out");
    }
    const std::string_view text = Trim(field);
    if (kind_ == LabelKind::kInteger && !ParseInteger(text)) kind_ = LabelKind::kNumber;
    if (kind_ == LabelKind::kNumber) {
      const std::optional<double> number = context_.Number(text);
      if (!number || !std::isfinite(static_cast<float>(*number))) kind_ = LabelKind::kText;
    }
    DNC_TRY(CheckName(context_, reader, column_, text));
    // Beyond so many numbers, a text would be refused anyway.
    if (!too_many_ && !names_.Add(text)) too_many_ = true;
    if (too_many_ && kind_ == LabelKind::kText) {
      return TooManyNames(context_, column_, "is it the label column?");
    }
    return {};
  }

  void Finish(TableSchema* schema) const {
    schema->label = column_;
    schema->label_kind = kind_;
    if (kind_ == LabelKind::kText) schema->class_names = names_.Sorted();
  }
  std::size_t name_bytes() const { return kind_ == LabelKind::kText ? names_.bytes() : 0; }

 private:
  const TableContext& context_;
  std::size_t column_;
  LabelKind kind_ = LabelKind::kInteger;
  bool is_boolean_ = false;
  bool too_many_ = false;
  Names names_;
};

// All columns of a table.
class Survey {
 public:
  explicit Survey(const TableContext& context) : context_(context) {
    for (const std::size_t column : context.chosen.features) {
      features_.emplace_back(context, column);
    }
    if (context.chosen.label) label_.emplace(context, *context.chosen.label);
  }

  Status AddRow(const RowReader& reader) {
    if (context_.options->table.missing == MissingPolicy::kDrop && context_.HasMissing(reader)) {
      ++schema_.dropped_rows;
      return {};
    }
    for (FeatureSurvey& feature : features_) DNC_TRY(feature.Add(reader));
    if (label_) DNC_TRY(label_->Add(reader));
    ++schema_.sample_count;
    return {};
  }

  Result<TableSchema> Finish() {
    const TableOptions& table = context_.options->table;
    if (schema_.sample_count == 0) {
      return Error{ErrorCode::kInvalidArgument,
                   context_.rows->name + ": holds no samples: " +
                       (schema_.dropped_rows > 0   ? "every row misses a value (--missing drop)"
                        : context_.rows->has_names ? "only a header"
                                                   : "no " + context_.rows->row_word + "s")};
    }
    std::size_t name_bytes = label_ ? label_->name_bytes() : 0;
    bool needs_float64 = false;
    for (FeatureSurvey& feature : features_) {
      schema_.features.push_back(feature.Finish(table.missing, table.missing_number));
      schema_.missing_values += feature.missing();
      name_bytes += feature.name_bytes();
      needs_float64 = needs_float64 || feature.needs_float64();
    }
    if (name_bytes > kCategoriesBytesMax) {
      return Error{ErrorCode::kTooLarge,
                   context_.rows->name + ": the texts of its categories have " +
                       std::to_string(name_bytes) + " bytes; at most " +
                       std::to_string(kCategoriesBytesMax) +
                       " fit the manifest; leave columns out with --drop-columns"};
    }
    schema_.dtype = needs_float64 ? array::DType::kFloat64 : array::DType::kFloat32;
    if (table.dtype) schema_.dtype = *table.dtype;
    for (const FeatureSurvey& feature : features_) {
      if (schema_.dtype == array::DType::kFloat32 && feature.beyond_float32()) {
        return *feature.beyond_float32();
      }
    }
    if (label_) label_->Finish(&schema_);
    return std::move(schema_);
  }

 private:
  const TableContext& context_;
  std::vector<FeatureSurvey> features_;
  std::optional<LabelSurvey> label_;
  TableSchema schema_;
};

}  // namespace

bool TableContext::HasMissing(const RowReader& reader) const {
  const auto fields = reader.fields();
  for (const std::size_t column : chosen.features) {
    if (IsMissing(fields[column])) return true;
  }
  return chosen.label && IsMissing(fields[*chosen.label]);
}

Error TableContext::Wrong(const RowReader& reader, std::size_t column,
                          const std::string& what) const {
  return {ErrorCode::kInvalidArgument, rows->name + ": " + rows->row_word + " " +
                                           std::to_string(reader.number()) + ": column \"" +
                                           rows->names[column] + "\": " + what};
}

Error TableContext::NoDate(const RowReader& reader, std::size_t column) const {
  return Wrong(reader, column,
               Quoted(Trim(reader.fields()[column])) +
                   " may be day and month or month and day; say which with --date-order dmy or "
                   "mdy");
}

TableContext MakeTableContext(const RowInput& rows, const SourceOptions& options,
                              ChosenColumns chosen) {
  static const std::vector<std::string> kNone;
  const auto& texts = options.table.missing_texts
                          ? *options.table.missing_texts
                          : (rows.has_missing_texts ? DefaultMissingTexts() : kNone);
  return {&rows, &options, std::move(chosen), MissingTexts(texts, rows.has_missing_texts)};
}

Result<TableSchema> SurveyTable(const TableContext& context, RowReader* reader) {
  Survey survey(context);
  const auto& progress = context.options->survey_progress;
  for (std::uint64_t row = 0;; ++row) {
    if (progress && row % kRowsAProgress == 0 &&
        !progress({reader->position(), context.rows->file_bytes})) {
      return Error{ErrorCode::kCancelled, context.rows->name + ": reading was stopped"};
    }
    DNC_ASSIGN(const bool more, reader->Next());
    if (!more) break;
    DNC_TRY(survey.AddRow(*reader));
  }
  return survey.Finish();
}

}  // namespace dnc::source
