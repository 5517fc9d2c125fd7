#include "array/shape.h"

namespace dnc::array {

std::optional<std::uint64_t> ElementCount(const Shape& shape) {
  constexpr std::uint64_t kCountMax = std::uint64_t{1} << 48;
  std::uint64_t count = 1;
  bool has_empty_axis = false;
  for (const std::int64_t axis : shape) {
    if (axis < 0) return std::nullopt;
    if (axis == 0) {
      has_empty_axis = true;
      continue;
    }
    if (static_cast<std::uint64_t>(axis) > kCountMax / count) return std::nullopt;
    count *= static_cast<std::uint64_t>(axis);
  }
  return has_empty_axis ? 0 : count;
}

std::string ShapeText(const Shape& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  if (shape.size() == 1) text += ",";
  return text + ")";
}

}  // namespace dnc::array
