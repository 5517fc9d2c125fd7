// Samples in columns. A dataset has one or more named columns; a sample has one
// element of each: an array of a fixed dtype and shape, stored densely in C
// order, little-endian; or bytes of any length (a text, an encoded image). By
// convention features are the column "x", labels "y".

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "array/dtype.h"
#include "array/shape.h"
#include "base/bytes.h"

namespace dnc::array {

enum class ColumnKind : std::uint8_t {
  kArray,  // Of dtype and shape.
  // Below, samples have a length each, dtype is uint8 and the shape is ().
  kBytes,
  kText,   // UTF-8.
  kImage,  // A whole JPEG, PNG or WebP file.
};

// "array", "bytes", "text", "image".
const char* ColumnKindName(ColumnKind kind);
std::optional<ColumnKind> ColumnKindFromName(std::string_view name);

enum class FeatureKind : std::uint8_t {
  kNumber,
  kDate,      // Seconds since 1970-01-01T00:00:00Z.
  kCategory,  // Index into Feature::categories.
};

// "number", "date", "category".
const char* FeatureKindName(FeatureKind kind);
std::optional<FeatureKind> FeatureKindFromName(std::string_view name);

// What one element of a table's row means.
struct Feature {
  std::string name;
  FeatureKind kind = FeatureKind::kNumber;
  std::vector<std::string> categories;

  friend bool operator==(const Feature&, const Feature&) = default;
};

struct ColumnSpec {
  std::string name;
  DType dtype = DType::kUint8;
  Shape shape;                           // Of one sample; () for a scalar.
  std::vector<std::string> class_names;  // Of labels; empty if they have no names.
  ColumnKind kind = ColumnKind::kArray;
  // Of a table's rows, one an element of shape (n,); empty if they have no names.
  std::vector<Feature> features;

  friend bool operator==(const ColumnSpec&, const ColumnSpec&) = default;

  bool is_array() const { return kind == ColumnKind::kArray; }
  // Bytes of one sample. Requires: is_array(); the shape was checked by ElementCount.
  std::size_t sample_bytes() const;
};

// Whether every sample has the same number of bytes.
bool AllArrays(const std::vector<ColumnSpec>& columns);
// Those of these indices, in their order.
std::vector<ColumnSpec> SelectColumns(std::span<const ColumnSpec> columns,
                                      std::span<const int> indices);
// Sum of sample_bytes() over all columns of arrays.
std::size_t SampleBytes(const std::vector<ColumnSpec>& columns);

// Consecutive samples, column by column: columns[c] holds sample_count elements
// of column c's spec, one behind the other. Owns its bytes.
struct SampleBlock {
  std::uint64_t sample_count = 0;
  std::vector<Bytes> columns;
  // ends[c][i] is where sample i ends in columns[c]. Empty for a column of arrays;
  // there may be fewer ends than columns if the last ones are of arrays.
  std::vector<std::vector<std::uint32_t>> ends;

  // Sample i of a column that is not of arrays.
  // Requires: column < ends.size(), i < sample_count.
  ByteSpan element(std::size_t column, std::uint64_t i) const {
    const std::uint32_t begin = i == 0 ? 0 : ends[column][i - 1];
    return ByteSpan(columns[column]).subspan(begin, ends[column][i] - begin);
  }
};

// "uint8 (28, 28)", or the name of the kind: "image".
std::string ColumnTypeText(const ColumnSpec& column);

}  // namespace dnc::array
