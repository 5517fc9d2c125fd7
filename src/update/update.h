// Weights, and differences of weights, as bytes: a versioned container of float32
// values in chunks, each byte-shuffled, compressed by zstd and checksummed, so that
// either side works in bounded memory. docs/formats/update.md fixes the bytes.
// Lossless: the values come back bit by bit.
//
// A container may come from a stranger: the count is checked against what the
// reader expects before anything is allocated.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace dnc::update {

enum class Encoding : std::uint8_t { kFloat32 = 1 };

inline constexpr std::uint32_t kChunkValues = 1u << 18;  // 1 MiB of float32.

// Deterministic: the same values give the same bytes.
Bytes Encode(std::span<const float> values, Encoding encoding = Encoding::kFloat32);

// Upper bound of the size of an honest container of `count` values.
std::uint64_t EncodedBytesMax(std::uint64_t count);

// Decodes chunk by chunk. Views `bytes`, which must outlive it.
class Decoder {
 public:
  // Errors: kCorrupt, not a container; kUnsupported, a later version or unknown
  // encoding; kInvalidArgument, another count than `expected_count`, both named.
  static Result<Decoder> Open(ByteSpan bytes, std::uint64_t expected_count);

  ~Decoder();
  Decoder(Decoder&&) noexcept;
  Decoder& operator=(Decoder&&) noexcept;

  // The next chunk's values, valid until the next call; empty at the end.
  // Errors: kCorrupt, a bad checksum or layout; then the decoder must be abandoned.
  Result<std::span<const float>> Next();

 private:
  friend Result<std::vector<float>> Decode(ByteSpan bytes, std::uint64_t expected_count);
  struct Impl;  // Keeps zstd out of this header.
  Decoder(ByteSpan rest, std::uint64_t remaining_values);
  // Decodes the next chunk, which must have out.size() values, not zero.
  Status DecodeNext(std::span<float> out);

  ByteSpan rest_;
  std::uint64_t remaining_values_;
  std::unique_ptr<Impl> impl_;
};

// All values at once. Errors: those of Decoder.
Result<std::vector<float>> Decode(ByteSpan bytes, std::uint64_t expected_count);

// Whether all values are finite; checked before an update may count.
bool AllFinite(std::span<const float> values);

}  // namespace dnc::update
