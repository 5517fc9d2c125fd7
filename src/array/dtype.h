// Element types of numeric arrays, as NumPy names them.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace dnc::array {

enum class DType : std::uint8_t {
  kBool,
  kInt8,
  kUint8,
  kInt16,
  kUint16,
  kInt32,
  kUint32,
  kInt64,
  kUint64,
  kFloat16,
  kFloat32,
  kFloat64,
};

inline constexpr int kDTypeCount = 12;

std::size_t DTypeSize(DType dtype);
// NumPy's name: "uint8", "float32", "bool".
const char* DTypeName(DType dtype);
std::optional<DType> DTypeFromName(std::string_view name);
bool IsFloat(DType dtype);

}  // namespace dnc::array
