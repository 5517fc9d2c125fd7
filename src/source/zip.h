// The members of a zip archive as streams; zip/zip.h reads its directory.

#pragma once

#include "source/byte_stream.h"
#include "zip/zip.h"

namespace dnc::source {

// The contents of a member, from their start.
// Errors: kUnsupported, encrypted or compressed by another method; kCorrupt, its
// header or data lie outside the file; those of `source`.
Result<std::unique_ptr<ByteStream>> OpenZipMember(SharedSource source, const zip::Member& member);

}  // namespace dnc::source
