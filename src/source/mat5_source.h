// Arrays of numbers in a MATLAB file of format 5, 6 or 7 (save -v6, -v7): the
// elements of "MAT-File Format", MathWorks, revision of 2023, chapter 1. Format 7.3
// is HDF5 (hdf5_source.h).
//
// The bytes are not trusted: every length is checked against what encloses it
// before anything is read or allocated. A compressed variable is inflated as it is
// read, never held whole. An array has the type that MATLAB stored it in, which for
// whole numbers is often smaller than its class: a double y of 1 to 10 is uint8.

#pragma once

#include <memory>

#include "source/array_container.h"
#include "source/input.h"
#include "source/sample_source.h"

namespace dnc::source {

inline constexpr std::size_t kMat5VariableCountMax = 65536;
inline constexpr std::size_t kMat5NameBytesMax = 4096;
inline constexpr std::size_t kMat5AxisCountMax = 32;

bool IsMat5(ByteSpan start);

// Requires: input.file is not null.
// Errors: kCorrupt, truncated or malformed; kTooLarge, more variables than above.
Result<std::unique_ptr<ArrayContainer>> OpenMat5Container(const Input& input);

// Errors: as above; those of OpenContainer.
Result<std::unique_ptr<SampleSource>> OpenMat5(const Input& input, const SourceOptions& options);

}  // namespace dnc::source
