#include "array/npy_header.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <string_view>

namespace dnc::array {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kPrefixBytesMax = 12;  // Magic, version and a u32 length.
constexpr std::size_t kAxisCountMax = 64;    // NumPy 2's limit.

Error Malformed(const std::string& name, const std::string& what) {
  return {ErrorCode::kCorrupt, name + ": not a well-formed npy header: " + what};
}

// The text of the header comes from strangers and enters messages: printable
// and short.
std::string Shown(std::string_view text) {
  std::string shown;
  for (const char c : text.substr(0, 60)) {
    shown.push_back(c >= ' ' && c <= '~' ? c : '?');
  }
  if (text.size() > 60) shown += "...";
  return shown;
}

// Reads the one shape of dictionary that NumPy writes: string keys; a string, a
// bool or a tuple of integers as values.
class DictReader {
 public:
  explicit DictReader(std::string_view text) : rest_(text) {}

  void SkipSpace() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\n' || rest_[0] == '\t')) {
      rest_.remove_prefix(1);
    }
  }
  bool Take(char c) {
    SkipSpace();
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool NextIs(char c) {
    SkipSpace();
    return !rest_.empty() && rest_[0] == c;
  }
  std::optional<std::string_view> TakeString() {
    SkipSpace();
    if (rest_.empty() || (rest_[0] != '\'' && rest_[0] != '"')) return std::nullopt;
    const std::size_t end = rest_.find(rest_[0], 1);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view text = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return text;
  }
  std::optional<bool> TakeBool() {
    SkipSpace();
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (!rest_.starts_with(word)) continue;
      rest_.remove_prefix(word.size());
      return value;
    }
    return std::nullopt;
  }
  // An axis; Python 2 wrote an L behind large ones.
  std::optional<std::int64_t> TakeAxis() {
    SkipSpace();
    std::int64_t value = 0;
    std::size_t digits = 0;
    while (digits < rest_.size() && std::isdigit(static_cast<unsigned char>(rest_[digits]))) {
      if (digits == 18) return std::nullopt;  // Would overflow, and is no honest size.
      value = value * 10 + (rest_[digits] - '0');
      ++digits;
    }
    if (digits == 0) return std::nullopt;
    rest_.remove_prefix(digits);
    if (!rest_.empty() && rest_[0] == 'L') rest_.remove_prefix(1);
    return value;
  }
  bool AtEnd() {
    SkipSpace();
    return rest_.empty();
  }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

Status ParseDType(std::string_view text, const std::string& name, NpyHeader* header) {
  const auto unsupported = [&](const std::string& what) {
    return Error{ErrorCode::kUnsupported,
                 name + ": " + what + " (dtype '" + Shown(text) +
                     "'); expected bool, int8 to int64, uint8 to uint64 or float16 to float64"};
  };
  if (text.find('O') != std::string_view::npos) {
    return Error{ErrorCode::kUnsupported,
                 name + ": elements are Python objects (dtype '" + Shown(text) +
                     "'), stored as pickle, which is code and is never loaded; save a numeric "
                     "array instead, such as a.astype('float32')"};
  }
  if (text.size() < 3) return unsupported("unknown element type");
  const char order = text[0];
  if (order != '<' && order != '>' && order != '|' && order != '=') {
    return unsupported("unknown byte order");
  }
  const std::string_view type = text.substr(1);
  struct Row {
    std::string_view type;
    DType dtype;
  };
  static constexpr Row kRows[] = {
      {"b1", DType::kBool},    {"i1", DType::kInt8},    {"u1", DType::kUint8},
      {"i2", DType::kInt16},   {"u2", DType::kUint16},  {"i4", DType::kInt32},
      {"u4", DType::kUint32},  {"i8", DType::kInt64},   {"u8", DType::kUint64},
      {"f2", DType::kFloat16}, {"f4", DType::kFloat32}, {"f8", DType::kFloat64}};
  for (const Row& row : kRows) {
    if (row.type != type) continue;
    header->dtype = row.dtype;
    header->big_endian = order == '>' && DTypeSize(row.dtype) > 1;
    return {};
  }
  switch (type[0]) {
    case 'U':
    case 'S':
    case 'a':
      return unsupported("elements are text");
    case 'c':
      return unsupported("elements are complex numbers");
    case 'M':
    case 'm':
      return unsupported("elements are dates or durations");
    case 'V':
      return unsupported("elements are records");
    default:
      return unsupported("unknown element type");
  }
}

Status ParseShape(DictReader* reader, const std::string& name, NpyHeader* header) {
  if (!reader->Take('(')) return Malformed(name, "'shape' is not a tuple");
  header->shape.clear();
  while (!reader->Take(')')) {
    const std::optional<std::int64_t> axis = reader->TakeAxis();
    if (!axis) {
      return Malformed(
          name, "'shape' holds something other than sizes, at \"" + Shown(reader->rest()) + "\"");
    }
    if (header->shape.size() == kAxisCountMax) {
      return Error{ErrorCode::kTooLarge,
                   name + ": more than " + std::to_string(kAxisCountMax) + " axes"};
    }
    header->shape.push_back(*axis);
    if (!reader->Take(',') && !reader->NextIs(')')) {
      return Malformed(name, "'shape' does not end with \")\"");
    }
  }
  if (!ElementCount(header->shape)) {
    return Error{ErrorCode::kTooLarge,
                 name + ": the shape " + ShapeText(header->shape) + " has more than 2^48 elements"};
  }
  return {};
}

