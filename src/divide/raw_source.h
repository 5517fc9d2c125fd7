// Any file or folder as samples: pieces of files, in the order of their paths. With
// divide/fetch.h the same tree comes back, byte for byte.
//
// A sample is (path, kind, mode, size, offset, bytes): "path" is relative to the root,
// with '/' between its parts; "kind" is 0 for a file, 1 for a folder, 2 for a symbolic
// link, whose target is "bytes"; "mode" has the nine permission bits; "size" is the
// file's, of which `bytes` are the piece from `offset` on. A file is one piece or more,
// one behind the other; an empty file is one empty piece. A root that is a file is a
// tree of that file alone. Times, owners and hard links are not kept.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "source/sample_source.h"

namespace dnc::divide {

// Manifest::parameters["content"] of such a dataset.
inline constexpr char kRawContent[] = "files";
inline constexpr std::uint32_t kRawPieceBytes = 64u << 10;
inline constexpr std::size_t kRawPathBytesMax = 4096;
// Names in the root that belong to fetching a tree, and are in none.
inline constexpr std::string_view kRawReservedPrefix = ".dnc-fetch.";

enum class RawKind : std::uint8_t { kFile = 0, kFolder = 1, kLink = 2 };

// The columns of every such dataset, in this order.
enum RawColumn : std::size_t { kRawPath, kRawKind, kRawMode, kRawSize, kRawOffset, kRawBytes };
const std::vector<array::ColumnSpec>& RawColumns();

// Whether `path` is one that a tree may hold: relative, without empty parts, "." and
// "..", and no longer than kRawPathBytesMax.
bool IsSafeRawPath(std::string_view path);

// A file that changes its size while it is read is an error. With `skip_bad` what
// cannot be read, and what is neither file, folder nor link, is left out and listed.
// Memory: the names of the folders on the way to the current file.
// Errors: kNotFound; kInvalidArgument, neither a file nor a folder; kIo.
Result<std::unique_ptr<source::SampleSource>> OpenRawSource(const std::string& root, bool skip_bad);

}  // namespace dnc::divide
