// The header of NumPy's .npy format, versions 1.0 to 3.0
// (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
// The bytes may come from anywhere: the header's dictionary is parsed by a small
// grammar of its own, never evaluated, and object arrays (pickles) are refused.

#pragma once

#include <cstdint>
#include <string>

#include "array/dtype.h"
#include "array/shape.h"
#include "base/bytes.h"
#include "base/random_access_source.h"
#include "base/result.h"

namespace dnc::array {

inline constexpr std::uint32_t kNpyHeaderBytesMax = 64 << 10;

struct NpyHeader {
  DType dtype = DType::kFloat64;
  Shape shape;
  bool fortran_order = false;
  bool big_endian = false;
  std::uint64_t data_offset = 0;  // Where the elements begin.
};

// Parses the header at the start of `bytes`, which must hold all of it (its first
// kNpyHeaderBytesMax + 12 bytes always do). `name` is used in messages.
// Errors: kCorrupt, not an npy; kUnsupported, an object, string or record dtype,
// or a later version; kTooLarge, a shape or header beyond any honest size.
Result<NpyHeader> ParseNpyHeader(ByteSpan bytes, const std::string& name);

// Reads and parses it, and checks that the file holds all the elements.
// Errors: as above; kCorrupt, truncated, with both sizes; those of `source`.
Result<NpyHeader> ReadNpyHeader(const RandomAccessSource& source);

// A version 1.0 header in C order, little-endian, padded to 64 bytes as NumPy does.
Bytes FormatNpyHeader(DType dtype, const Shape& shape);

}  // namespace dnc::array
