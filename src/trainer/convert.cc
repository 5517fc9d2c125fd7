#include "trainer/convert.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "base/assert.h"

namespace dnc::trainer {

namespace {

using array::DType;

struct Half {
  std::uint16_t bits;
};

// IEEE binary16 to binary32; exact, since every half is a float.
float HalfToFloat(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fu;
  const std::uint32_t fraction = bits & 0x3ffu;
  if (exponent == 0) {  // Zero or subnormal: fraction * 2^-24.
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  const std::uint32_t biased = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | (biased << 23) | (fraction << 13));
}

template <typename T>
T Widen(T value) {
  return value;
}
float Widen(Half value) { return HalfToFloat(value.bits); }

// Reads element by element through memcpy: a slot need not be aligned for T, and
// the compiler makes vector loads of it.
template <typename T>
T LoadElement(const std::byte* bytes, std::size_t index) {
  T value;
  std::memcpy(&value, bytes + index * sizeof(T), sizeof(T));
  return value;
}

template <typename T>
void ConvertAll(const std::byte* bytes, std::span<float> out) {
  float* target = out.data();
  for (std::size_t i = 0; i < out.size(); ++i) {
    target[i] = static_cast<float>(Widen(LoadElement<T>(bytes, i)));
  }
}

// Calls visitor(T{}) with the C++ type of a dtype; bool elements are bytes.
template <typename Visitor>
auto VisitDType(DType dtype, Visitor&& visitor) {
  switch (dtype) {
    case DType::kInt8:
      return visitor(std::int8_t{});
    case DType::kInt16:
      return visitor(std::int16_t{});
    case DType::kUint16:
      return visitor(std::uint16_t{});
    case DType::kInt32:
      return visitor(std::int32_t{});
    case DType::kUint32:
      return visitor(std::uint32_t{});
    case DType::kInt64:
      return visitor(std::int64_t{});
    case DType::kUint64:
      return visitor(std::uint64_t{});
    case DType::kFloat16:
      return visitor(Half{});
    case DType::kFloat32:
      return visitor(float{});
    case DType::kFloat64:
      return visitor(double{});
    case DType::kBool:
    case DType::kUint8:
      break;
  }
  return visitor(std::uint8_t{});
}

std::string LabelText(double label) {
  if (std::abs(label) < 1e15 && label == std::floor(label)) {
    return std::to_string(static_cast<std::int64_t>(label));
  }
  return std::to_string(label);
}

template <typename T>
Status ConvertClasses(const std::byte* bytes, std::int64_t class_count,
                      std::span<std::int64_t> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto label = Widen(LoadElement<T>(bytes, i));
    // Compared as double: exact for every label that can be in range.
    const auto value = static_cast<double>(label);
    if (!(value >= 0 && value < static_cast<double>(class_count) && value == std::floor(value))) {
      return Error{ErrorCode::kInvalidArgument,
                   "label " + LabelText(value) + " (sample " + std::to_string(i) +
                       " of the batch) is not a class: the model's output has " +
                       std::to_string(class_count) + " classes, so labels go from 0 to " +
                       std::to_string(class_count - 1)};
    }
    out[i] = static_cast<std::int64_t>(value);
  }
  return {};
}

}  // namespace

void ConvertToFloat(DType dtype, ByteSpan bytes, std::span<float> out) {
  DNC_ASSERT(bytes.size() == out.size() * array::DTypeSize(dtype));
  if (out.empty()) return;
  VisitDType(dtype, [&](auto type) { ConvertAll<decltype(type)>(bytes.data(), out); });
}

Status ConvertToClasses(DType dtype, ByteSpan bytes, std::int64_t class_count,
                        std::span<std::int64_t> out) {
  DNC_ASSERT(bytes.size() == out.size() * array::DTypeSize(dtype));
  return VisitDType(dtype, [&](auto type) {
    return ConvertClasses<decltype(type)>(bytes.data(), class_count, out);
  });
}

}  // namespace dnc::trainer
