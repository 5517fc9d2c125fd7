// Rows of texts: the lines of a csv, the rows of a query. What the texts mean is
// decided in table_survey.h, in one way for all of them.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace dnc::source {

class RowReader {
 public:
  virtual ~RowReader() = default;

  // Moves to the next row; false at the end.
  // Errors: kCorrupt, kTooLarge, kUnavailable, with the place.
  virtual Result<bool> Next() = 0;
  // Valid until Next(). A view without data (nullptr) is NULL.
  virtual std::span<const std::string_view> fields() const = 0;
  // Of the row, from 1: its line, or its number.
  virtual std::uint64_t number() const = 0;
  // How many bytes of the file were taken; 0 where there is no file.
  virtual std::uint64_t position() const = 0;
};

// What a database says of a column; a csv says nothing.
enum class DeclaredType { kAny, kNumber, kBoolean, kDate, kText };

struct RowInput {
  std::string name;      // For messages.
  std::string kind;      // "csv", "postgresql".
  std::string row_word;  // "line" or "row".
  // The columns' names, or "#0", "#1"... where has_names is false.
  std::vector<std::string> names;
  bool has_names = true;
  std::vector<DeclaredType> types;  // Empty: all kAny.
  // Whether texts such as "NA" are missing values by default; NULL always is.
  bool has_missing_texts = true;
  // Rows from the first (behind a header). Once only where is_once.
  std::function<Result<std::unique_ptr<RowReader>>()> open;
  bool is_once = false;
  std::optional<std::uint64_t> file_bytes;
  std::map<std::string, std::string> parameters;  // For the manifest.
};

}  // namespace dnc::source
