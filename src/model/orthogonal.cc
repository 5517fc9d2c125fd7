#include "model/orthogonal.h"

#include <cmath>
#include <vector>

#include "base/assert.h"

namespace dnc::model {
namespace {

double Dot(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Gram-Schmidt, each vector twice: after the second pass the vectors are
// orthogonal to rounding (Giraud et al., 2005). R's diagonal is the norms, so it
// is positive.
void Orthonormalize(std::size_t length, std::vector<double>* vectors, Prng* prng) {
  const std::size_t count = vectors->size() / length;
  for (std::size_t i = 0; i < count;) {
    const std::span<double> vector(vectors->data() + i * length, length);
    double norm_before = std::sqrt(Dot(vector, vector));
    for (int pass = 0; pass < 2; ++pass) {
      for (std::size_t j = 0; j < i; ++j) {
        const std::span<const double> other(vectors->data() + j * length, length);
        const double overlap = Dot(vector, other);
        for (std::size_t k = 0; k < length; ++k) vector[k] -= overlap * other[k];
      }
    }
    const double norm = std::sqrt(Dot(vector, vector));
    if (!(norm > 1e-10 * norm_before)) {  // As good as dependent: draw it again.
      for (double& element : vector) element = prng->Normal();
      continue;
    }
    for (double& element : vector) element /= norm;
    ++i;
  }
}

}  // namespace

void FillOrthogonal(MatrixSize size, double gain, Prng* prng, std::span<float> out) {
  DNC_ASSERT(size.rows > 0 && size.columns > 0 && out.size() == size.rows * size.columns);
  const bool tall = size.rows >= size.columns;
  const std::size_t length = tall ? size.rows : size.columns;
  std::vector<double> vectors(out.size());
  for (double& element : vectors) element = prng->Normal();
  Orthonormalize(length, &vectors, prng);
  for (std::size_t row = 0; row < size.rows; ++row) {
    for (std::size_t column = 0; column < size.columns; ++column) {
      const std::size_t index = tall ? column * length + row : row * length + column;
      out[row * size.columns + column] = static_cast<float>(gain * vectors[index]);
    }
  }
}

}  // namespace dnc::model
