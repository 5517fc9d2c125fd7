// Content ids of IPFS: what a block is (its codec), and its SHA-256. Only this hash
// and the two codecs of UnixFS are known here.
// Source: https://github.com/multiformats/cid.

#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/hash.h"

namespace dnc::ipfs {

enum class Codec : std::uint8_t { kRaw = 0x55, kDagPb = 0x70 };

struct Cid {
  Codec codec = Codec::kRaw;
  Digest digest;

  // Version 1 in base32, in lower case: "bafk..." of a raw block, "bafy..." of a node.
  std::string Text() const;
  // Version 1: 36 bytes.
  Bytes Binary() const;

  friend auto operator<=>(const Cid&, const Cid&) = default;
};

// The id of a block.
Cid CidOf(Codec codec, ByteSpan block);

// Version 1 in base32 ("b..."), or version 0 ("Qm..."), which is the same content's id in
// an older form. nullopt for all else, other hashes and codecs included.
std::optional<Cid> ParseCid(std::string_view text);

// An id of either version at the beginning of `bytes`, which is then what follows it;
// nullopt for other hashes and codecs.
std::optional<Cid> TakeCid(ByteSpan* bytes);

// Unsigned LEB128 of at most 63 bits, in its shortest form. nullopt if it is none.
std::optional<std::uint64_t> TakeVarint(ByteSpan* bytes);
void PutVarint(std::uint64_t value, Bytes* out);

}  // namespace dnc::ipfs
