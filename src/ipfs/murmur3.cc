#include "ipfs/murmur3.h"

#include <array>
#include <bit>
#include <cstring>

namespace dnc::ipfs {
namespace {

constexpr std::uint64_t kC1 = 0x87c37b91114253d5u;
constexpr std::uint64_t kC2 = 0x4cf5ad432745937fu;

std::uint64_t MixFirst(std::uint64_t k) { return std::rotl(k * kC1, 31) * kC2; }
std::uint64_t MixSecond(std::uint64_t k) { return std::rotl(k * kC2, 33) * kC1; }

std::uint64_t Finish(std::uint64_t h) {
  h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdu;
  h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53u;
  return h ^ (h >> 33);
}

}  // namespace

std::uint64_t Murmur3(ByteSpan bytes) {
  constexpr std::size_t kBlock = 16;
  const std::uint64_t size = bytes.size();
  std::uint64_t h1 = 0;
  std::uint64_t h2 = 0;
  std::array<std::uint64_t, 2> k{};
  for (; bytes.size() >= kBlock; bytes = bytes.subspan(kBlock)) {
    std::memcpy(k.data(), bytes.data(), kBlock);
    h1 = (std::rotl(h1 ^ MixFirst(k[0]), 27) + h2) * 5 + 0x52dce729;
    h2 = (std::rotl(h2 ^ MixSecond(k[1]), 31) + h1) * 5 + 0x38495ab5;
  }
  k = {};
  if (!bytes.empty()) std::memcpy(k.data(), bytes.data(), bytes.size());
  h1 ^= MixFirst(k[0]) ^ size;
  h2 ^= MixSecond(k[1]) ^ size;
  h1 += h2;
  h2 += h1;
  h1 = Finish(h1);
  h2 = Finish(h2);
  return h1 + h2;
}

}  // namespace dnc::ipfs
