#include <algorithm>
#include <optional>
#include <utility>

#include "base/assert.h"
#include "ipfs/dag_pb.h"
#include "ipfs/unixfs.h"

namespace dnc::ipfs {
namespace {

constexpr int kDepthMax = 32;
constexpr std::uint64_t kFanoutMax = 1024;  // As Kubo allows.

Error Broken(const Cid& cid, const std::string& what) {
  return {ErrorCode::kCorrupt, cid.Text() + ": " + what};
}

struct Node {
  DagNode dag;
  UnixFsData data;
};

Result<Node> FetchNode(const Cid& cid, const BlockFetch& fetch) {
  DNC_ASSIGN(const Bytes block, fetch(cid));
  Result<DagNode> dag = DecodeDagNode(block);
  if (!dag.ok()) return dag.error().WithContext(cid.Text());
  if (!dag->data) return Broken(cid, "a node that is not of UnixFS: it has no data");
  Result<UnixFsData> data = DecodeUnixFs(*dag->data);
  if (!data.ok()) return data.error().WithContext(cid.Text());
  return Node{std::move(*dag), std::move(*data)};
}

std::uint64_t OwnBytes(const Node& node) { return node.data.data ? node.data.data->size() : 0; }

// A node of a file: how long the file is below it.
Result<std::uint64_t> CheckFileNode(const Cid& cid, const Node& node) {
  if (node.data.type != UnixFsType::kFile && node.data.type != UnixFsType::kRaw) {
    return Error{ErrorCode::kInvalidArgument, cid.Text() + " is not a file"};
  }
  if (node.data.child_bytes.size() != node.dag.links.size()) {
    return Broken(cid, std::to_string(node.dag.links.size()) + " links, but the sizes of " +
                           std::to_string(node.data.child_bytes.size()));
  }
  std::uint64_t total = OwnBytes(node);
  for (const std::uint64_t bytes : node.data.child_bytes) {
    if (bytes > INT64_MAX - total) return Broken(cid, "a file beyond all sizes");
    total += bytes;
  }
  if (node.data.file_bytes && *node.data.file_bytes != total) {
    return Broken(cid, "it says " + std::to_string(*node.data.file_bytes) +
                           " bytes, but its parts have " + std::to_string(total));
  }
  return total;
}

struct Range {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

class PartFinder {
 public:
  PartFinder(Range wanted, const BlockFetch& fetch) : wanted_(wanted), fetch_(fetch) {}

  // Below `cid`, which begins at `offset` of the file and, as its parent says, holds
  // `bytes` of it; nullopt for the root. Returns how many there are.
  Result<std::uint64_t> Visit(const Cid& cid, std::uint64_t offset,
                              std::optional<std::uint64_t> bytes, int depth) {
    if (depth > kDepthMax) return Broken(cid, "a tree that is too deep");
    if (cid.codec == Codec::kRaw) {
      if (!bytes) {
        DNC_ASSIGN(const Bytes block, fetch_(cid));
        bytes = block.size();
      }
      Add(cid, offset, *bytes);
      return *bytes;
    }
    DNC_ASSIGN(const Node node, FetchNode(cid, fetch_));
    DNC_ASSIGN(const std::uint64_t total, CheckFileNode(cid, node));
    if (bytes && *bytes != total) {
      return Broken(
          cid, std::to_string(total) + " bytes, but its parent says " + std::to_string(*bytes));
    }
    std::uint64_t at = offset + OwnBytes(node);
    Add(cid, offset, OwnBytes(node));
    for (std::size_t i = 0; i < node.dag.links.size(); ++i) {
      const std::uint64_t size = node.data.child_bytes[i];
      if (Overlaps(at, size)) {
        DNC_TRY(Visit(node.dag.links[i].cid, at, size, depth + 1).status());
      }
      at += size;
    }
    return total;
  }

  std::vector<FilePart> Take() { return std::move(parts_); }

 private:
  bool Overlaps(std::uint64_t offset, std::uint64_t bytes) const {
    return bytes > 0 && offset < wanted_.end && offset + bytes > wanted_.begin;
  }
  void Add(const Cid& cid, std::uint64_t offset, std::uint64_t bytes) {
    if (Overlaps(offset, bytes)) parts_.push_back({cid, offset, bytes});
  }

  const Range wanted_;
  const BlockFetch& fetch_;
  std::vector<FilePart> parts_;
};

// ---- Folders

class Lister {
 public:
  Lister(const BlockFetch& fetch, const DirectoryLimits& limits) : fetch_(fetch), limits_(limits) {}

