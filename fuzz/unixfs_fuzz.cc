// Nodes of IPFS, and trees of them: the input is cut into blocks, which a tree's links
// reach by the first byte of their ids, so that a fuzzer can build any tree.

#include <vector>

#include "base/assert.h"
#include "ipfs/dag_pb.h"
#include "ipfs/unixfs.h"

namespace {

using dnc::ByteReader;
using dnc::Bytes;
using dnc::ByteSpan;
using dnc::Error;
using dnc::ErrorCode;
using dnc::Result;
namespace ipfs = dnc::ipfs;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<Bytes> blocks;
  ByteReader input(ByteSpan(reinterpret_cast<const std::byte*>(data), size));
  while (input.remaining() > 2 && blocks.size() < 256) {
    const std::size_t bytes = std::min<std::size_t>(input.Get<std::uint16_t>(), input.remaining());
    const ByteSpan block = input.GetBytes(bytes);
    blocks.emplace_back(block.begin(), block.end());
  }
  if (blocks.empty()) return 0;
  const auto node = ipfs::DecodeDagNode(blocks[0]);
  if (node.ok()) {
    const auto again = ipfs::DecodeDagNode(ipfs::EncodeDagNode(*node));
    DNC_ASSERT(again.ok() && *again == *node);
    if (node->data) static_cast<void>(ipfs::DecodeUnixFs(*node->data).ok());
  }
  int fetches = 0;
  const ipfs::BlockFetch fetch = [&](const ipfs::Cid& cid) -> Result<Bytes> {
    if (++fetches > 1000) return Error{ErrorCode::kUnavailable, "enough"};
    return blocks[cid.digest.bytes[0] % blocks.size()];
  };
  const ipfs::Cid root{ipfs::Codec::kDagPb, {}};
  const auto bytes = ipfs::FileBytes(root, fetch);
  if (bytes.ok()) {
    const auto parts =
        ipfs::FindFileParts(root, 0, std::min<std::uint64_t>(*bytes, 1 << 20), fetch);
    if (parts.ok()) {
      for (const ipfs::FilePart& part : *parts) {
        const auto block = fetch(part.cid);
        if (block.ok()) static_cast<void>(ipfs::LeafContents(part, *block).ok());
      }
    }
  }
  static_cast<void>(
      ipfs::ListDirectory(root, fetch, {.entry_count_max = 10'000, .block_count_max = 500}).ok());
  return 0;
}
