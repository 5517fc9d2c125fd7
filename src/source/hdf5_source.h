// Datasets of numbers in an HDF5 file, also those of MATLAB's format 7.3, which is
// HDF5 with the axes in reverse. Read in slabs along the sample axis, whatever the
// layout (contiguous or chunked; deflate, shuffle and the library's other filters).
//
// Links to other files, external storage and virtual datasets are not followed.
// HDF5 itself is not made for hostile files: these are the user's own.

#pragma once

#include <memory>
#include <string>

#include "source/array_container.h"
#include "source/input.h"
#include "source/sample_source.h"

namespace dnc::source {

inline constexpr std::size_t kH5ObjectCountMax = 65536;
// A chunk is decompressed whole.
inline constexpr std::uint64_t kH5ChunkBytesMax = 64 << 20;

bool IsHdf5(ByteSpan start);

// Errors: kCorrupt, not HDF5 or spoilt; kTooLarge, more objects than above.
Result<std::unique_ptr<ArrayContainer>> OpenHdf5Container(const Input& input);

// Errors: as above; those of OpenContainer.
Result<std::unique_ptr<SampleSource>> OpenHdf5(const Input& input, const SourceOptions& options);

}  // namespace dnc::source
