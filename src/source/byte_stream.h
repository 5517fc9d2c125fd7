// Bytes in order: a range of a file, a pipe, or what zlib and zstd make of one.
// Where a file is read twice at once (the two members of an npz), each reading is
// a stream of its own over one shared RandomAccessSource.
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

  // Passes over bytes as if they were read, without reading them where the medium
  // allows. Returns how many: fewer only at the end.
  // Errors: those of Read.
  virtual Result<std::uint64_t> Skip(std::uint64_t size);

  // How many bytes of the medium (a file's, compressed or not) were taken so far.
  virtual std::uint64_t position() const = 0;
};

struct ByteRange {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

// The bytes of `range` as they are. Requires: the range lies within the source.
std::unique_ptr<ByteStream> OpenRange(SharedSource source, ByteRange range);

// `inner` as gzip; several gzip members one behind the other are one stream. Its
// checksums are checked as it is read. `name` is used in messages.
std::unique_ptr<ByteStream> OpenGzip(std::unique_ptr<ByteStream> inner, std::string name);

// `inner` as zlib (RFC 1950), which MATLAB's files hold; its checksum is checked at
// its end.
std::unique_ptr<ByteStream> OpenZlib(std::unique_ptr<ByteStream> inner, std::string name);

// `inner` as zstd, of one or several frames. A frame that wants a window above
// kZstdWindowBytesMax is refused, since the window is what decoding costs.
std::unique_ptr<ByteStream> OpenZstd(std::unique_ptr<ByteStream> inner, std::string name);
inline constexpr std::uint64_t kZstdWindowBytesMax = 8 << 20;

// A pipe or terminal that someone else opened and closes: standard input.
std::unique_ptr<ByteStream> OpenDescriptor(int fd, std::string name);

// `prefix` from `offset` on, then `rest`: bytes that were taken to look at them.
std::unique_ptr<ByteStream> OpenPrefixed(Bytes prefix, std::size_t offset,
                                         std::unique_ptr<ByteStream> rest);

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
