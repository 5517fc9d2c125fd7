// Nodes of IPFS: dag-pb, a small use of protocol buffers, and the UnixFS message that
// a node of a file or folder holds as its data. Encoding is canonical, so that the same
// tree has the same ids everywhere; decoding believes nothing.
// Sources: https://ipld.io/specs/codecs/dag-pb/spec/, https://specs.ipfs.tech/unixfs/.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "ipfs/cid.h"

namespace dnc::ipfs {

// What IPFS moves from peer to peer; a larger block is refused everywhere.
inline constexpr std::uint64_t kBlockBytesMax = 2u << 20;

struct DagLink {
  Cid cid;
  std::string name;
  std::uint64_t total_bytes = 0;  // Of all blocks below, that of `cid` included.

  friend bool operator==(const DagLink&, const DagLink&) = default;
};

struct DagNode {
  std::vector<DagLink> links;
  std::optional<Bytes> data;

  friend bool operator==(const DagNode&, const DagNode&) = default;
};

// Links, in the order given, then the data.
Bytes EncodeDagNode(const DagNode& node);
// Bytes that a link of this name and size takes in a node.
std::uint64_t EncodedLinkBytes(std::uint64_t name_bytes, std::uint64_t total_bytes);
// Errors: kCorrupt, not a node; kUnsupported, a link to another kind of content;
// kTooLarge, above kBlockBytesMax.
Result<DagNode> DecodeDagNode(ByteSpan block);

enum class UnixFsType : std::uint8_t {
  kRaw = 0,  // A leaf of a file, as version 0 made them.
  kDirectory = 1,
  kFile = 2,
  kMetadata = 3,
  kSymlink = 4,
  kHamtShard = 5,  // A part of a directory that is too large for one node.
};

struct UnixFsData {
  UnixFsType type = UnixFsType::kFile;
  std::optional<Bytes> data;  // Of the file; of a HAMT shard, which children it has.
  std::optional<std::uint64_t> file_bytes;
  std::vector<std::uint64_t> child_bytes;  // Of the file, below each link.
  std::optional<std::uint64_t> hash_type;  // Of a HAMT shard.
  std::optional<std::uint64_t> fanout;     // Of a HAMT shard.

  friend bool operator==(const UnixFsData&, const UnixFsData&) = default;
};

Bytes EncodeUnixFs(const UnixFsData& data);
// Modes and times, which a file may have, are passed over.
// Errors: kCorrupt.
Result<UnixFsData> DecodeUnixFs(ByteSpan bytes);

}  // namespace dnc::ipfs
