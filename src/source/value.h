// What a text in a table means: a number, a date, or a value that is missing.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "source/table_options.h"

namespace dnc::source {

// Without spaces and tabs around it.
std::string_view Trim(std::string_view text);

// A decimal number, as C writes it, to the nearest double; "+1" too. Neither
// "inf" nor "nan", nor hexadecimal.
std::optional<double> ParseNumber(std::string_view text);
// The same with a comma for the point.
std::optional<double> ParseCommaNumber(std::string_view text);
std::optional<std::int64_t> ParseInteger(std::string_view text);

struct ParsedDate {
  enum class Kind { kNone, kDate, kUnknownOrder };
  Kind kind = Kind::kNone;
  double seconds = 0;  // Since 1970-01-01T00:00:00Z.
};

// A date, or a date and a time of day: ISO 8601 (2021-03-04, 2021-03-04T10:20:30.5Z,
// a space for the T, any offset), 2021/03/04, 04.03.2021, 4 Mar 2021, 04-Mar-2021,
// Mar 4, 2021; with `order` also 03/04/2021 and 03-04-2021. Without an offset a time
// is UTC. Years 1 to 9999.
ParsedDate ParseDate(std::string_view text, DateOrder order);

// As spreadsheets, pandas, R and the UCI archive write a value that is not there.
const std::vector<std::string>& DefaultMissingTexts();

// "t", "true", "1" and the opposites, as databases write them.
std::optional<bool> ParseBoolean(std::string_view text);

// A set of texts, and the empty one where that stands for a missing value too.
class MissingTexts {
 public:
  MissingTexts(const std::vector<std::string>& texts, bool has_empty);
  // Requires: `text` is trimmed.
  bool Contains(std::string_view text) const;
  // One of them is a number, such as -999, so that it must be looked for first.
  bool has_numbers() const { return has_numbers_; }

 private:
  std::vector<std::string> sorted_;
  std::size_t bytes_max_ = 0;
  bool has_empty_;
  bool has_numbers_ = false;
};

}  // namespace dnc::source
