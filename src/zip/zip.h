// Zip archives (PKWARE's APPNOTE.TXT, with zip64) as far as npz and .keras files
// need them: members stored or deflated, not encrypted, in one file.
//
// An archive may come from a stranger: every offset and size is checked against
// the file before it is used, and a member is inflated only to a stated limit.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/random_access_source.h"
#include "base/result.h"

namespace dnc::zip {

inline constexpr std::uint64_t kMemberCountMax = 4096;
inline constexpr std::uint64_t kDirectoryBytesMax = 4 << 20;

struct Member {
  std::string name;
  std::uint16_t method = 0;  // 0 stored, 8 deflated.
  std::uint16_t flags = 0;
  std::uint32_t crc32 = 0;
  std::uint64_t compressed_size = 0;
  std::uint64_t size = 0;
  std::uint64_t header_offset = 0;
};

struct Range {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

// Whether a file that begins so may be a zip archive.
bool IsZip(ByteSpan start);

// Errors: kCorrupt, not a zip archive or a damaged one; kTooLarge, beyond the
// limits above; those of `source`.
Result<std::vector<Member>> ReadDirectory(const RandomAccessSource& source);

// Where a member's bytes lie, as they are stored.
// Errors: kCorrupt, its header or data lie outside the file; those of `source`.
Result<Range> StoredRange(const RandomAccessSource& source, const Member& member);

// Errors: kUnsupported, a member that is encrypted or compressed by another method
// than the known two. `name` is used in messages.
Status CheckMethod(const Member& member, const std::string& name);

// All of a member, whose size and checksum are checked.
// Errors: kTooLarge, above `bytes_max` once inflated; kCorrupt; those of CheckMethod
// and of `source`.
Result<Bytes> ReadMember(const RandomAccessSource& source, const Member& member,
                         std::uint64_t bytes_max);

// The header in front of a stored member's bytes, of LocalHeaderBytes() bytes, and
// the directory at an archive's end, which begins at `begin`. Fields of 64 bits are
// always used and the time is 1980-01-01, so that the same members give the same
// bytes. Of a Member name, crc32, size and header_offset are read.
std::uint64_t LocalHeaderBytes(const Member& member);
Bytes FormatLocalHeader(const Member& member);
Bytes FormatDirectory(const std::vector<Member>& members, std::uint64_t begin);

struct Content {
  std::string name;
  std::vector<ByteSpan> parts;  // One behind the other.
};

// Writes an archive of stored members, atomically.
// Errors: kResourceExhausted, kIo. On an error `path` is as it was.
Status WriteArchive(const std::string& path, const std::vector<Content>& contents);

}  // namespace dnc::zip
