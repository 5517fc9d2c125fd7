// Writes messages of Protocol Buffers (protobuf.dev/programming-guides/encoding):
// fields are appended in the order of the calls. Enough for the few messages that are
// written here: models in ONNX and events of TensorBoard.

#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

namespace dnc {

class ProtobufWriter {
 public:
  void Int(int field, std::int64_t value) {
    Tag(field, 0);
    Varint(static_cast<std::uint64_t>(value));
  }
  void Float(int field, float value) {
    Tag(field, 5);
    Fixed(std::bit_cast<std::uint32_t>(value), 32);
  }
  void Double(int field, double value) {
    Tag(field, 1);
    Fixed(std::bit_cast<std::uint64_t>(value), 64);
  }
  void Text(int field, std::string_view text) {
    Tag(field, 2);
    Varint(text.size());
    bytes_ += text;
  }
  void Message(int field, const ProtobufWriter& message) { Text(field, message.bytes_); }

  // All fields of another message, into this one.
  void Append(const ProtobufWriter& message) { bytes_ += message.bytes_; }

  const std::string& bytes() const { return bytes_; }

 private:
  void Tag(int field, int wire_type) {
    Varint(static_cast<std::uint64_t>(field) << 3 | static_cast<std::uint64_t>(wire_type));
  }
  void Fixed(std::uint64_t bits, int width) {
    for (int shift = 0; shift < width; shift += 8) {
      bytes_ += static_cast<char>(bits >> shift & 0xff);
    }
  }
  void Varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

}  // namespace dnc
