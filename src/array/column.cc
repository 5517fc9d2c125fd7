#include "array/column.h"

#include <algorithm>

#include "base/assert.h"

namespace dnc::array {
namespace {

constexpr const char* kColumnKindNames[] = {"array", "bytes", "text", "image"};
constexpr const char* kFeatureKindNames[] = {"number", "date", "category"};

template <typename Kind, std::size_t kCount>
std::optional<Kind> FindName(const char* const (&names)[kCount], std::string_view name) {
  for (std::size_t i = 0; i < kCount; ++i) {
    if (name == names[i]) return static_cast<Kind>(i);
  }
  return std::nullopt;
}

}  // namespace

const char* ColumnKindName(ColumnKind kind) {
  return kColumnKindNames[static_cast<std::size_t>(kind)];
}

std::optional<ColumnKind> ColumnKindFromName(std::string_view name) {
  return FindName<ColumnKind>(kColumnKindNames, name);
}

const char* FeatureKindName(FeatureKind kind) {
  return kFeatureKindNames[static_cast<std::size_t>(kind)];
}

std::optional<FeatureKind> FeatureKindFromName(std::string_view name) {
  return FindName<FeatureKind>(kFeatureKindNames, name);
}

std::size_t ColumnSpec::sample_bytes() const {
  DNC_ASSERT(is_array());
  const auto count = ElementCount(shape);
  DNC_ASSERT(count.has_value());
  return *count * DTypeSize(dtype);
}

bool AllArrays(const std::vector<ColumnSpec>& columns) {
  return std::all_of(columns.begin(), columns.end(),
                     [](const ColumnSpec& column) { return column.is_array(); });
}

std::vector<ColumnSpec> SelectColumns(std::span<const ColumnSpec> columns,
                                      std::span<const int> indices) {
  std::vector<ColumnSpec> selected;
  for (const int index : indices) selected.push_back(columns[static_cast<std::size_t>(index)]);
  return selected;
}

std::size_t SampleBytes(const std::vector<ColumnSpec>& columns) {
  std::size_t bytes = 0;
  for (const ColumnSpec& column : columns) {
    if (column.is_array()) bytes += column.sample_bytes();
  }
  return bytes;
}

std::string ColumnTypeText(const ColumnSpec& column) {
  if (!column.is_array()) return ColumnKindName(column.kind);
  return std::string(DTypeName(column.dtype)) + " " + ShapeText(column.shape);
}

}  // namespace dnc::array
