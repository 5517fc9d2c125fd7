// Little-endian writing and bounds-checked reading of bytes, for our own binary
// formats. A ByteReader never reads past its span: after the first failure every
// read gives zero and ok() is false, so a parser checks once at its end, and
// before every size that it uses.

#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dnc {

static_assert(std::endian::native == std::endian::little, "formats are little-endian");

using Bytes = std::vector<std::byte>;
using ByteSpan = std::span<const std::byte>;

inline ByteSpan AsBytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string_view AsText(ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class ByteWriter {
 public:
  template <typename T>
  requires std::integral<T> || std::floating_point<T>
  void Put(T value) {
    const auto* begin = reinterpret_cast<const std::byte*>(&value);
    bytes_.insert(bytes_.end(), begin, begin + sizeof(T));
  }
  void PutBytes(ByteSpan bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
  // A u32 length, then the bytes.
  void PutString(std::string_view text) {
    Put(static_cast<std::uint32_t>(text.size()));
    PutBytes(AsBytes(text));
  }
  std::size_t size() const { return bytes_.size(); }
  const Bytes& bytes() const { return bytes_; }
  Bytes Take() && { return std::move(bytes_); }

 private:
  Bytes bytes_;
};

class ByteReader {
 public:
  explicit ByteReader(ByteSpan bytes) : bytes_(bytes) {}

  template <typename T>
  requires std::integral<T> || std::floating_point<T> T Get() {
    T value{};
    if (const ByteSpan raw = GetBytes(sizeof(T)); raw.size() == sizeof(T)) {
      std::memcpy(&value, raw.data(), sizeof(T));
    }
    return value;
  }
  // A view of the next `size` bytes, or an empty one and failure.
  ByteSpan GetBytes(std::size_t size) {
    if (failed_ || size > remaining()) {
      failed_ = true;
      return {};
    }
    const ByteSpan result = bytes_.subspan(offset_, size);
    offset_ += size;
    return result;
  }
  // A u32 length of at most `size_max`, then that many bytes.
  std::string GetString(std::uint32_t size_max) {
    const auto size = Get<std::uint32_t>();
    if (size > size_max) failed_ = true;
    return std::string(AsText(GetBytes(failed_ ? 0 : size)));
  }
  std::size_t remaining() const { return bytes_.size() - offset_; }
  bool ok() const { return !failed_; }
  // Everything was read, and nothing failed.
  bool AtEnd() const { return ok() && remaining() == 0; }

 private:
  ByteSpan bytes_;
  std::size_t offset_ = 0;
  bool failed_ = false;
};

}  // namespace dnc
