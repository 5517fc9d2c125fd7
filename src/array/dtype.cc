#include "array/dtype.h"

#include <array>

#include "base/assert.h"

namespace dnc::array {
namespace {

struct Row {
  const char* name;
  std::size_t size;
};

constexpr std::array<Row, kDTypeCount> kRows = {{{"bool", 1},
                                                 {"int8", 1},
                                                 {"uint8", 1},
                                                 {"int16", 2},
                                                 {"uint16", 2},
                                                 {"int32", 4},
                                                 {"uint32", 4},
                                                 {"int64", 8},
                                                 {"uint64", 8},
                                                 {"float16", 2},
                                                 {"float32", 4},
                                                 {"float64", 8}}};

const Row& RowOf(DType dtype) {
  const auto index = static_cast<std::size_t>(dtype);
  DNC_ASSERT(index < kRows.size());
  return kRows[index];
}

}  // namespace

std::size_t DTypeSize(DType dtype) { return RowOf(dtype).size; }
const char* DTypeName(DType dtype) { return RowOf(dtype).name; }
bool IsFloat(DType dtype) { return dtype >= DType::kFloat16; }

std::optional<DType> DTypeFromName(std::string_view name) {
  for (std::size_t i = 0; i < kRows.size(); ++i) {
    if (name == kRows[i].name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

}  // namespace dnc::array
