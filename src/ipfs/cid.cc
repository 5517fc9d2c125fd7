#include "ipfs/cid.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace dnc::ipfs {
namespace {

constexpr std::byte kSha256{0x12};
constexpr std::byte kDigestBytes{32};
constexpr std::size_t kMultihashSize = 34;
constexpr std::size_t kTextSizeV0 = 46;
constexpr std::size_t kTextSizeV1 = 59;  // 'b' and 36 bytes in base32.

constexpr std::string_view kBase32 = "abcdefghijklmnopqrstuvwxyz234567";
constexpr std::string_view kBase58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

// RFC 4648 in lower case without padding; the bits beyond the last byte must be zero.
std::optional<Bytes> Base32Decode(std::string_view text) {
  Bytes bytes;
  std::uint32_t buffer = 0;
  int bits = 0;
  for (const char c : text) {
    const std::size_t digit = kBase32.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    buffer = (buffer << 5 | static_cast<std::uint32_t>(digit)) & 0xfff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes.push_back(static_cast<std::byte>(buffer >> bits));
    }
  }
  if (bits >= 5 || (buffer & ((1u << bits) - 1)) != 0) return std::nullopt;
  return bytes;
}

// The multihash of a version 0: 34 bytes as a number in base 58.
std::optional<Bytes> Base58Decode(std::string_view text) {
  Bytes bytes(kMultihashSize);
  for (const char c : text) {
    const std::size_t digit = kBase58.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    auto carry = static_cast<std::uint32_t>(digit);
    for (std::size_t i = bytes.size(); i-- > 0;) {
      carry += std::to_integer<std::uint32_t>(bytes[i]) * 58;
      bytes[i] = static_cast<std::byte>(carry);
      carry >>= 8;
    }
    if (carry != 0) return std::nullopt;
  }
  return bytes;
}

std::optional<Digest> TakeMultihash(ByteSpan* bytes) {
  if (bytes->size() < kMultihashSize || (*bytes)[0] != kSha256 || (*bytes)[1] != kDigestBytes) {
    return std::nullopt;
  }
  Digest digest;
  std::memcpy(digest.bytes.data(), bytes->data() + 2, digest.bytes.size());
  *bytes = bytes->subspan(kMultihashSize);
  return digest;
}

}  // namespace

void PutVarint(std::uint64_t value, Bytes* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<std::byte>(value | 0x80));
  out->push_back(static_cast<std::byte>(value));
}

std::optional<std::uint64_t> TakeVarint(ByteSpan* bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 9 && i < bytes->size(); ++i) {
    const auto byte = std::to_integer<std::uint64_t>((*bytes)[i]);
    value |= (byte & 0x7f) << (7 * i);
    if ((byte & 0x80) != 0) continue;
    if (byte == 0 && i > 0) return std::nullopt;  // A longer form than needed.
    *bytes = bytes->subspan(i + 1);
    return value;
  }
  return std::nullopt;
}

Bytes Cid::Binary() const {
  Bytes binary(2 + kMultihashSize);
  binary[0] = std::byte{1};
  binary[1] = static_cast<std::byte>(codec);
  binary[2] = kSha256;
  binary[3] = kDigestBytes;
  std::memcpy(binary.data() + 4, digest.bytes.data(), digest.bytes.size());
  return binary;
}

std::string Cid::Text() const {
  std::string text = "b";
  std::uint32_t buffer = 0;
  int bits = 0;
  for (const std::byte b : Binary()) {
    buffer = buffer << 8 | std::to_integer<std::uint32_t>(b);
    for (bits += 8; bits >= 5; bits -= 5) text.push_back(kBase32[buffer >> (bits - 5) & 31]);
    buffer &= 0xff;
  }
  if (bits > 0) text.push_back(kBase32[buffer << (5 - bits) & 31]);
  return text;
}

Cid CidOf(Codec codec, ByteSpan block) { return {codec, Sha256(block)}; }

std::optional<Cid> ParseCid(std::string_view text) {
  const bool is_v0 = text.size() == kTextSizeV0 && text.starts_with("Qm");
  if (!is_v0 && (text.size() != kTextSizeV1 || !text.starts_with('b'))) return std::nullopt;
  const std::optional<Bytes> binary = is_v0 ? Base58Decode(text) : Base32Decode(text.substr(1));
  if (!binary) return std::nullopt;
  ByteSpan rest = *binary;
  const std::optional<Cid> cid = TakeCid(&rest);
  return rest.empty() ? cid : std::nullopt;
}

std::optional<Cid> TakeCid(ByteSpan* bytes) {
  ByteSpan rest = *bytes;
  Cid cid;
  cid.codec = Codec::kDagPb;  // What a version 0 always is.
  if (!rest.empty() && rest[0] != kSha256) {
    if (rest.size() < 2 || rest[0] != std::byte{1}) return std::nullopt;
    cid.codec = static_cast<Codec>(rest[1]);
    if (cid.codec != Codec::kRaw && cid.codec != Codec::kDagPb) return std::nullopt;
    rest = rest.subspan(2);
  }
  const std::optional<Digest> digest = TakeMultihash(&rest);
  if (!digest) return std::nullopt;
  cid.digest = *digest;
  *bytes = rest;
  return cid;
}

}  // namespace dnc::ipfs
