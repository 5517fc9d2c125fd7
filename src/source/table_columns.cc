#include "source/table_columns.h"

#include <algorithm>

#include "base/human.h"
#include "source/value.h"

namespace dnc::source {
namespace {

Error Wrong(const RowInput& rows, const std::string& what) {
  return {ErrorCode::kInvalidArgument, rows.name + ": " + what};
}

Result<std::size_t> FindColumn(const RowInput& rows, const std::string& column,
                               const std::string& option) {
  const std::vector<std::string>& names = rows.names;
  if (const auto number = ColumnNumber(column)) {
    if (*number < names.size()) return static_cast<std::size_t>(*number);
    return Wrong(rows, option + " " + column + ": there are " + std::to_string(names.size()) +
                           " columns, #0 to #" + std::to_string(names.size() - 1));
  }
  const auto found = std::find(names.begin(), names.end(), column);
  if (found != names.end()) {
    if (std::find(found + 1, names.end(), column) == names.end()) {
      return static_cast<std::size_t>(found - names.begin());
    }
    return Wrong(rows, "two columns are named \"" + column + "\"; give it by number, such as #" +
                           std::to_string(found - names.begin()));
  }
  std::string list;
  for (const std::string& name : names) {
    if (list.size() > 400) {
      list += ", ...";
      break;
    }
    list += (list.empty() ? "" : ", ") + name;
  }
  const std::string nearest = NearestName(column, names);
  return Wrong(rows, option + ": no column is named \"" + column + "\"; " +
                         (nearest.empty() ? "" : "did you mean \"" + nearest + "\"? ") +
                         "The columns are: " + list);
}

}  // namespace

std::optional<std::uint64_t> ColumnNumber(const std::string& column) {
  if (column.size() < 2 || column[0] != '#') return std::nullopt;
  const std::optional<std::int64_t> number = ParseInteger(std::string_view(column).substr(1));
  if (!number || *number < 0) return std::nullopt;
  return static_cast<std::uint64_t>(*number);
}

bool NamesColumns(const SourceOptions& options) {
  const auto is_name = [](const std::string& column) {
    return !column.empty() && !ColumnNumber(column);
  };
  const TableOptions& table = options.table;
  return is_name(options.label_column) ||
         std::any_of(table.columns.begin(), table.columns.end(), is_name) ||
         std::any_of(table.drop_columns.begin(), table.drop_columns.end(), is_name) ||
         std::any_of(table.category_columns.begin(), table.category_columns.end(), is_name);
}

Result<ChosenColumns> ChooseColumns(const RowInput& rows, const SourceOptions& options) {
  ChosenColumns chosen;
  const TableOptions& table = options.table;
  if (!options.label_column.empty()) {
    DNC_ASSIGN(chosen.label, FindColumn(rows, options.label_column, "--label-column"));
  }
  std::vector<bool> is_dropped(rows.names.size(), false);
  for (const std::string& name : table.drop_columns) {
    DNC_ASSIGN(const std::size_t column, FindColumn(rows, name, "--drop-columns"));
    if (column == chosen.label) return Wrong(rows, "the label column " + name + " is dropped");
    is_dropped[column] = true;
  }
  chosen.is_category.assign(rows.names.size(), false);
  for (const std::string& name : table.category_columns) {
    DNC_ASSIGN(const std::size_t column, FindColumn(rows, name, "--categories"));
    chosen.is_category[column] = true;
  }
  for (const std::string& name : table.columns) {
    DNC_ASSIGN(const std::size_t column, FindColumn(rows, name, "--columns"));
    if (is_dropped[column]) return Wrong(rows, "--drop-columns drops " + name + " of --columns");
    const auto& features = chosen.features;
    if (std::find(features.begin(), features.end(), column) != features.end()) {
      return Wrong(rows, "--columns names " + name + " twice");
    }
    if (column != chosen.label) chosen.features.push_back(column);
  }
  for (std::size_t column = 0; column < rows.names.size() && table.columns.empty(); ++column) {
    if (column != chosen.label && !is_dropped[column]) chosen.features.push_back(column);
  }
  if (chosen.features.empty()) {
    return Wrong(rows, rows.names.size() == 1 && chosen.label
                           ? "its only column is the label; expected others beside it"
                           : "no column is left to be a feature");
  }
  return chosen;
}

}  // namespace dnc::source