  Status Visit(const Cid& cid, int depth) {
    if (depth > kDepthMax) return Broken(cid, "a tree that is too deep");
    if (++blocks_ > limits_.block_count_max) {
      return Error{ErrorCode::kTooLarge,
                   "a folder of more than " + std::to_string(limits_.block_count_max) + " nodes"};
    }
    if (cid.codec == Codec::kRaw) return NoFolder(cid);
    DNC_ASSIGN(Node node, FetchNode(cid, fetch_));
    if (node.data.type == UnixFsType::kDirectory && depth == 0) {
      for (DagLink& link : node.dag.links) DNC_TRY(Add(cid, std::move(link), 0));
      return {};
    }
    if (node.data.type != UnixFsType::kHamtShard) return NoFolder(cid);
    const std::uint64_t fanout = node.data.fanout.value_or(0);
    if (fanout < 8 || fanout > kFanoutMax || (fanout & (fanout - 1)) != 0) {
      return Broken(cid, "a HAMT of " + std::to_string(fanout) + " children a node");
    }
    const std::size_t prefix_size = fanout > 256 ? 3 : fanout > 16 ? 2 : 1;
    for (DagLink& link : node.dag.links) {
      if (link.name.size() < prefix_size) return Broken(cid, "a link without a place");
      if (link.name.size() == prefix_size) {
        DNC_TRY(Visit(link.cid, depth + 1));
      } else {
        DNC_TRY(Add(cid, std::move(link), prefix_size));
      }
    }
    return {};
  }

  Result<std::vector<DirectoryEntry>> Take(const Cid& cid) {
    std::sort(entries_.begin(), entries_.end(),
              [](const DirectoryEntry& a, const DirectoryEntry& b) { return a.name < b.name; });
    for (std::size_t i = 1; i < entries_.size(); ++i) {
      if (entries_[i - 1].name == entries_[i].name) {
        return Broken(cid, "a folder that has \"" + entries_[i].name + "\" twice");
      }
    }
    return std::move(entries_);
  }

 private:
  static Error NoFolder(const Cid& cid) {
    return {ErrorCode::kInvalidArgument, cid.Text() + " is not a folder"};
  }

  Status Add(const Cid& cid, DagLink link, std::size_t prefix_size) {
    if (entries_.size() >= limits_.entry_count_max) {
      return Error{ErrorCode::kTooLarge,
                   "a folder of more than " + std::to_string(limits_.entry_count_max) + " entries"};
    }
    std::string name = link.name.substr(prefix_size);
    if (name.empty()) return Broken(cid, "a folder with an entry that has no name");
    entries_.push_back({std::move(name), link.cid, link.total_bytes});
    return {};
  }

  const BlockFetch& fetch_;
  const DirectoryLimits limits_;
  std::uint64_t blocks_ = 0;
  std::vector<DirectoryEntry> entries_;
};

}  // namespace

Result<std::uint64_t> FileBytes(const Cid& file, const BlockFetch& fetch) {
  if (file.codec == Codec::kRaw) {
    DNC_ASSIGN(const Bytes block, fetch(file));
    return static_cast<std::uint64_t>(block.size());
  }
  DNC_ASSIGN(const Node node, FetchNode(file, fetch));
  return CheckFileNode(file, node);
}

Result<std::vector<FilePart>> FindFileParts(const Cid& file, std::uint64_t begin, std::uint64_t end,
                                            const BlockFetch& fetch) {
  DNC_ASSERT(begin <= end);
  PartFinder finder({begin, end}, fetch);
  DNC_ASSIGN(const std::uint64_t bytes, finder.Visit(file, 0, std::nullopt, 0));
  if (end > bytes) {
    return Error{ErrorCode::kCorrupt, file.Text() + " has " + std::to_string(bytes) +
                                          " bytes, but bytes up to " + std::to_string(end) +
                                          " were wanted"};
  }
  return finder.Take();
}

Result<Bytes> LeafContents(const FilePart& part, Bytes block) {
  if (part.cid.codec == Codec::kDagPb) {
    const BlockFetch same = [&block](const Cid&) -> Result<Bytes> { return std::move(block); };
    DNC_ASSIGN(Node node, FetchNode(part.cid, same));
    block = node.data.data.value_or(Bytes());
  }
  if (block.size() != part.leaf_bytes) {
    return Broken(part.cid, std::to_string(block.size()) + " bytes, but its parent says " +
                                std::to_string(part.leaf_bytes));
  }
  return block;
}

Result<std::vector<DirectoryEntry>> ListDirectory(const Cid& directory, const BlockFetch& fetch,
                                                  const DirectoryLimits& limits) {
  Lister lister(fetch, limits);
  DNC_TRY(lister.Visit(directory, 0));
  return lister.Take(directory);
}

}  // namespace dnc::ipfs
