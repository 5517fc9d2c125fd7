// libtorch of Debian calls the BLAS that the system happens to have, which is up to
// 35 times slower than oneDNN's matrix product. Linking matrix_products.cc into a
// program defines the BLAS function sgemm_ in it, in front of the system's, and
// forwards it to oneDNN, which libtorch has loaded anyway.

#pragma once

#include <cstdint>

namespace dnc::trainer_torch {

// How many products went through this program's sgemm_ so far. Referring to it also
// makes the linker take the definition.
std::uint64_t ForwardedProductCount();

// A matrix in rows, `stride` elements from one to the next; or what its columns and rows
// are when they change places.
struct Matrix {
  const float* values;
  std::int64_t stride;
  bool transposed = false;
};

// c (rows, columns; dense) = scale * a * b + keep * c, where a has `inner` columns and b
// as many rows. With `keep` 0, c is not read.
void Multiply(std::int64_t rows, std::int64_t columns, std::int64_t inner, float scale,
              const Matrix& a, const Matrix& b, float keep, float* c);

}  // namespace dnc::trainer_torch
