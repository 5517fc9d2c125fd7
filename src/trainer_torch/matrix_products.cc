#include "trainer_torch/matrix_products.h"

#include <dnnl.h>

#include <atomic>

#include "base/assert.h"

namespace {

std::atomic<std::uint64_t> product_count{0};

// C = beta C, for products over no elements, which oneDNN does not take.
void ScaleOnly(int m, int n, float beta, float* c, int ldc) {
  for (int column = 0; column < n; ++column) {
    for (int row = 0; row < m; ++row) {
      float& element = c[static_cast<std::int64_t>(column) * ldc + row];
      element = beta == 0 ? 0 : beta * element;
    }
  }
}

}  // namespace

// The BLAS interface: column-major, everything by address, 32-bit sizes. oneDNN's is
// row-major, so the product is computed as C' = B' A'.
extern "C" __attribute__((visibility("default"))) void sgemm_(
    const char* transa, const char* transb, const int* m, const int* n, const int* k,
    const float* alpha, const float* a, const int* lda, const float* b, const int* ldb,
    const float* beta, float* c, const int* ldc) {
  product_count.fetch_add(1, std::memory_order_relaxed);
  if (*m == 0 || *n == 0) return;
  if (*k == 0) {
    ScaleOnly(*m, *n, *beta, c, *ldc);
    return;
  }
  const dnnl_status_t status =
      dnnl_sgemm(*transb, *transa, *n, *m, *k, *alpha, b, *ldb, a, *lda, *beta, c, *ldc);
  // libtorch has checked the sizes, and sgemm_ has no way to report anything else.
  DNC_ASSERT(status == dnnl_success);
}

namespace dnc::trainer_torch {

std::uint64_t ForwardedProductCount() { return product_count.load(std::memory_order_relaxed); }

void Multiply(std::int64_t rows, std::int64_t columns, std::int64_t inner, float scale,
              const Matrix& a, const Matrix& b, float keep, float* c) {
  DNC_ASSERT(rows > 0 && columns > 0 && inner > 0);
  const dnnl_status_t status =
      dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', rows, columns, inner, scale,
                 a.values, a.stride, b.values, b.stride, keep, c, columns);
  DNC_ASSERT(status == dnnl_success);
}

}  // namespace dnc::trainer_torch
