// Byte shuffle: the bytes of fixed-size elements rearranged plane by plane, first
// byte 0 of every element, then byte 1, and so on. Numbers that are near each
// other share their high bytes, so that a compressor finds longer runs.

#pragma once

#include <cstddef>

#include "base/bytes.h"

namespace dnc {

// Writes the planes of `elements` to `out`, which must hold as many bytes and not
// overlap.
// Requires: element_bytes is 1, 2, 4 or 8 and divides elements.size().
void ShuffleBytes(ByteSpan elements, std::size_t element_bytes, std::byte* out);

// The inverse: writes elements from their planes.
// Requires: as above.
void UnshuffleBytes(ByteSpan planes, std::size_t element_bytes, std::byte* out);

}  // namespace dnc
