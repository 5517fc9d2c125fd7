// Shapes of arrays: the length of each axis, outermost first.

#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

namespace dnc::array {

using Shape = std::vector<std::int64_t>;

// The product of all axes (1 for a scalar), or nullopt if an axis is negative or
// the product is above 2^48, which no honest file has.
std::optional<std::uint64_t> ElementCount(const Shape& shape);

// As Python writes a tuple: "()", "(28,)", "(28, 28)".
std::string ShapeText(const Shape& shape);

}  // namespace dnc::array
