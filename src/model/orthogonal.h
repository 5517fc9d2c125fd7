// Random orthogonal matrices.

#pragma once

#include <cstddef>
#include <span>

#include "base/prng.h"

namespace dnc::model {

struct MatrixSize {
  std::size_t rows = 0;
  std::size_t columns = 0;
};

// Fills `out` (rows x columns, row by row) with `gain` times a matrix whose rows
// or columns, whichever are fewer, are orthonormal, drawn uniformly (Haar): the Q
// of a normal matrix's QR decomposition with R's diagonal positive, as Keras's
// Orthogonal initializer does (Saxe et al., arXiv:1312.6120).
//
// Requires: out.size() == rows * columns, both above 0.
void FillOrthogonal(MatrixSize size, double gain, Prng* prng, std::span<float> out);

}  // namespace dnc::model
