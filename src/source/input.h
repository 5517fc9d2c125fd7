// One file, or standard input, with compression around it taken off: what a kind
// of source is recognised by and opened from.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "source/byte_stream.h"

namespace dnc::source {

// How much of an input is looked at to recognise it. Enough for any npy header.
inline constexpr std::size_t kInputStartBytes = (64 << 10) + 12;

struct Input {
  std::string name;      // For messages.
  std::string wrapping;  // ".gz", ".zst" or nothing.
  Bytes start;           // The first bytes, up to kInputStartBytes.
  // Null where bytes come in order only: compressed, or a pipe.
  SharedSource file;
  // All bytes from the first; any number of times, unless is_once.
  std::function<Result<std::unique_ptr<ByteStream>>()> open;
  bool is_once = false;
  // Checksums, or the end of the compressed data, tell whether it is whole: read it
  // to its end.
  bool is_checked = false;
  std::optional<std::uint64_t> content_bytes;  // Without compression, where known.
  std::optional<std::uint64_t> medium_bytes;   // As it lies there: of the file.
};

// An input over `file`. gzip and zstd are taken off.
// Errors: kInvalidArgument, an empty file; kCorrupt, kTooLarge, damaged
// compression or compression around compression; those of `file`.
Result<Input> OpenInput(SharedSource file);

// An input over a stream that can be read once.
// Errors: as above.
Result<Input> OpenPipe(std::unique_ptr<ByteStream> stream, std::string name);

}  // namespace dnc::source
