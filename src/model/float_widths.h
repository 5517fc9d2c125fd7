// Floating-point numbers of other widths, little-endian, made float32.

#pragma once

#include <cstdint>
#include <span>

#include "base/bytes.h"

namespace dnc::model {

enum class FloatWidth : std::uint8_t { kF16, kBf16, kF32, kF64 };

std::size_t FloatBytes(FloatWidth width);

// NaN stays NaN, and what no float32 holds becomes infinity, as IEEE 754 rounds.
// Requires: bytes.size() == out.size() * FloatBytes(width).
void ToFloat32(FloatWidth width, ByteSpan bytes, std::span<float> out);

}  // namespace dnc::model
