// What the filters know of a chunk: the size of its elements, and whether its
// samples are pictures. Follows from a column's dtype and shape alone, so that it is
// not stored. Private to this room.

#pragma once

#include <cstddef>
#include <cstdint>

#include "array/column.h"

namespace dnc::shard {

struct ChunkLayout {
  std::size_t element_bytes = 1;
  // Elements of one sample.
  std::size_t row_elements = 1;
  // Of a picture of bytes; 0 where the samples are none.
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::uint32_t channels = 0;
  bool planar = false;  // (C, H, W) and not (H, W, C).

  bool is_picture() const { return channels > 0; }
  std::size_t plane_bytes() const { return std::size_t{width} * height; }
};

// Pictures are columns of uint8 whose shape is (H, W), (H, W, C) or (C, H, W), with H
// and W of at least 4 and C of 1 to 4. Where both readings fit, the last axis is C.
ChunkLayout LayoutOf(const array::ColumnSpec& column);

}  // namespace dnc::shard
