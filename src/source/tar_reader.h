// Reads a tar from front to back: ustar, and the two ways in which longer names are
// written, PAX headers and GNU's. Of what a tar can hold, only regular files count.
// Source of the format: POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar manual,
// "Basic Tar Format".
//
// A tar may come from a stranger: every header's checksum is checked, sizes are
// believed only as far as bytes follow, and names are never used as paths.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "source/byte_stream.h"

namespace dnc::source {

inline constexpr std::size_t kTarNameBytesMax = 64 << 10;

// Whether `start` begins with a header of a tar.
bool IsTar(ByteSpan start);

struct TarEntry {
  std::string name;
  std::uint64_t size = 0;
};

class TarReader {
 public:
  // `name` is used in messages.
  TarReader(std::unique_ptr<ByteStream> stream, std::string name)
      : stream_(std::move(stream)), name_(std::move(name)) {}

  // The next regular file, or nullopt at the end; what is left of the one before is
  // passed over.
  // Errors: kCorrupt, a damaged header, or an end within a file; kTooLarge, a name above
  // kTarNameBytesMax; kUnsupported, a sparse file or one of several volumes; those of the
  // stream.
  Result<std::optional<TarEntry>> Next();
  // All of the file that Next() gave; `out` has its size.
  Status ReadContent(std::span<std::byte> out);

  std::uint64_t position() const { return stream_->position(); }

 private:
  struct Header;
  struct Overrides {
    std::optional<std::string> name;
    std::optional<std::uint64_t> size;
  };
  // nullopt: the end.
  Result<std::optional<Header>> ReadHeader();
  Status ReadExactly(std::span<std::byte> out);
  Status PassOver(std::uint64_t size);
  Result<std::string> ReadText(std::uint64_t size);
  Status TakePaxRecords(const std::string& text, Overrides* overrides) const;
  Error Damaged(const std::string& what) const;

  std::unique_ptr<ByteStream> stream_;
  std::string name_;
  std::uint64_t content_left_ = 0;  // Of the current file,
  std::uint64_t padding_ = 0;       // and behind it.
};

}  // namespace dnc::source
