#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <span>

#include "base/assert.h"
#include "ipfs/dag_pb.h"
#include "ipfs/murmur3.h"
#include "ipfs/unixfs.h"

namespace dnc::ipfs {
namespace {

constexpr std::uint64_t kFanout = 256;
constexpr std::uint64_t kHashMurmur3 = 0x22;  // Murmur3-x64-64, as the table of hashes says.

Root FinishNode(const DagNode& node, std::uint64_t file_bytes, const BlockSink& sink) {
  const Bytes block = EncodeDagNode(node);
  Root root;
  root.cid = CidOf(Codec::kDagPb, block);
  root.file_bytes = file_bytes;
  root.total_bytes = block.size();
  for (const DagLink& link : node.links) root.total_bytes += link.total_bytes;
  if (sink) sink(root.cid, block);
  return root;
}

Root MakeParent(std::span<const Root> children, const BlockSink& sink) {
  DagNode node;
  UnixFsData data;
  data.type = UnixFsType::kFile;
  data.file_bytes = 0;
  for (const Root& child : children) {
    node.links.push_back({child.cid, "", child.total_bytes});
    data.child_bytes.push_back(child.file_bytes);
    *data.file_bytes += child.file_bytes;
  }
  node.data = EncodeUnixFs(data);
  return FinishNode(node, *data.file_bytes, sink);
}

// ---- HAMT

struct HashedEntry {
  std::uint64_t hash = 0;
  const DirectoryEntry* entry = nullptr;
};

// Which child of a node at `depth` an entry falls into: a byte of its hash.
std::size_t ChildIndex(std::uint64_t hash, int depth) {
  return static_cast<std::size_t>(hash >> (56 - 8 * depth) & 0xff);
}

std::string ChildPrefix(std::size_t index) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  return {kDigits[index >> 4], kDigits[index & 15]};
}

// Bit i says that there is a child i: a number, big-endian, without leading zeros.
Bytes ChildBits(const std::vector<std::size_t>& children) {
  Bytes bits(kFanout / 8);
  for (const std::size_t child : children) {
    bits[bits.size() - 1 - child / 8] |= static_cast<std::byte>(1u << (child % 8));
  }
  const auto first =
      std::find_if(bits.begin(), bits.end(), [](std::byte b) { return b != std::byte{0}; });
  bits.erase(bits.begin(), first);
  return bits;
}

// `entries` are in the order of their hashes and agree in the first `depth` bytes. Two
// names of one hash cannot be told apart: 64 bits, of names that somebody chose for that.
Result<Root> MakeHamtNode(std::span<const HashedEntry> entries, int depth, const BlockSink& sink) {
  if (depth == 8) {
    return Error{ErrorCode::kInvalidArgument, "the names \"" + entries[0].entry->name +
                                                  "\" and \"" + entries[1].entry->name +
                                                  "\" have the same hash; rename one"};
  }
  DagNode node;
  std::vector<std::size_t> children;
  while (!entries.empty()) {
    const std::size_t index = ChildIndex(entries[0].hash, depth);
    std::size_t count = 1;
    while (count < entries.size() && ChildIndex(entries[count].hash, depth) == index) ++count;
    children.push_back(index);
    if (count == 1) {
      const DirectoryEntry& entry = *entries[0].entry;
      node.links.push_back({entry.cid, ChildPrefix(index) + entry.name, entry.total_bytes});
    } else {
      DNC_ASSIGN(const Root child, MakeHamtNode(entries.first(count), depth + 1, sink));
      node.links.push_back({child.cid, ChildPrefix(index), child.total_bytes});
    }
    entries = entries.subspan(count);
  }
  UnixFsData data;
  data.type = UnixFsType::kHamtShard;
  data.data = ChildBits(children);
  data.hash_type = kHashMurmur3;
  data.fanout = kFanout;
  node.data = EncodeUnixFs(data);
  return FinishNode(node, 0, sink);
}

Result<Root> MakeHamt(const std::vector<DirectoryEntry>& entries, const BlockSink& sink) {
  std::vector<HashedEntry> hashed;
  for (const DirectoryEntry& entry : entries) {
    hashed.push_back({Murmur3(AsBytes(entry.name)), &entry});
  }
  std::stable_sort(hashed.begin(), hashed.end(),
                   [](const HashedEntry& a, const HashedEntry& b) { return a.hash < b.hash; });
  return MakeHamtNode(hashed, 0, sink);
}

Status CheckNames(const std::vector<DirectoryEntry>& sorted) {
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const std::string& name = sorted[i].name;
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos ||
        name.find('\0') != std::string::npos) {
      return Error{ErrorCode::kInvalidArgument, "\"" + name + "\" is no name in a folder"};
    }
    if (i > 0 && sorted[i - 1].name == name) {
      return Error{ErrorCode::kInvalidArgument, "the folder has \"" + name + "\" twice"};
    }
  }
  return {};
}

}  // namespace

std::uint64_t LeafCount(std::uint64_t file_bytes) {
  return file_bytes == 0 ? 1 : (file_bytes - 1) / kLeafBytes + 1;
}

Root BuildFile(const std::vector<Digest>& leaves, std::uint64_t file_bytes, const BlockSink& sink) {
  DNC_ASSERT(leaves.size() == LeafCount(file_bytes));
  std::vector<Root> level;
  level.reserve(leaves.size());
  std::uint64_t rest = file_bytes;
  for (const Digest& leaf : leaves) {
    const std::uint64_t bytes = std::min(rest, kLeafBytes);
    level.push_back({{Codec::kRaw, leaf}, bytes, bytes});
    rest -= bytes;
  }
  while (level.size() > 1) {
    std::vector<Root> parents;
    for (std::size_t begin = 0; begin < level.size(); begin += kFileLinksMax) {
      const std::size_t count = std::min(kFileLinksMax, level.size() - begin);
      parents.push_back(MakeParent(std::span(level).subspan(begin, count), sink));
    }
    level = std::move(parents);
  }
  return level[0];
}

Result<Root> BuildDirectory(std::vector<DirectoryEntry> entries, const BlockSink& sink) {
  std::sort(entries.begin(), entries.end(),
            [](const DirectoryEntry& a, const DirectoryEntry& b) { return a.name < b.name; });
  DNC_TRY(CheckNames(entries));
  DagNode node;
  UnixFsData data;
  data.type = UnixFsType::kDirectory;
  node.data = EncodeUnixFs(data);
  std::uint64_t bytes = 2 + node.data->size();
  for (const DirectoryEntry& entry : entries) {
    bytes += EncodedLinkBytes(entry.name.size(), entry.total_bytes);
  }
  if (bytes > kDirectoryBytesMax) return MakeHamt(entries, sink);
  for (DirectoryEntry& entry : entries) {
    node.links.push_back({entry.cid, std::move(entry.name), entry.total_bytes});
  }
  return FinishNode(node, 0, sink);
}

Root BuildSymlink(std::string_view target, const BlockSink& sink) {
  UnixFsData data;
  data.type = UnixFsType::kSymlink;
  const ByteSpan bytes = AsBytes(target);
  data.data.emplace(bytes.begin(), bytes.end());
  DagNode node;
  node.data = EncodeUnixFs(data);
  return FinishNode(node, 0, sink);
}

}  // namespace dnc::ipfs
