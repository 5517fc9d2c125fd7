#include "base/byte_shuffle.h"

#include <array>
#include <cstdint>
#include <cstring>

#include "base/assert.h"

namespace dnc {
namespace {

// Vectors of the compiler: punpck on x86-64, zip on ARM, without intrinsics.
using Vector = std::uint8_t __attribute__((vector_size(16)));
constexpr std::size_t kLanes = 16;

Vector Load(const std::byte* from) {
  Vector vector;
  std::memcpy(&vector, from, sizeof(vector));
  return vector;
}
void Store(Vector vector, std::byte* to) { std::memcpy(to, &vector, sizeof(vector)); }

Vector ZipLow(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
Vector ZipHigh(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15,
                                 31);
}
Vector Even(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}
Vector Odd(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}

// One round deals the bytes of kSize vectors out by even and odd position; after
// log2(kSize) rounds each vector holds one plane of 16 elements. Merging by zips
// undoes one round.
template <std::size_t kSize>
void DealRound(std::array<Vector, kSize>* vectors) {
  std::array<Vector, kSize> dealt;
  for (std::size_t i = 0; i < kSize / 2; ++i) {
    dealt[i] = Even((*vectors)[2 * i], (*vectors)[2 * i + 1]);
    dealt[i + kSize / 2] = Odd((*vectors)[2 * i], (*vectors)[2 * i + 1]);
  }
  *vectors = dealt;
}

template <std::size_t kSize>
void MergeRound(std::array<Vector, kSize>* vectors) {
  std::array<Vector, kSize> merged;
  for (std::size_t i = 0; i < kSize / 2; ++i) {
    merged[2 * i] = ZipLow((*vectors)[i], (*vectors)[i + kSize / 2]);
    merged[2 * i + 1] = ZipHigh((*vectors)[i], (*vectors)[i + kSize / 2]);
  }
  *vectors = merged;
}

template <std::size_t kSize>
void Shuffle(ByteSpan elements, std::byte* out) {
  const std::size_t count = elements.size() / kSize;
  const std::byte* in = elements.data();
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    std::array<Vector, kSize> vectors;
    for (std::size_t v = 0; v < kSize; ++v) vectors[v] = Load(in + i * kSize + v * kLanes);
    for (std::size_t round = 1; round < kSize; round *= 2) DealRound(&vectors);
    for (std::size_t v = 0; v < kSize; ++v) Store(vectors[v], out + v * count + i);
  }
  for (; i < count; ++i) {
    for (std::size_t b = 0; b < kSize; ++b) out[b * count + i] = in[i * kSize + b];
  }
}

template <std::size_t kSize>
void Unshuffle(ByteSpan planes, std::byte* out) {
  const std::size_t count = planes.size() / kSize;
  const std::byte* in = planes.data();
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    std::array<Vector, kSize> vectors;
    for (std::size_t v = 0; v < kSize; ++v) vectors[v] = Load(in + v * count + i);
    for (std::size_t round = 1; round < kSize; round *= 2) MergeRound(&vectors);
    for (std::size_t v = 0; v < kSize; ++v) Store(vectors[v], out + i * kSize + v * kLanes);
  }
  for (; i < count; ++i) {
    for (std::size_t b = 0; b < kSize; ++b) out[i * kSize + b] = in[b * count + i];
  }
}

void Copy(ByteSpan from, std::byte* to) {
  if (!from.empty()) std::memcpy(to, from.data(), from.size());
}

}  // namespace

void ShuffleBytes(ByteSpan elements, std::size_t element_bytes, std::byte* out) {
  DNC_ASSERT(element_bytes != 0 && elements.size() % element_bytes == 0);
  switch (element_bytes) {
    case 1:
      return Copy(elements, out);
    case 2:
      return Shuffle<2>(elements, out);
    case 4:
      return Shuffle<4>(elements, out);
    case 8:
      return Shuffle<8>(elements, out);
    default:
      DNC_ASSERT(!"element_bytes is 1, 2, 4 or 8");
  }
}

void UnshuffleBytes(ByteSpan planes, std::size_t element_bytes, std::byte* out) {
  DNC_ASSERT(element_bytes != 0 && planes.size() % element_bytes == 0);
  switch (element_bytes) {
    case 1:
      return Copy(planes, out);
    case 2:
      return Unshuffle<2>(planes, out);
    case 4:
      return Unshuffle<4>(planes, out);
    case 8:
      return Unshuffle<8>(planes, out);
    default:
      DNC_ASSERT(!"element_bytes is 1, 2, 4 or 8");
  }
}

}  // namespace dnc
