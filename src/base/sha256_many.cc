#include "base/sha256_many.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/assert.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace dnc {
namespace internal {

#if defined(__x86_64__)
namespace {

constexpr std::size_t kBlockBytes = 64;

// FIPS 180-4, 4.2.2 and 5.3.3.
alignas(64) constexpr std::uint32_t kRoundConstants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
constexpr std::uint32_t kInitialState[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                            0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

// state[word][lane]: the running hash of every lane.
using LaneState = std::uint32_t[8][kSha256Lanes];

// The i-th 32-bit word of all lanes' blocks, from eight loads of 32 bytes a half.
#define DNC_TRANSPOSE_8X8(words, pointers, offset)                                           \
  do {                                                                                       \
    __m256i row[8];                                                                          \
    for (int lane = 0; lane < 8; ++lane) {                                                   \
      row[lane] = _mm256_shuffle_epi8(                                                       \
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>((pointers)[lane] + (offset))), \
          swap_bytes);                                                                       \
    }                                                                                        \
    __m256i pair[8];                                                                         \
    for (int i = 0; i < 4; ++i) {                                                            \
      pair[2 * i] = _mm256_unpacklo_epi32(row[2 * i], row[2 * i + 1]);                       \
      pair[2 * i + 1] = _mm256_unpackhi_epi32(row[2 * i], row[2 * i + 1]);                   \
    }                                                                                        \
    __m256i four[8];                                                                         \
    for (int i = 0; i < 2; ++i) {                                                            \
      four[4 * i + 0] = _mm256_unpacklo_epi64(pair[4 * i + 0], pair[4 * i + 2]);             \
      four[4 * i + 1] = _mm256_unpackhi_epi64(pair[4 * i + 0], pair[4 * i + 2]);             \
      four[4 * i + 2] = _mm256_unpacklo_epi64(pair[4 * i + 1], pair[4 * i + 3]);             \
      four[4 * i + 3] = _mm256_unpackhi_epi64(pair[4 * i + 1], pair[4 * i + 3]);             \
    }                                                                                        \
    for (int i = 0; i < 4; ++i) {                                                            \
      (words)[i] = _mm256_permute2x128_si256(four[i], four[i + 4], 0x20);                    \
      (words)[i + 4] = _mm256_permute2x128_si256(four[i], four[i + 4], 0x31);                \
    }                                                                                        \
  } while (false)

// Three-input operations of vpternlog: a ^ b ^ c, e ? f : g, the majority.
constexpr int kXor3 = 0x96;
constexpr int kChoose = 0xca;
constexpr int kMajority = 0xe8;

// Runs `blocks` blocks of every lane through the compression function.
__attribute__((target("avx2,avx512f,avx512vl"))) void Compress(
    LaneState& state, const std::byte* const (&begin)[kSha256Lanes], std::size_t blocks) {
  const __m256i swap_bytes = _mm256_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3,
                                             12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
  const std::byte* pointers[kSha256Lanes];
  std::copy(std::begin(begin), std::end(begin), pointers);
  __m256i hash[8];
  for (int i = 0; i < 8; ++i) {
    hash[i] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(state[i]));
  }
  for (; blocks > 0; --blocks) {
    __m256i w[16];
    DNC_TRANSPOSE_8X8(w, pointers, 0);
    DNC_TRANSPOSE_8X8(w + 8, pointers, 32);
    __m256i a = hash[0], b = hash[1], c = hash[2], d = hash[3];
    __m256i e = hash[4], f = hash[5], g = hash[6], h = hash[7];
#pragma GCC unroll 64
    for (int t = 0; t < 64; ++t) {
      if (t >= 16) {
        const __m256i w15 = w[(t + 1) & 15];
        const __m256i w2 = w[(t + 14) & 15];
        const __m256i s0 = _mm256_ternarylogic_epi32(
            _mm256_ror_epi32(w15, 7), _mm256_ror_epi32(w15, 18), _mm256_srli_epi32(w15, 3), kXor3);
        const __m256i s1 = _mm256_ternarylogic_epi32(
            _mm256_ror_epi32(w2, 17), _mm256_ror_epi32(w2, 19), _mm256_srli_epi32(w2, 10), kXor3);
        w[t & 15] = _mm256_add_epi32(_mm256_add_epi32(w[t & 15], s0),
                                     _mm256_add_epi32(w[(t + 9) & 15], s1));
      }
      const __m256i sum1 = _mm256_ternarylogic_epi32(
          _mm256_ror_epi32(e, 6), _mm256_ror_epi32(e, 11), _mm256_ror_epi32(e, 25), kXor3);
      const __m256i choice = _mm256_ternarylogic_epi32(e, f, g, kChoose);
      const __m256i constant = _mm256_set1_epi32(static_cast<int>(kRoundConstants[t]));
      const __m256i t1 = _mm256_add_epi32(_mm256_add_epi32(_mm256_add_epi32(h, sum1), choice),
                                          _mm256_add_epi32(constant, w[t & 15]));
      const __m256i sum0 = _mm256_ternarylogic_epi32(
          _mm256_ror_epi32(a, 2), _mm256_ror_epi32(a, 13), _mm256_ror_epi32(a, 22), kXor3);
      const __m256i majority = _mm256_ternarylogic_epi32(a, b, c, kMajority);
      h = g;
      g = f;
      f = e;
      e = _mm256_add_epi32(d, t1);
      d = c;
      c = b;
      b = a;
      a = _mm256_add_epi32(t1, _mm256_add_epi32(sum0, majority));
    }
    const __m256i done[8] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; ++i) hash[i] = _mm256_add_epi32(hash[i], done[i]);
    for (const std::byte*& pointer : pointers) pointer += kBlockBytes;
  }
  for (int i = 0; i < 8; ++i) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(state[i]), hash[i]);
  }
}
#undef DNC_TRANSPOSE_8X8

