// Files and folders as IPFS stores them, by the profile unixfs-v1-2025: raw leaves of
// 1 MiB; balanced trees of at most 1024 links a node; folders in one node of at most
// 256 KiB, above that in a HAMT of 256 children a node. Ids equal those of `ipfs add`
// with this profile. Sources: https://specs.ipfs.tech/unixfs/ and IPIP-499.

#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/result.h"
#include "ipfs/cid.h"

namespace dnc::ipfs {

inline constexpr std::uint64_t kLeafBytes = 1u << 20;
inline constexpr std::size_t kFileLinksMax = 1024;
inline constexpr std::uint64_t kDirectoryBytesMax = 256u << 10;

// Number of leaves of a file; one, empty, for an empty file.
std::uint64_t LeafCount(std::uint64_t file_bytes);

struct Root {
  Cid cid;
  std::uint64_t file_bytes = 0;   // Of the file's contents; 0 of a folder.
  std::uint64_t total_bytes = 0;  // Of all encoded blocks, that of `cid` included.
};

// Takes a node that was made, each after its children. May be empty.
using BlockSink = std::function<void(const Cid& cid, ByteSpan block)>;

// The tree over a file's leaves, which hash to `leaves`; `sink` gets its nodes, not the
// leaves. Requires: leaves.size() == LeafCount(file_bytes).
Root BuildFile(const std::vector<Digest>& leaves, std::uint64_t file_bytes,
               const BlockSink& sink = {});

struct DirectoryEntry {
  std::string name;
  Cid cid;
  std::uint64_t total_bytes = 0;

  friend bool operator==(const DirectoryEntry&, const DirectoryEntry&) = default;
};

// A folder. Names are any bytes but '/' and 0.
// Errors: kInvalidArgument, a name that is empty, "." or "..", holds '/' or 0, or comes
// twice.
Result<Root> BuildDirectory(std::vector<DirectoryEntry> entries, const BlockSink& sink = {});

// A symbolic link.
Root BuildSymlink(std::string_view target, const BlockSink& sink = {});

// ---- Reading

// Gives the block of an id, which it has checked to be that block.
using BlockFetch = std::function<Result<Bytes>(const Cid& cid)>;

// A part of a file: all or a part of one leaf.
struct FilePart {
  Cid cid;                        // Of the leaf's block.
  std::uint64_t leaf_offset = 0;  // Where in the file the leaf begins,
  std::uint64_t leaf_bytes = 0;   // and how many bytes of the file it holds.
};

// How long the file is; only its root is fetched.
// Errors: kInvalidArgument, not a file; kCorrupt; those of `fetch`.
Result<std::uint64_t> FileBytes(const Cid& file, const BlockFetch& fetch);

// The leaves that hold the bytes [begin, end) of a file, in order; nodes above them are
// fetched, leaves are not, but for those that hold a part of a file beside links.
// Requires: begin <= end.
// Errors: as FileBytes; kCorrupt, the file ends before `end`, or a tree that nobody needs.
Result<std::vector<FilePart>> FindFileParts(const Cid& file, std::uint64_t begin, std::uint64_t end,
                                            const BlockFetch& fetch);

// The file's bytes in a leaf's block. Errors: kCorrupt, others than `part` says.
Result<Bytes> LeafContents(const FilePart& part, Bytes block);

struct DirectoryLimits {
  std::uint64_t entry_count_max = 1u << 22;
  std::uint64_t block_count_max = 1u << 16;
};

// What a folder holds, in ascending order of names, all nodes of a HAMT included.
// Errors: kInvalidArgument, not a folder; kCorrupt; kTooLarge; those of `fetch`.
Result<std::vector<DirectoryEntry>> ListDirectory(const Cid& directory, const BlockFetch& fetch,
                                                  const DirectoryLimits& limits = {});

}  // namespace dnc::ipfs
