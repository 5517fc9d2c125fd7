// Bytes in order: a range of a source, or what zlib makes of one. Where a file is
// read twice at once (the two members of an npz), each reading is a stream of its
// own over one shared RandomAccessSource.
//
// A ByteStream is not thread-safe.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/random_access_source.h"
#include "base/result.h"

namespace dnc::source {

using SharedSource = std::shared_ptr<const RandomAccessSource>;

class ByteStream {
 public:
  virtual ~ByteStream() = default;

  // Fills `out` from its start and returns how many bytes it holds now: fewer
  // than out.size() only at the end.
  // Errors: kCorrupt, compressed data that is damaged or ends early; those of
  // the source.
  virtual Result<std::size_t> Read(std::span<std::byte> out) = 0;
};

struct ByteRange {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

// The bytes of `range` as they are. Requires: the range lies within the source.
std::unique_ptr<ByteStream> OpenRange(SharedSource source, ByteRange range);

// The whole source as gzip; several gzip members one behind the other are one
// stream. Its checksums are checked as it is read.
std::unique_ptr<ByteStream> OpenGzip(SharedSource source);

struct DeflatedMember {
  ByteRange range;
  std::uint64_t size = 0;  // Once inflated.
  std::uint32_t crc32 = 0;
  std::string name;  // For messages.
};

// A member of a zip archive, raw deflate. Its size and checksum are checked at
// its end. Requires: the range lies within the source.
std::unique_ptr<ByteStream> OpenDeflated(SharedSource source, DeflatedMember member);

// The same for a stored member: the range as it is, its checksum checked at the end.
std::unique_ptr<ByteStream> OpenStored(SharedSource source, DeflatedMember member);

}  // namespace dnc::source
