#include "base/hash.h"

#include <openssl/evp.h>

#include <algorithm>

#include "base/assert.h"

namespace dnc {
namespace {

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

struct Sha256Hasher::Impl {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~Impl() { EVP_MD_CTX_free(context); }
};

Sha256Hasher::Sha256Hasher() : impl_(std::make_unique<Impl>()) {
  DNC_ASSERT(impl_->context != nullptr);
  DNC_ASSERT(EVP_DigestInit_ex(impl_->context, EVP_sha256(), nullptr) == 1);
}

Sha256Hasher::~Sha256Hasher() = default;
Sha256Hasher::Sha256Hasher(Sha256Hasher&&) noexcept = default;
Sha256Hasher& Sha256Hasher::operator=(Sha256Hasher&&) noexcept = default;

void Sha256Hasher::Update(ByteSpan bytes) {
  DNC_ASSERT(EVP_DigestUpdate(impl_->context, bytes.data(), bytes.size()) == 1);
}

Digest Sha256Hasher::Finish() {
  Digest digest;
  DNC_ASSERT(EVP_DigestFinal_ex(impl_->context, digest.bytes.data(), nullptr) == 1);
  return digest;
}

Digest Sha256(ByteSpan bytes) {
  Sha256Hasher hasher;
  hasher.Update(bytes);
  return hasher.Finish();
}

std::string HexEncode(ByteSpan bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(bytes.size() * 2);
  for (const std::byte b : bytes) {
    hex.push_back(kDigits[std::to_integer<int>(b) >> 4]);
    hex.push_back(kDigits[std::to_integer<int>(b) & 15]);
  }
  return hex;
}

std::optional<Bytes> HexDecode(std::string_view hex) {
  if (hex.size() % 2 != 0) return std::nullopt;
  Bytes bytes;
  bytes.reserve(hex.size() / 2);
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    const int high = HexValue(hex[i]);
    const int low = HexValue(hex[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<std::byte>(high << 4 | low));
  }
  return bytes;
}

std::string Digest::Hex() const { return HexEncode(std::as_bytes(std::span(bytes))); }

std::optional<Digest> Digest::FromHex(std::string_view hex) {
  const std::optional<Bytes> raw = HexDecode(hex);
  if (!raw || raw->size() != 32) return std::nullopt;
  Digest digest;
  std::transform(raw->begin(), raw->end(), digest.bytes.begin(),
                 [](std::byte b) { return std::to_integer<std::uint8_t>(b); });
  return digest;
}

}  // namespace dnc
