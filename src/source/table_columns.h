// Which columns of a table are features, and which is the label.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "source/row_reader.h"
#include "source/sample_source.h"

namespace dnc::source {

struct ChosenColumns {
  std::vector<std::size_t> features;  // In the order of x.
  std::optional<std::size_t> label;
  std::vector<bool> is_category;  // One a column: asked for by the user.
};

// Errors: kInvalidArgument, an unknown or ambiguous column (with the nearest name
// and the list), one that is asked for and dropped, no feature left.
Result<ChosenColumns> ChooseColumns(const RowInput& rows, const SourceOptions& options);

// Whether the options name any column, so that there must be names.
bool NamesColumns(const SourceOptions& options);

// "#3" as 3; nullopt for a name.
std::optional<std::uint64_t> ColumnNumber(const std::string& column);

}  // namespace dnc::source
