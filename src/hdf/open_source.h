// An HDF5 file over any RandomAccessSource, read-only: each read that the library
// makes is checked against the size of the source, and fails as the source fails.
//
// HDF5 is not made for hostile files: a spoilt one can still crash it. Open only
// files of the user's own.

#pragma once

#include <memory>

#include "base/random_access_source.h"
#include "base/result.h"
#include "hdf/handle.h"

namespace dnc::hdf {

// The offset of the HDF5 superblock in a file's first bytes: 0, or 512, 1024, 2048...
// behind bytes of another format; or -1.
std::int64_t FindSignature(ByteSpan start);

// The handle and the library hold `source` until the file is closed.
// Errors: kCorrupt, not an HDF5 file, truncated or spoilt; kResourceExhausted.
Result<H5Handle> OpenSource(std::shared_ptr<const RandomAccessSource> source);

}  // namespace dnc::hdf
