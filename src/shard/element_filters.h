// The filters for numbers: bit shuffle and delta (byte shuffle is in base/).
// docs/formats/shard.md fixes the bytes. Private to this room.

#pragma once

#include <cstddef>
#include <span>

#include "base/bytes.h"

namespace dnc::shard {

// Bit k of byte b of every element together, b from the least significant byte, k from
// the least significant bit; eight elements a byte, the first one lowest. The last
// (count % 8) elements follow as they are, byte-shuffled.
// Requires: element_bytes is 1, 2, 4 or 8 and divides elements.size(); out holds as many
// bytes and does not overlap. `scratch` is memory to work in.
void ShuffleBits(ByteSpan elements, std::size_t element_bytes, Bytes* scratch, std::byte* out);
void UnshuffleBits(ByteSpan planes, std::size_t element_bytes, Bytes* scratch, std::byte* out);

// Every element less the one `stride` elements before it, as unsigned integers that
// wrap; the first `stride` are as they are.
// Requires: element_bytes as above; stride > 0.
void SubtractEarlier(ByteSpan elements, std::size_t element_bytes, std::size_t stride,
                     std::byte* out);
// The inverse, in place.
void AddEarlier(std::size_t element_bytes, std::size_t stride, std::span<std::byte> elements);

}  // namespace dnc::shard
