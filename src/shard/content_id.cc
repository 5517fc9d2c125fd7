#include "shard/content_id.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "base/assert.h"

namespace dnc::shard {
namespace {

constexpr std::size_t kLinksMax = 1024;
constexpr std::size_t kCidTextSize = 59;  // 'b' and 36 bytes in base32.

enum class Codec : std::uint8_t { kDagPb = 0x70, kRaw = 0x55 };

// A node of the tree as its parent sees it.
struct Node {
  Codec codec = Codec::kRaw;
  Digest digest;
  std::uint64_t file_bytes = 0;   // Of the file, below this node.
  std::uint64_t total_bytes = 0;  // Of all encoded blocks below and including it.
};

void PutVarint(std::uint64_t value, Bytes* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<std::byte>(value | 0x80));
  out->push_back(static_cast<std::byte>(value));
}

void PutTag(int field, int wire_type, Bytes* out) {
  PutVarint(static_cast<std::uint64_t>(field << 3 | wire_type), out);
}
void PutNumberField(int field, std::uint64_t value, Bytes* out) {
  PutTag(field, 0, out);
  PutVarint(value, out);
}
void PutBytesField(int field, ByteSpan bytes, Bytes* out) {
  PutTag(field, 2, out);
  PutVarint(bytes.size(), out);
  out->insert(out->end(), bytes.begin(), bytes.end());
}

// CIDv1: version, codec, then the multihash of SHA-256 (0x12) with 32 bytes.
using BinaryCid = std::array<std::byte, 36>;

BinaryCid MakeCid(const Node& node) {
  BinaryCid cid = {std::byte{1}, static_cast<std::byte>(node.codec), std::byte{0x12},
                   std::byte{32}};
  std::memcpy(cid.data() + 4, node.digest.bytes.data(), node.digest.bytes.size());
  return cid;
}

// Multibase 'b': RFC 4648 base32 in lower case without padding.
std::string CidText(const BinaryCid& cid) {
  static constexpr char kAlphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
  std::string text = "b";
  std::uint32_t buffer = 0;
  int bits = 0;
  for (const std::byte b : cid) {
    buffer = buffer << 8 | std::to_integer<std::uint32_t>(b);
    for (bits += 8; bits >= 5; bits -= 5) text.push_back(kAlphabet[buffer >> (bits - 5) & 31]);
    buffer &= 0xff;
  }
  if (bits > 0) text.push_back(kAlphabet[buffer << (5 - bits) & 31]);
  return text;
}

// The dag-pb node of a UnixFS file over `children`, in the canonical order: links
// (field 2) before data (field 1); in a link Hash, Name (empty, but present), Tsize;
// in the data Type (2, a file), filesize, then each child's size.
Node MakeParent(std::span<const Node> children) {
  Node parent;
  parent.codec = Codec::kDagPb;
  Bytes encoded;
  Bytes link;
  for (const Node& child : children) {
    link.clear();
    PutBytesField(1, MakeCid(child), &link);
    PutBytesField(2, {}, &link);
    PutNumberField(3, child.total_bytes, &link);
    PutBytesField(2, link, &encoded);
    parent.file_bytes += child.file_bytes;
    parent.total_bytes += child.total_bytes;
  }
  Bytes data;
  PutNumberField(1, 2, &data);
  PutNumberField(3, parent.file_bytes, &data);
  for (const Node& child : children) PutNumberField(4, child.file_bytes, &data);
  PutBytesField(1, data, &encoded);
  parent.digest = Sha256(encoded);
  parent.total_bytes += encoded.size();
  return parent;
}

}  // namespace

std::uint64_t LeafCount(std::uint64_t file_bytes) {
  return file_bytes == 0 ? 1 : (file_bytes - 1) / kLeafBytes + 1;
}

std::string ContentIdFromLeaves(const std::vector<Digest>& leaves, std::uint64_t file_bytes) {
  DNC_ASSERT(leaves.size() == LeafCount(file_bytes));
  std::vector<Node> level;
  level.reserve(leaves.size());
  std::uint64_t rest = file_bytes;
  for (const Digest& leaf : leaves) {
    const std::uint64_t bytes = std::min(rest, kLeafBytes);
    level.push_back({Codec::kRaw, leaf, bytes, bytes});
    rest -= bytes;
  }
  while (level.size() > 1) {
    std::vector<Node> parents;
    for (std::size_t begin = 0; begin < level.size(); begin += kLinksMax) {
      const std::size_t count = std::min(kLinksMax, level.size() - begin);
      parents.push_back(MakeParent(std::span(level).subspan(begin, count)));
    }
    level = std::move(parents);
  }
  return CidText(MakeCid(level[0]));
}

bool IsContentId(std::string_view text) {
  if (text.size() != kCidTextSize) return false;
  // 01 55 12 20 and 01 70 12 20 in base32. The digit behind them begins with the
  // last two bits of 0x20, both zero, which leaves a to h.
  if (!text.starts_with("bafkrei") && !text.starts_with("bafybei")) return false;
  if (text[7] < 'a' || text[7] > 'h') return false;
  // 36 bytes are 57.6 digits: the last digit has two bits that must be zero.
  if (std::string_view("aeimquy4").find(text.back()) == std::string_view::npos) return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= 'a' && c <= 'z') || (c >= '2' && c <= '7'); });
}

void ContentHasher::Update(ByteSpan bytes) {
  while (!bytes.empty()) {
    // A full leaf is closed only when more comes: a file of exactly 1 MiB has one.
    if (leaf_bytes_ == kLeafBytes) {
      leaves_.push_back(leaf_.Finish());
      leaf_ = Sha256Hasher();
      leaf_bytes_ = 0;
    }
    const auto count =
        static_cast<std::size_t>(std::min<std::uint64_t>(kLeafBytes - leaf_bytes_, bytes.size()));
    leaf_.Update(bytes.first(count));
    leaf_bytes_ += count;
    bytes_ += count;
    bytes = bytes.subspan(count);
  }
}

ContentHasher::Identity ContentHasher::Finish() {
  leaves_.push_back(leaf_.Finish());
  std::string cid = ContentIdFromLeaves(leaves_, bytes_);
  return {std::move(cid), bytes_, std::move(leaves_)};
}

}  // namespace dnc::shard
