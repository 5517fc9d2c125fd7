// The inner loops of convolutions over channels_last images, for the vectors that this
// processor has. A convolution is read as a product whose rows overlap in memory, so that
// windows are never copied.

#pragma once

#include <cstdint>

namespace dnc::trainer_torch {

// c[i][j] = start[i][j] + the sum, over r < rows and k < depth, of
//   a[i * a_step + r * a_row + k * a_inner] * b[(r * depth + k) * columns + j]
// for i < count and j < columns.
struct WindowProduct {
  std::int64_t count;
  std::int64_t columns;  // A multiple of kChannelBlock.
  std::int64_t rows;
  std::int64_t depth;
  const float* a;
  std::int64_t a_step;
  std::int64_t a_row;
  std::int64_t a_inner;
  const float* b;
  // Elements from one row of start to the next: 0 where all begin alike. Null: with 0.
  const float* start;
  std::int64_t start_step;
  float* c;  // Rows of `columns`.
};

// Maximum pooling of rows of channels, whose windows do not overlap.
struct PoolShape {
  std::int64_t channels;  // A multiple of kChannelBlock.
  std::int64_t window_height;
  std::int64_t window_width;  // At most 256 elements a window.
  std::int64_t outputs;       // Of a row.
  std::int64_t row_stride;    // Elements from one row of what is pooled to the next.
  bool relu;                  // Whether what is pooled goes through a relu then.
};

inline constexpr std::int64_t kChannelBlock = 16;

struct ConvKernels {
  void (*multiply)(const WindowProduct& product);
  // One row of outputs of window_height rows of `values`. `places` says which element of
  // its window each output is.
  void (*pool)(const PoolShape& shape, const float* values, float* outputs, std::uint8_t* places);
  // The gradient of pool() by `values`, of which it writes every element that a window has,
  // and adds its sums to `sums`, one a channel.
  void (*unpool)(const PoolShape& shape, const float* outputs, const std::uint8_t* places,
                 const float* gradient, float* values, float* sums);
};

// Null where the processor has neither AVX-512 nor AVX2 with FMA.
const ConvKernels* FindConvKernels();
const ConvKernels* Avx512ConvKernels();
const ConvKernels* Avx2ConvKernels();

}  // namespace dnc::trainer_torch
