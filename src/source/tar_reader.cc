#include "source/tar_reader.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "source/text.h"

namespace dnc::source {
namespace {

constexpr std::size_t kBlockBytes = 512;

// Where a header's fields lie.
struct Place {
  std::size_t offset;
  std::size_t size;
};
constexpr Place kName{0, 100};
constexpr Place kSize{124, 12};
constexpr Place kChecksum{148, 8};
constexpr std::size_t kType = 156;
constexpr Place kMagic{257, 5};
constexpr Place kPrefix{345, 155};

using Block = std::array<std::byte, kBlockBytes>;

std::string_view FieldOf(ByteSpan block, Place place) {
  return AsText(block.subspan(place.offset, place.size));
}

// Up to the first zero byte.
std::string TextOf(ByteSpan block, Place place) {
  const std::string_view field = FieldOf(block, place);
  return std::string(field.substr(0, field.find('\0')));
}

// Octal digits between spaces and zero bytes, or GNU's big-endian number behind a set
// first bit.
std::optional<std::uint64_t> NumberOf(ByteSpan block, Place place) {
  const std::string_view field = FieldOf(block, place);
  std::uint64_t value = 0;
  if ((field[0] & 0x80) != 0) {
    for (std::size_t i = 0; i < field.size(); ++i) {
      if (value >> 55 != 0) return std::nullopt;
      const auto byte = static_cast<std::uint8_t>(field[i]);
      value = value << 8 | (i == 0 ? byte & 0x7f : byte);
    }
    return value;
  }
  std::size_t i = std::min(field.find_first_not_of(' '), field.size());
  bool digits = false;
  for (; i < field.size() && field[i] >= '0' && field[i] <= '7'; ++i, digits = true) {
    value = value << 3 | static_cast<std::uint64_t>(field[i] - '0');
  }
  const bool ends = std::all_of(field.begin() + static_cast<std::ptrdiff_t>(i), field.end(),
                                [](char c) { return c == ' ' || c == '\0'; });
  if (!ends || !digits) return std::nullopt;
  return value;
}

// The sum of all bytes, with spaces in place of the checksum. Some old writers summed
// signed bytes.
bool HasRightChecksum(ByteSpan block) {
  const auto stated = NumberOf(block, kChecksum);
  if (!stated) return false;
  std::int64_t sum = 0;
  std::int64_t signed_sum = 0;
  for (std::size_t i = 0; i < kBlockBytes; ++i) {
    const bool inside = i >= kChecksum.offset && i < kChecksum.offset + kChecksum.size;
    const auto byte = inside ? std::uint8_t{' '} : std::to_integer<std::uint8_t>(block[i]);
    sum += byte;
    signed_sum += static_cast<std::int8_t>(byte);
  }
  return static_cast<std::int64_t>(*stated) == sum ||
         static_cast<std::int64_t>(*stated) == signed_sum;
}

bool IsZero(ByteSpan block) {
  return std::all_of(block.begin(), block.end(), [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace

struct TarReader::Header {
  std::string name;
  std::uint64_t size = 0;
  char type = '0';
};

bool IsTar(ByteSpan start) {
  return start.size() >= kBlockBytes && !IsZero(start.first(kBlockBytes)) &&
         HasRightChecksum(start.first(kBlockBytes));
}

Error TarReader::Damaged(const std::string& what) const {
  return {ErrorCode::kCorrupt, name_ + ": the tar is damaged near byte " +
                                   std::to_string(stream_->position()) + ": " + what};
}

Status TarReader::ReadExactly(std::span<std::byte> out) {
  DNC_ASSIGN(const std::size_t got, stream_->Read(out));
  return got == out.size() ? Status() : Status(Damaged("it ends within a file"));
}

Status TarReader::PassOver(std::uint64_t size) {
  if (size == 0) return {};
  DNC_ASSIGN(const std::uint64_t got, stream_->Skip(size));
  return got == size ? Status() : Status(Damaged("it ends within a file"));
}

Result<std::optional<TarReader::Header>> TarReader::ReadHeader() {
  DNC_TRY(PassOver(content_left_));
  DNC_TRY(PassOver(padding_));
  content_left_ = padding_ = 0;
  Block block;
  DNC_ASSIGN(const std::size_t got, stream_->Read(block));
  // Two blocks of zeros end a tar; many writers leave them out.
  if (got == 0 || (got == kBlockBytes && IsZero(block))) return std::optional<Header>();
  if (got != kBlockBytes) return Damaged("it ends within a header");
  if (!HasRightChecksum(block)) return Damaged("the checksum of a header is wrong");
  Header header;
  const auto size = NumberOf(block, kSize);
  if (!size || *size > INT64_MAX) return Damaged("a header without a size");
  header.size = *size;
  header.name = TextOf(block, kName);
  header.type = static_cast<char>(block[kType]);
  if (FieldOf(block, kMagic) == "ustar" && block[kMagic.offset + 5] == std::byte{0}) {
    const std::string prefix = TextOf(block, kPrefix);
    if (!prefix.empty()) header.name = prefix + "/" + header.name;
  }
  content_left_ = header.size;
  padding_ = (kBlockBytes - header.size % kBlockBytes) % kBlockBytes;
  return std::optional<Header>(std::move(header));
}

Result<std::string> TarReader::ReadText(std::uint64_t size) {
  if (size > kTarNameBytesMax) {
    return Error{ErrorCode::kTooLarge, name_ + ": the tar has a name or extended header of " +
                                           std::to_string(size) + " bytes; at most " +
                                           std::to_string(kTarNameBytesMax) + " are taken"};
  }
  std::string text(size, '\0');
  DNC_TRY(ReadContent(std::as_writable_bytes(std::span(text))));
  return text;
}

// "LENGTH KEY=VALUE\n", one behind the other; LENGTH counts all of it.
Status TarReader::TakePaxRecords(const std::string& text, Overrides* overrides) const {
  std::string_view rest = text;
  while (!rest.empty()) {
    std::size_t length = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), length);
    const auto digits = static_cast<std::size_t>(end - rest.data());
    if (error != std::errc() || length <= digits + 1 || length > rest.size() ||
        rest[digits] != ' ' || rest[length - 1] != '\n') {
      return Damaged("an extended header that is none");
    }
    const std::string_view record = rest.substr(digits + 1, length - digits - 2);
    rest.remove_prefix(length);
    const std::size_t equals = record.find('=');
    if (equals == std::string_view::npos) return Damaged("an extended header that is none");
    const std::string_view key = record.substr(0, equals);
    const std::string_view value = record.substr(equals + 1);
    if (key == "path") {
      overrides->name = std::string(value);
    } else if (key == "size") {
      std::uint64_t size = 0;
      const auto number = std::from_chars(value.data(), value.data() + value.size(), size);
      if (number.ec != std::errc() || number.ptr != value.data() + value.size() ||
          size > INT64_MAX) {
        return Damaged("an extended header with a wrong size");
      }
      overrides->size = size;
    } else if (key.starts_with("GNU.sparse.")) {
      return Error{ErrorCode::kUnsupported, name_ +
                                                ": the tar holds a sparse file; write it "
                                                "again without --sparse"};
    }
  }
  return {};
}

Result<std::optional<TarEntry>> TarReader::Next() {
  Overrides overrides;
  for (;;) {
    DNC_ASSIGN(const std::optional<Header> header, ReadHeader());
    if (!header) {
      if (overrides.name || overrides.size) return Damaged("it ends behind an extended header");
      return std::optional<TarEntry>();
    }
    switch (header->type) {
      case 'x': {
        DNC_ASSIGN(const std::string text, ReadText(header->size));
        DNC_TRY(TakePaxRecords(text, &overrides));
        continue;
      }
      case 'L': {
        DNC_ASSIGN(const std::string text, ReadText(header->size));
        overrides.name = text.substr(0, text.find('\0'));
        continue;
      }
      case 'g':
      case 'K':  // Of a link.
        continue;
      case 'S':
      case 'M':
        return Error{ErrorCode::kUnsupported,
                     name_ +
                         ": the tar holds a sparse file, or goes on in another volume; write "
                         "it again without"};
      default:
        break;
    }
    if (overrides.size) {
      content_left_ = *overrides.size;
      padding_ = (kBlockBytes - *overrides.size % kBlockBytes) % kBlockBytes;
    }
    TarEntry entry{overrides.name.value_or(header->name), content_left_};
    overrides = {};
    const bool is_file = header->type == '0' || header->type == '\0' || header->type == '7';
    // Old writers end the names of folders with a slash instead.
    if (is_file && !entry.name.ends_with('/')) return std::optional<TarEntry>(std::move(entry));
  }
}

Status TarReader::ReadContent(std::span<std::byte> out) {
  DNC_TRY(ReadExactly(out));
  content_left_ -= out.size();
  return {};
}

}  // namespace dnc::source