Status ParseDict(std::string_view text, const std::string& name, NpyHeader* header) {
  DictReader reader(text);
  if (!reader.Take('{')) return Malformed(name, "it does not begin with \"{\"");
  bool has_descr = false;
  bool has_order = false;
  bool has_shape = false;
  while (!reader.Take('}')) {
    const std::optional<std::string_view> key = reader.TakeString();
    if (!key || !reader.Take(':')) {
      return Malformed(name, "a key is missing at \"" + Shown(reader.rest()) + "\"");
    }
    bool* seen = *key == "descr"           ? &has_descr
                 : *key == "fortran_order" ? &has_order
                 : *key == "shape"         ? &has_shape
                                           : nullptr;
    if (seen == nullptr) return Malformed(name, "unknown key '" + Shown(*key) + "'");
    if (*seen) return Malformed(name, "the key '" + Shown(*key) + "' is there twice");
    *seen = true;
    if (seen == &has_descr) {
      if (reader.NextIs('[')) {
        return Error{ErrorCode::kUnsupported, name + ": elements are records (dtype " +
                                                  Shown(reader.rest()) +
                                                  "); save each field as an array of its own"};
      }
      const std::optional<std::string_view> descr = reader.TakeString();
      if (!descr) return Malformed(name, "'descr' is not a string");
      DNC_TRY(ParseDType(*descr, name, header));
    } else if (seen == &has_order) {
      const std::optional<bool> order = reader.TakeBool();
      if (!order) return Malformed(name, "'fortran_order' is neither True nor False");
      header->fortran_order = *order;
    } else {
      DNC_TRY(ParseShape(&reader, name, header));
    }
    if (!reader.Take(',') && !reader.NextIs('}')) {
      return Malformed(name, "\",\" or \"}\" expected at \"" + Shown(reader.rest()) + "\"");
    }
  }
  if (!reader.AtEnd()) return Malformed(name, "something stands behind its \"}\"");
  if (!has_descr || !has_order || !has_shape) {
    return Malformed(name, "'descr', 'fortran_order' or 'shape' is missing");
  }
  return {};
}

}  // namespace

Result<NpyHeader> ParseNpyHeader(ByteSpan bytes, const std::string& name) {
  ByteReader reader(bytes);
  if (AsText(reader.GetBytes(kMagic.size())) != kMagic) {
    return Error{ErrorCode::kCorrupt,
                 name + ": not an npy file; its first bytes are not \"\\x93NUMPY\""};
  }
  const auto major = reader.Get<std::uint8_t>();
  const auto minor = reader.Get<std::uint8_t>();
  if (!reader.ok()) return Malformed(name, "the file ends in it");
  if (major < 1 || major > 3 || minor != 0) {
    return Error{ErrorCode::kUnsupported, name + ": npy format version " + std::to_string(major) +
                                              "." + std::to_string(minor) +
                                              "; versions 1.0, 2.0 and 3.0 are known"};
  }
  const std::uint32_t size = major == 1 ? reader.Get<std::uint16_t>() : reader.Get<std::uint32_t>();
  if (!reader.ok()) return Malformed(name, "the file ends in it");
  if (size > kNpyHeaderBytesMax) {
    return Error{ErrorCode::kTooLarge, name + ": an npy header of " + std::to_string(size) +
                                           " bytes; at most " + std::to_string(kNpyHeaderBytesMax) +
                                           " are read"};
  }
  const std::string_view text = AsText(reader.GetBytes(size));
  if (!reader.ok()) {
    return Malformed(name, "it has " + std::to_string(size) + " bytes, but the file ends before");
  }
  NpyHeader header;
  DNC_TRY(ParseDict(text, name, &header));
  header.data_offset = bytes.size() - reader.remaining();
  return header;
}

Result<NpyHeader> ReadNpyHeader(const RandomAccessSource& source) {
  Bytes start(std::min<std::uint64_t>(source.size(), kPrefixBytesMax + kNpyHeaderBytesMax));
  DNC_TRY(source.ReadAt(0, start));
  DNC_ASSIGN(NpyHeader header, ParseNpyHeader(start, source.name()));
  const std::uint64_t expected = *ElementCount(header.shape) * DTypeSize(header.dtype);
  const std::uint64_t found = source.size() - header.data_offset;
  if (found < expected) {
    return Error{ErrorCode::kCorrupt,
                 source.name() + ": truncated: " + DTypeName(header.dtype) + " " +
                     ShapeText(header.shape) + " needs " + std::to_string(expected) +
                     " bytes of data, but the file has " + std::to_string(found)};
  }
  return header;
}

Bytes FormatNpyHeader(DType dtype, const Shape& shape) {
  static constexpr const char* kDescr[kDTypeCount] = {"|b1", "|i1", "|u1", "<i2", "<u2", "<i4",
                                                      "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"};
  DNC_ASSERT(static_cast<int>(dtype) < kDTypeCount && shape.size() <= kAxisCountMax);
  std::string dict = std::string("{'descr': '") + kDescr[static_cast<int>(dtype)] +
                     "', 'fortran_order': False, 'shape': " + ShapeText(shape) + ", }";
  // The newline ends the header at a multiple of 64 bytes.
  const std::size_t prefix_bytes = kMagic.size() + 2 + 2;
  dict.append(63 - (prefix_bytes + dict.size()) % 64, ' ');
  dict.push_back('\n');
  ByteWriter writer;
  writer.PutBytes(AsBytes(kMagic));
  writer.Put(std::uint8_t{1});
  writer.Put(std::uint8_t{0});
  writer.Put(static_cast<std::uint16_t>(dict.size()));
  writer.PutBytes(AsBytes(dict));
  return std::move(writer).Take();
}

}  // namespace dnc::array
