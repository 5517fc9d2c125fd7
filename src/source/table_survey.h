// The first of two passes over a table: checks every value, and finds what each
// column holds. The second pass (table_source.h) relies on it.
//
// A column holds numbers, dates or texts; texts are categories. A column that
// mixes them is an error, unless it is named in category_columns: a wrong value
// must not turn a column of numbers into one of names. The label may be of any
// texts: whole numbers become int64, other numbers float32, and anything else the
// index of its name in sorted order (uint8 up to 256 names, else int64).

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "array/column.h"
#include "source/row_reader.h"
#include "source/sample_source.h"
#include "source/table_columns.h"
#include "source/value.h"

namespace dnc::source {

inline constexpr std::size_t kClassCountMax = 4096;          // Different texts in a column.
inline constexpr std::size_t kCategoryBytesMax = 256;        // Of one text.
inline constexpr std::size_t kCategoriesBytesMax = 4 << 20;  // Of all, which go into the manifest.

enum class LabelKind { kNone, kInteger, kNumber, kText };

struct FeatureSchema {
  std::size_t column = 0;  // Of the row.
  array::FeatureKind kind = array::FeatureKind::kNumber;
  bool is_boolean = false;              // "t" and "f" of a database.
  std::vector<std::string> categories;  // Sorted.
  double fill = 0;                      // For a missing value.
};

struct TableSchema {
  std::vector<FeatureSchema> features;
  array::DType dtype = array::DType::kFloat32;  // Of x.
  std::optional<std::size_t> label;
  LabelKind label_kind = LabelKind::kNone;
  std::vector<std::string> class_names;  // Sorted.
  std::uint64_t sample_count = 0;        // Without dropped rows.
  std::uint64_t dropped_rows = 0;
  std::uint64_t missing_values = 0;  // In rows that are kept.
};

// What both passes need beside the rows.
struct TableContext {
  const RowInput* rows;
  const SourceOptions* options;
  ChosenColumns chosen;
  MissingTexts missing;

  bool IsMissing(std::string_view field) const {
    return field.data() == nullptr || missing.Contains(Trim(field));
  }
  std::optional<double> Number(std::string_view text) const {
    return options->table.decimal_comma ? ParseCommaNumber(text) : ParseNumber(text);
  }
  // Whether a column that is read misses a value.
  bool HasMissing(const RowReader& reader) const;
  // "a.csv: line 3: column "age": what".
  Error Wrong(const RowReader& reader, std::size_t column, const std::string& what) const;
  Error NoDate(const RowReader& reader, std::size_t column) const;
};

TableContext MakeTableContext(const RowInput& rows, const SourceOptions& options,
                              ChosenColumns chosen);

// Reads `reader` to its end.
// Errors: kInvalidArgument, with file, line and column: a value that does not fit
// its column, a missing value; no rows; kTooLarge, too many categories; kCancelled,
// by options.survey_progress; those of the reader.
Result<TableSchema> SurveyTable(const TableContext& context, RowReader* reader);

}  // namespace dnc::source
