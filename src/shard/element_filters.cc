#include "shard/element_filters.h"

#include <cstdint>
#include <cstring>

#include "base/assert.h"
#include "base/byte_shuffle.h"

namespace dnc::shard {
namespace {

// Eight bytes as an 8 by 8 matrix of bits, transposed by swapping ever larger squares
// (Warren, "Hacker's Delight", 7-3).
std::uint64_t TransposeBits(std::uint64_t bits) {
  std::uint64_t swap = (bits ^ (bits >> 7)) & 0x00aa00aa00aa00aaU;
  bits ^= swap ^ (swap << 7);
  swap = (bits ^ (bits >> 14)) & 0x0000cccc0000ccccU;
  bits ^= swap ^ (swap << 14);
  swap = (bits ^ (bits >> 28)) & 0x00000000f0f0f0f0U;
  return bits ^ swap ^ (swap << 28);
}

std::span<std::byte> Grow(std::size_t size, Bytes* buffer) {
  if (buffer->size() < size) buffer->resize(size);
  return std::span(*buffer).first(size);
}

template <typename T>
T LoadElement(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

template <typename T>
void Subtract(ByteSpan elements, std::size_t stride, std::byte* out) {
  const std::size_t distance = stride * sizeof(T);
  const std::size_t head = std::min(distance, elements.size());
  if (head > 0) std::memcpy(out, elements.data(), head);
  for (std::size_t i = head; i < elements.size(); i += sizeof(T)) {
    const auto difference = static_cast<T>(LoadElement<T>(elements.data() + i) -
                                           LoadElement<T>(elements.data() + i - distance));
    std::memcpy(out + i, &difference, sizeof(T));
  }
}

template <typename T>
void Add(std::size_t stride, std::span<std::byte> elements) {
  const std::size_t distance = stride * sizeof(T);
  for (std::size_t i = distance; i < elements.size(); i += sizeof(T)) {
    const auto sum = static_cast<T>(LoadElement<T>(elements.data() + i) +
                                    LoadElement<T>(elements.data() + i - distance));
    std::memcpy(elements.data() + i, &sum, sizeof(T));
  }
}

// Calls `function` with an unsigned integer of that size.
template <typename Function>
void WithElement(std::size_t element_bytes, Function function) {
  switch (element_bytes) {
    case 1:
      return function(std::uint8_t{});
    case 2:
      return function(std::uint16_t{});
    case 4:
      return function(std::uint32_t{});
    case 8:
      return function(std::uint64_t{});
  }
  DNC_ASSERT(!"an element of another size");
}

}  // namespace

void ShuffleBits(ByteSpan elements, std::size_t element_bytes, Bytes* scratch, std::byte* out) {
  const std::size_t count = elements.size() / element_bytes;
  const std::size_t groups = count / 8;
  const std::span<std::byte> planes = Grow(elements.size(), scratch);
  ShuffleBytes(elements, element_bytes, planes.data());
  for (std::size_t b = 0; b < element_bytes; ++b) {
    const std::byte* plane = planes.data() + b * count;
    std::byte* bit_planes = out + b * 8 * groups;
    for (std::size_t g = 0; g < groups; ++g) {
      const std::uint64_t bits = TransposeBits(LoadElement<std::uint64_t>(plane + 8 * g));
      for (std::size_t k = 0; k < 8; ++k) {
        bit_planes[k * groups + g] = static_cast<std::byte>(bits >> (8 * k));
      }
    }
  }
  const std::size_t done = groups * 8;
  if (done < count) {
    ShuffleBytes(elements.subspan(done * element_bytes), element_bytes, out + done * element_bytes);
  }
}

void UnshuffleBits(ByteSpan planes, std::size_t element_bytes, Bytes* scratch, std::byte* out) {
  const std::size_t count = planes.size() / element_bytes;
  const std::size_t groups = count / 8;
  const std::size_t done = groups * 8;
  const std::span<std::byte> bytes = Grow(done * element_bytes, scratch);
  for (std::size_t b = 0; b < element_bytes; ++b) {
    const std::byte* bit_planes = planes.data() + b * 8 * groups;
    for (std::size_t g = 0; g < groups; ++g) {
      std::uint64_t bits = 0;
      for (std::size_t k = 0; k < 8; ++k) {
        bits |= std::to_integer<std::uint64_t>(bit_planes[k * groups + g]) << (8 * k);
      }
      bits = TransposeBits(bits);
      std::memcpy(bytes.data() + b * done + 8 * g, &bits, 8);
    }
  }
  if (done > 0) UnshuffleBytes(bytes, element_bytes, out);
  if (done < count) {
    UnshuffleBytes(planes.subspan(done * element_bytes), element_bytes, out + done * element_bytes);
  }
}

void SubtractEarlier(ByteSpan elements, std::size_t element_bytes, std::size_t stride,
                     std::byte* out) {
  DNC_ASSERT(stride > 0);
  WithElement(element_bytes,
              [&](auto element) { Subtract<decltype(element)>(elements, stride, out); });
}

void AddEarlier(std::size_t element_bytes, std::size_t stride, std::span<std::byte> elements) {
  DNC_ASSERT(stride > 0);
  WithElement(element_bytes, [&](auto element) { Add<decltype(element)>(stride, elements); });
}

}  // namespace dnc::shard
