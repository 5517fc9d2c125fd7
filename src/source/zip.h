// The directory of a zip archive (PKWARE's APPNOTE.TXT, with zip64), as far as an
// .npz needs it: members stored or deflated, not encrypted, in one file. Every
// offset and size is checked against the file before it is used.

#pragma once

#include <string>
#include <vector>

#include "source/byte_stream.h"

namespace dnc::source {

inline constexpr std::uint64_t kZipMemberCountMax = 4096;
inline constexpr std::uint64_t kZipDirectoryBytesMax = 4 << 20;

struct ZipMember {
  std::string name;
  std::uint16_t method = 0;  // 0 stored, 8 deflated.
  std::uint16_t flags = 0;
  std::uint32_t crc32 = 0;
  std::uint64_t compressed_size = 0;
  std::uint64_t size = 0;
  std::uint64_t header_offset = 0;
};

// Errors: kCorrupt, not a zip archive or a damaged one; kTooLarge, beyond the
// limits above; those of `source`.
Result<std::vector<ZipMember>> ReadZipDirectory(const RandomAccessSource& source);

// Where a member's bytes lie, as they are stored.
// Errors: kCorrupt, its header or data lie outside the file; those of `source`.
Result<ByteRange> StoredRange(const RandomAccessSource& source, const ZipMember& member);

// The contents of a member, from their start.
// Errors: kUnsupported, encrypted or compressed by another method; kCorrupt, its
// header or data lie outside the file; those of `source`.
Result<std::unique_ptr<ByteStream>> OpenZipMember(SharedSource source, const ZipMember& member);

}  // namespace dnc::source
