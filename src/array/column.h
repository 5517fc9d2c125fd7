// Samples in columns. A dataset has one or more named columns; a sample has one
// element of each: an array of a fixed dtype and shape, stored densely in C
// order, little-endian. By convention features are the column "x", labels "y".

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "array/dtype.h"
#include "array/shape.h"
#include "base/bytes.h"

namespace dnc::array {

struct ColumnSpec {
  std::string name;
  DType dtype = DType::kUint8;
  Shape shape;                           // Of one sample; () for a scalar.
  std::vector<std::string> class_names;  // Of labels; empty if they have no names.

  friend bool operator==(const ColumnSpec&, const ColumnSpec&) = default;

  // Bytes of one sample. Requires: the shape was checked by ElementCount.
  std::size_t sample_bytes() const;
};

// Sum of sample_bytes() over all columns.
std::size_t SampleBytes(const std::vector<ColumnSpec>& columns);

// Consecutive samples, column by column: columns[c] holds sample_count elements
// of column c's spec, one behind the other. Owns its bytes.
struct SampleBlock {
  std::uint64_t sample_count = 0;
  std::vector<Bytes> columns;
};

// "uint8 (28, 28)".
std::string ColumnTypeText(const ColumnSpec& column);

}  // namespace dnc::array
