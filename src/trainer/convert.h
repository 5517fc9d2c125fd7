// Elements of any dtype as float32, as the first layer of a model reads them.

#pragma once

#include <cstdint>
#include <span>

#include "array/dtype.h"
#include "base/bytes.h"
#include "base/result.h"

namespace dnc::trainer {

// Converts out.size() elements. Integers beyond 2^24 and float64 are rounded.
// Requires: bytes.size() == out.size() * DTypeSize(dtype).
void ConvertToFloat(array::DType dtype, ByteSpan bytes, std::span<float> out);

// Labels as integers. A float label counts if it is a whole number.
// Errors: kInvalidArgument, a label outside [0, class_count), with its value and
// its position in `bytes`.
// Requires: as above.
Status ConvertToClasses(array::DType dtype, ByteSpan bytes, std::int64_t class_count,
                        std::span<std::int64_t> out);

}  // namespace dnc::trainer
