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

}  // namespace dnc::trainer_torch
