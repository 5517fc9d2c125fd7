// How the rows of a table (csv, or a query on a database) become numbers.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "array/dtype.h"

namespace dnc::source {

// What becomes of a value that is not there.
enum class MissingPolicy {
  kError,  // The first one stops the reading, with line and column.
  kDrop,   // Its row is left out.
  kMean,   // The mean of the column's other values.
  kNan,
  kNumber,  // TableOptions::missing_number.
};

// Which of "03/04/2021" is the month. Without it such dates are refused.
enum class DateOrder { kUnknown, kDayFirst, kMonthFirst };

// Columns are given by name, or as "#3" by index from 0.
struct TableOptions {
  char delimiter = '\0';       // csv: "\0" finds it: comma, tab, semicolon or "|".
  std::optional<bool> header;  // csv: whether the first line names the columns; empty finds it.

  std::vector<std::string> columns;       // The features, in this order. Empty: all.
  std::vector<std::string> drop_columns;  // Not read at all.
  // These are categories even where some or all of their values are numbers.
  std::vector<std::string> category_columns;

  // A missing label is an error, but for kDrop. Of a column of categories, a missing
  // value is the category "" (the first) under kMean and kNumber.
  MissingPolicy missing = MissingPolicy::kError;
  double missing_number = 0;
  // The texts that stand for a missing value, beside the empty one; without it
  // those of DefaultMissingTexts().
  std::optional<std::vector<std::string>> missing_texts;

  bool decimal_comma = false;  // Numbers are written 1,5. Without it such texts are refused.
  DateOrder date_order = DateOrder::kUnknown;
  // float32 or float64. Without it float32, or float64 where a column has times of
  // day that a float32 cannot hold.
  std::optional<array::DType> dtype;
};

}  // namespace dnc::source
