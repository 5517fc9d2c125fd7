#include "array/column.h"

#include "base/assert.h"

namespace dnc::array {

std::size_t ColumnSpec::sample_bytes() const {
  const auto count = ElementCount(shape);
  DNC_ASSERT(count.has_value());
  return *count * DTypeSize(dtype);
}

std::size_t SampleBytes(const std::vector<ColumnSpec>& columns) {
  std::size_t bytes = 0;
  for (const ColumnSpec& column : columns) bytes += column.sample_bytes();
  return bytes;
}

std::string ColumnTypeText(const ColumnSpec& column) {
  return std::string(DTypeName(column.dtype)) + " " + ShapeText(column.shape);
}

}  // namespace dnc::array
