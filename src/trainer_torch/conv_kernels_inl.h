// The loops of conv_kernels.h for vectors of kLanes floats. Included by one .cc for each
// kind of vector, which is compiled for it: all here is of that file alone, and nothing
// else may be included, lest another file gets code that its processor cannot run.

#pragma once

#include "trainer_torch/conv_kernels.h"

namespace dnc::trainer_torch {
namespace {

// Aligned as floats are, since rows begin anywhere.
typedef float Vector __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
typedef std::int32_t Places __attribute__((vector_size(kLanes * 4)));
typedef std::uint8_t Bytes __attribute__((vector_size(kLanes), aligned(1), may_alias));

inline Vector Load(const float* from) { return *reinterpret_cast<const Vector*>(from); }
inline void Store(float* to, Vector value) { *reinterpret_cast<Vector*>(to) = value; }
inline Vector Spread(float value) { return value - Vector{}; }

// kCount rows of kWidth vectors of c, in registers. Rows of a are addressed in threes from
// one pointer, which is what addressing modes can do.
template <int kWidth, int kCount>
void Tile(const WindowProduct& p, std::int64_t first, std::int64_t column) {
  Vector sums[kCount][kWidth];
#pragma GCC unroll 32
  for (int i = 0; i < kCount; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < kWidth; ++v) {
      sums[i][v] = p.start == nullptr
                       ? Vector{}
                       : Load(p.start + (first + i) * p.start_step + column + v * kLanes);
    }
  }
  const std::int64_t step = p.a_step;
  const float* b = p.b + column;
  for (std::int64_t row = 0; row < p.rows; ++row) {
    const float* a[(kCount + 2) / 3];
#pragma GCC unroll 32
    for (int i = 0; i < kCount; i += 3) a[i / 3] = p.a + row * p.a_row + (first + i) * step;
    for (std::int64_t k = 0; k < p.depth; ++k) {
      Vector right[kWidth];
#pragma GCC unroll 8
      for (int v = 0; v < kWidth; ++v) right[v] = Load(b + v * kLanes);
#pragma GCC unroll 32
      for (int i = 0; i < kCount; ++i) {
        const Vector left = Spread(a[i / 3][(i % 3) * step]);
#pragma GCC unroll 8
        for (int v = 0; v < kWidth; ++v) sums[i][v] += left * right[v];
      }
#pragma GCC unroll 32
      for (int i = 0; i < kCount; i += 3) a[i / 3] += p.a_inner;
      b += p.columns;
    }
  }
#pragma GCC unroll 32
  for (int i = 0; i < kCount; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < kWidth; ++v) {
      Store(p.c + (first + i) * p.columns + column + v * kLanes, sums[i][v]);
    }
  }
}

// What is left of the rows of c, fewer than kCount.
template <int kWidth, int kCount>
void Rest(const WindowProduct& p, std::int64_t first, std::int64_t column) {
  if constexpr (kCount > 0) {
    if (p.count - first == kCount) {
      Tile<kWidth, kCount>(p, first, column);
    } else {
      Rest<kWidth, kCount - 1>(p, first, column);
    }
  }
}

template <int kWidth>
void Columns(const WindowProduct& p, std::int64_t column) {
  constexpr int kCount = kSums / kWidth;
  std::int64_t first = 0;
  for (; first + kCount <= p.count; first += kCount) Tile<kWidth, kCount>(p, first, column);
  Rest<kWidth, kCount - 1>(p, first, column);
}

void MultiplyWindows(const WindowProduct& p) {
  std::int64_t column = 0;
  if constexpr (kWidthMax == 4) {
    for (; column + 4 * kLanes <= p.columns; column += 4 * kLanes) Columns<4>(p, column);
  }
  for (; column + 2 * kLanes <= p.columns; column += 2 * kLanes) Columns<2>(p, column);
  for (; column + kLanes <= p.columns; column += kLanes) Columns<1>(p, column);
}

void Pool(const PoolShape& shape, const float* values, float* outputs, std::uint8_t* places) {
  for (std::int64_t output = 0; output < shape.outputs; ++output) {
    const float* const corner = values + output * shape.window_width * shape.channels;
    for (std::int64_t channel = 0; channel < shape.channels; channel += kLanes) {
      Vector largest = Load(corner + channel);
      Places place = {};
      std::int32_t next = 0;
      for (std::int64_t y = 0; y < shape.window_height; ++y) {
        for (std::int64_t x = 0; x < shape.window_width; ++x, ++next) {
          const Vector value = Load(corner + y * shape.row_stride + x * shape.channels + channel);
          const Places larger = (value > largest) | (value != value);
          largest = larger ? value : largest;
          place = larger ? Places{} + next : place;
        }
      }
      // A NaN passes, as it does in Keras.
      if (shape.relu) largest = largest < 0 ? Vector{} : largest;
      const std::int64_t at = output * shape.channels + channel;
      Store(outputs + at, largest);
      *reinterpret_cast<Bytes*>(places + at) = __builtin_convertvector(place, Bytes);
    }
  }
}

void Unpool(const PoolShape& shape, const float* outputs, const std::uint8_t* places,
            const float* gradient, float* values, float* sums) {
  for (std::int64_t output = 0; output < shape.outputs; ++output) {
    float* const corner = values + output * shape.window_width * shape.channels;
    for (std::int64_t channel = 0; channel < shape.channels; channel += kLanes) {
      const std::int64_t at = output * shape.channels + channel;
      Vector given = Load(gradient + at);
      if (shape.relu) given = Load(outputs + at) > 0 ? given : Vector{};
      Store(sums + channel, Load(sums + channel) + given);
      const Places place =
          __builtin_convertvector(*reinterpret_cast<const Bytes*>(places + at), Places);
      std::int32_t next = 0;
      for (std::int64_t y = 0; y < shape.window_height; ++y) {
        for (std::int64_t x = 0; x < shape.window_width; ++x, ++next) {
          Store(corner + y * shape.row_stride + x * shape.channels + channel,
                place == next ? given : Vector{});
        }
      }
    }
  }
}

constexpr ConvKernels kKernels = {MultiplyWindows, Pool, Unpool};

}  // namespace
}  // namespace dnc::trainer_torch
