// The filter for pictures of bytes: every pixel becomes its difference to what its
// neighbours predict, plane by plane, which leaves small numbers that an entropy
// coder stores in few bits. docs/formats/shard.md fixes the bytes.
//
// The predictor is the median edge detector of LOCO-I: with `a` to the left, `b` above
// and `c` above left, the median of a, b and a + b - c. (Weinberger, Seroussi, Sapiro:
// "The LOCO-I lossless image compression algorithm", IEEE Trans. Image Processing 9,
// 2000.)
//
// Restoring is serial along a row, since a pixel needs the one before. Sixteen planes
// are restored side by side, one a lane of a vector. Private to this room.

#pragma once

#include <cstddef>
#include <span>

#include "base/bytes.h"
#include "shard/chunk_layout.h"

namespace dnc::shard {

// Whether green may be subtracted from the other two channels.
inline bool HasColours(const ChunkLayout& layout) { return layout.channels == 3; }

// Writes the residuals of whole pictures to `residuals`, which must hold raw.size()
// bytes and not overlap.
// Requires: layout.is_picture(); whole pictures; HasColours(layout) if `colours`.
void PredictPictures(ByteSpan raw, const ChunkLayout& layout, bool colours, std::byte* residuals);

// The inverse. `scratch` is memory to work in.
// Requires: as above; residuals.size() == raw.size().
void RestorePictures(ByteSpan residuals, const ChunkLayout& layout, bool colours, Bytes* scratch,
                     std::span<std::byte> raw);

}  // namespace dnc::shard