// One message on its way: whole blocks where they lie, then the padded tail.
struct Lane {
  const std::byte* data = nullptr;
  std::size_t whole_blocks = 0;
  std::size_t all_blocks = 0;
  std::array<std::byte, 2 * kBlockBytes> tail{};

  explicit Lane(ByteSpan message)
      : data(message.data()), whole_blocks(message.size() / kBlockBytes) {
    const std::size_t rest = message.size() % kBlockBytes;
    const std::size_t tail_blocks = rest + 9 <= kBlockBytes ? 1 : 2;
    all_blocks = whole_blocks + tail_blocks;
    if (rest > 0) std::memcpy(tail.data(), data + whole_blocks * kBlockBytes, rest);
    tail[rest] = std::byte{0x80};
    for (std::size_t i = 0; i < 8; ++i) {  // The length in bits, big-endian.
      tail[tail_blocks * kBlockBytes - 1 - i] =
          static_cast<std::byte>(std::uint64_t{message.size()} * 8 >> (8 * i));
    }
  }
  // Where block `index` lies, and the first block that does not follow it there.
  const std::byte* Block(std::size_t index) const {
    return index < whole_blocks ? data + index * kBlockBytes
                                : tail.data() + (index - whole_blocks) * kBlockBytes;
  }
  std::size_t StretchEnd(std::size_t index) const {
    return index < whole_blocks ? whole_blocks : all_blocks;
  }
};

Digest DigestOf(const LaneState& state, std::size_t lane) {
  Digest digest;
  for (std::size_t i = 0; i < digest.bytes.size(); ++i) {
    digest.bytes[i] = static_cast<std::uint8_t>(state[i / 4][lane] >> (24 - 8 * (i % 4)));
  }
  return digest;
}

bool HasShaInstructions() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & (1u << 29)) != 0;
}

}  // namespace

bool CanHashInLanes() {
  static const bool can = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("avx512f") &&
                          __builtin_cpu_supports("avx512vl");
  return can;
}

bool PrefersLanes() {
  static const bool prefers = CanHashInLanes() && !HasShaInstructions();
  return prefers;
}

void Sha256InLanes(std::span<const ByteSpan> messages, std::span<Digest> digests) {
  DNC_ASSERT(messages.size() <= kSha256Lanes && messages.size() == digests.size());
  if (messages.empty()) return;
  std::vector<Lane> lanes;
  lanes.reserve(messages.size());
  for (const ByteSpan message : messages) lanes.emplace_back(message);
  LaneState state;
  for (std::size_t i = 0; i < 8; ++i) std::fill_n(state[i], kSha256Lanes, kInitialState[i]);

  std::size_t block = 0;
  for (;;) {
    // A stretch in which every unfinished lane's blocks follow each other. The
    // other lanes go along with the data of one that is not finished.
    std::size_t end = SIZE_MAX;
    const std::byte* unfinished = nullptr;
    for (const Lane& lane : lanes) {
      if (block >= lane.all_blocks) continue;
      end = std::min(end, lane.StretchEnd(block));
      unfinished = lane.Block(block);
    }
    if (unfinished == nullptr) return;
    const std::byte* pointers[kSha256Lanes];
    for (std::size_t i = 0; i < kSha256Lanes; ++i) {
      const bool running = i < lanes.size() && block < lanes[i].all_blocks;
      pointers[i] = running ? lanes[i].Block(block) : unfinished;
    }
    Compress(state, pointers, end - block);
    block = end;
    for (std::size_t i = 0; i < lanes.size(); ++i) {
      if (lanes[i].all_blocks == block) digests[i] = DigestOf(state, i);
    }
  }
}

#else

bool CanHashInLanes() { return false; }
bool PrefersLanes() { return false; }
void Sha256InLanes(std::span<const ByteSpan>, std::span<Digest>) { DNC_ASSERT(false); }

#endif

}  // namespace internal

void Sha256Many(std::span<const ByteSpan> messages, std::span<Digest> digests) {
  DNC_ASSERT(messages.size() == digests.size());
  // The lanes take as long for one message as for eight; two cost the same either way.
  while (messages.size() > 2 && internal::PrefersLanes()) {
    const std::size_t count = std::min(messages.size(), internal::kSha256Lanes);
    internal::Sha256InLanes(messages.first(count), digests.first(count));
    messages = messages.subspan(count);
    digests = digests.subspan(count);
  }
  for (std::size_t i = 0; i < messages.size(); ++i) digests[i] = Sha256(messages[i]);
}

}  // namespace dnc
