// CAR, version 1: blocks of IPFS one after another in a stream, behind a header with the
// ids of the roots. Source: https://ipld.io/specs/transport/car/carv1/.
//
// A CAR may come from a stranger: every block is checked against its id before it is
// handed on, and nothing larger than a block is ever held.

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "ipfs/cid.h"

namespace dnc::ipfs {

void AppendCarHeader(const std::vector<Cid>& roots, Bytes* out);
// What stands before a block's own bytes.
void AppendCarBlockHead(const Cid& cid, std::uint64_t block_bytes, Bytes* out);
void AppendCarBlock(const Cid& cid, ByteSpan block, Bytes* out);

// Reads a CAR as its bytes come.
class CarReader {
 public:
  // Takes each block, whose bytes are those of its id; an error ends the reading.
  using BlockHandler = std::function<Status(const Cid& cid, ByteSpan block)>;

  explicit CarReader(BlockHandler handler);

  // Errors: kCorrupt, not a CAR, or a block that is not the one of its id; kUnsupported,
  // another version, hash or codec; kTooLarge, a header above 64 KiB or a block above
  // kBlockBytesMax; those of the handler. After an error no more is taken.
  Status Feed(ByteSpan bytes);
  // Errors: kCorrupt, the bytes ended within the header or a block.
  Status Finish() const;

  // Of the header; empty until it was read.
  const std::vector<Cid>& roots() const { return roots_; }

 private:
  Status TakeSection();
  Status TakeHeader(ByteSpan header);

  BlockHandler handler_;
  bool header_ = false;  // It was read.
  std::vector<Cid> roots_;
  Bytes pending_;  // Of a section that has not come whole.
  std::optional<std::uint64_t> section_bytes_;
};

}  // namespace dnc::ipfs
