#include "model/float_widths.h"

#include <bit>
#include <cstring>

#include "base/assert.h"

namespace dnc::model {
namespace {

template <typename T>
T Load(ByteSpan bytes, std::size_t index) {
  T value{};
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

float FromHalf(std::uint16_t half) {
  const std::uint32_t sign = std::uint32_t{half & 0x8000u} << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1f;
  const std::uint32_t fraction = half & 0x3ff;
  if (exponent == 0) {  // Zero or subnormal: fraction * 2^-24.
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
  }
  const std::uint32_t wide_exponent = exponent == 0x1f ? 0xff : exponent + 127 - 15;
  return std::bit_cast<float>(sign | wide_exponent << 23 | fraction << 13);
}

}  // namespace

std::size_t FloatBytes(FloatWidth width) {
  switch (width) {
    case FloatWidth::kF16:
    case FloatWidth::kBf16:
      return 2;
    case FloatWidth::kF32:
      return 4;
    case FloatWidth::kF64:
      return 8;
  }
  return 0;
}

void ToFloat32(FloatWidth width, ByteSpan bytes, std::span<float> out) {
  DNC_ASSERT(bytes.size() == out.size() * FloatBytes(width));
  for (std::size_t i = 0; i < out.size(); ++i) {
    switch (width) {
      case FloatWidth::kF16:
        out[i] = FromHalf(Load<std::uint16_t>(bytes, i));
        break;
      case FloatWidth::kBf16:
        out[i] = std::bit_cast<float>(std::uint32_t{Load<std::uint16_t>(bytes, i)} << 16);
        break;
      case FloatWidth::kF32:
        out[i] = Load<float>(bytes, i);
        break;
      case FloatWidth::kF64:
        out[i] = static_cast<float>(Load<double>(bytes, i));
        break;
    }
  }
}

}  // namespace dnc::model
