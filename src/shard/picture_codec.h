// JPEG XL (ISO/IEC 18181), lossless, for chunks of pictures: all pictures of a chunk
// as one, side by side in rows, so that small ones share what is known of colours
// and edges. Keeps libjxl out of the other files. Private to this room.

#pragma once

#include <span>

#include "base/bytes.h"
#include "shard/chunk_layout.h"

namespace dnc::shard {

// Whether the codec can hold such pictures: grey or three interleaved colours.
bool CanHoldPictures(const ChunkLayout& layout);

// Appends the code stream to `out`. The same pictures give the same bytes.
// Requires: CanHoldPictures(layout), whole pictures, at least one.
void EncodePictures(ByteSpan raw, const ChunkLayout& layout, Bytes* out);

// Fills all of `raw`; false if `stored` is no code stream of just these pictures.
// Requires: as above. `scratch` is memory to work in.
bool DecodePictures(ByteSpan stored, const ChunkLayout& layout, Bytes* scratch,
                    std::span<std::byte> raw);

}  // namespace dnc::shard
