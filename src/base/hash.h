// SHA-256 (OpenSSL), the one hash by which content is named and checked.

#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace dnc {

struct Digest {
  std::array<std::uint8_t, 32> bytes{};

  // 64 lower-case hexadecimal digits.
  std::string Hex() const;
  static std::optional<Digest> FromHex(std::string_view hex);

  friend auto operator<=>(const Digest&, const Digest&) = default;
};

Digest Sha256(ByteSpan bytes);

// Hashes bytes as they come. Finish() ends the digest; Update() after it is not
// allowed.
class Sha256Hasher {
 public:
  Sha256Hasher();
  ~Sha256Hasher();
  Sha256Hasher(Sha256Hasher&&) noexcept;
  Sha256Hasher& operator=(Sha256Hasher&&) noexcept;

  void Update(ByteSpan bytes);
  Digest Finish();

 private:
  struct Impl;  // Keeps OpenSSL out of this header.
  std::unique_ptr<Impl> impl_;
};

std::string HexEncode(ByteSpan bytes);
std::optional<Bytes> HexDecode(std::string_view hex);

}  // namespace dnc
