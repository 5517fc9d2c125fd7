// Murmur3 of Austin Appleby (public domain), x64, 128 bits, seed 0; the first 64 of
// them: the hash by which IPFS spreads the names of a large folder. Not for secrets.

#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace dnc::ipfs {

std::uint64_t Murmur3(ByteSpan bytes);

}  // namespace dnc::ipfs
