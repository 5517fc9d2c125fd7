#include <zlib.h>

#include <algorithm>
#include <optional>

#include "base/human.h"
#include "zip/zip.h"

namespace dnc::zip {
namespace {

constexpr std::uint32_t kLocalSignature = 0x04034b50;
constexpr std::uint32_t kCentralSignature = 0x02014b50;
constexpr std::uint32_t kEndSignature = 0x06054b50;
constexpr std::uint32_t kEnd64Signature = 0x06064b50;
constexpr std::uint32_t kLocator64Signature = 0x07064b50;
constexpr std::size_t kEndBytes = 22;
constexpr std::size_t kLocator64Bytes = 20;
constexpr std::size_t kEnd64Bytes = 56;
constexpr std::size_t kLocalBytes = 30;
constexpr std::size_t kCommentBytesMax = 65535;
constexpr std::uint16_t kZip64ExtraId = 0x0001;

struct Directory {
  std::uint64_t member_count = 0;
  std::uint64_t size = 0;
  std::uint64_t offset = 0;
};

Error Damaged(const RandomAccessSource& source, const std::string& what) {
  return {ErrorCode::kCorrupt, source.name() + ": a damaged or truncated zip archive: " + what};
}

// The 64-bit form stands in front of the end record, where a locator points to it.
Result<Directory> ReadEnd64(const RandomAccessSource& source, std::uint64_t end_offset) {
  if (end_offset < kLocator64Bytes) return Damaged(source, "no zip64 locator");
  Bytes locator(kLocator64Bytes);
  DNC_TRY(source.ReadAt(end_offset - kLocator64Bytes, locator));
  ByteReader locator_reader(locator);
  const auto signature = locator_reader.Get<std::uint32_t>();
  locator_reader.GetBytes(4);
  const auto offset = locator_reader.Get<std::uint64_t>();
  if (signature != kLocator64Signature || offset > source.size() ||
      source.size() - offset < kEnd64Bytes) {
    return Damaged(source, "no zip64 locator");
  }
  Bytes record(kEnd64Bytes);
  DNC_TRY(source.ReadAt(offset, record));
  ByteReader reader(record);
  if (reader.Get<std::uint32_t>() != kEnd64Signature) {
    return Damaged(source, "no zip64 end record");
  }
  reader.GetBytes(8 + 2 + 2 + 4 + 4 + 8);
  Directory directory;
  directory.member_count = reader.Get<std::uint64_t>();
  directory.size = reader.Get<std::uint64_t>();
  directory.offset = reader.Get<std::uint64_t>();
  return directory;
}

// The end record is the last thing in the file but for a comment.
Result<Directory> ReadEnd(const RandomAccessSource& source) {
  const std::uint64_t tail_bytes =
      std::min<std::uint64_t>(source.size(), kEndBytes + kCommentBytesMax);
  Bytes tail(tail_bytes);
  DNC_TRY(source.ReadAt(source.size() - tail_bytes, tail));
  for (std::size_t start = tail.size(); start-- > 0;) {
    if (tail.size() - start < kEndBytes) continue;
    ByteReader reader(ByteSpan(tail).subspan(start));
    if (reader.Get<std::uint32_t>() != kEndSignature) continue;
    reader.GetBytes(2 + 2 + 2);
    Directory directory;
    directory.member_count = reader.Get<std::uint16_t>();
    directory.size = reader.Get<std::uint32_t>();
    directory.offset = reader.Get<std::uint32_t>();
    const auto comment_bytes = reader.Get<std::uint16_t>();
    if (comment_bytes != reader.remaining()) continue;  // A signature within the comment.
    const bool is_64 = directory.member_count == UINT16_MAX || directory.size == UINT32_MAX ||
                       directory.offset == UINT32_MAX;
    if (!is_64) return directory;
    return ReadEnd64(source, source.size() - tail_bytes + start);
  }
  return Damaged(source, "it has no directory at its end");
}

// Sizes that do not fit 32 bits stand in an extra field, in this order.
bool ReadZip64Extra(ByteSpan extra, Member* member) {
  ByteReader reader(extra);
  while (reader.remaining() >= 4) {
    const auto id = reader.Get<std::uint16_t>();
    ByteReader field(reader.GetBytes(reader.Get<std::uint16_t>()));
    if (!reader.ok()) return false;
    if (id != kZip64ExtraId) continue;
    if (member->size == UINT32_MAX) member->size = field.Get<std::uint64_t>();
    if (member->compressed_size == UINT32_MAX) member->compressed_size = field.Get<std::uint64_t>();
    if (member->header_offset == UINT32_MAX) member->header_offset = field.Get<std::uint64_t>();
    return field.ok();
  }
  return true;
}

std::optional<Member> ReadMember(ByteReader* reader) {
  Member member;
  if (reader->Get<std::uint32_t>() != kCentralSignature) return std::nullopt;
  reader->GetBytes(2 + 2);
  member.flags = reader->Get<std::uint16_t>();
  member.method = reader->Get<std::uint16_t>();
  reader->GetBytes(2 + 2);
  member.crc32 = reader->Get<std::uint32_t>();
  member.compressed_size = reader->Get<std::uint32_t>();
  member.size = reader->Get<std::uint32_t>();
  const auto name_bytes = reader->Get<std::uint16_t>();
  const auto extra_bytes = reader->Get<std::uint16_t>();
  const auto comment_bytes = reader->Get<std::uint16_t>();
  reader->GetBytes(2 + 2 + 4);
  member.header_offset = reader->Get<std::uint32_t>();
  member.name = AsText(reader->GetBytes(name_bytes));
  const ByteSpan extra = reader->GetBytes(extra_bytes);
  reader->GetBytes(comment_bytes);
  if (!reader->ok() || !ReadZip64Extra(extra, &member)) return std::nullopt;
  return member;
}

// Fills all of `*out`, no more and no less.
Status Inflate(ByteSpan stored, const std::string& name, Bytes* out) {
  constexpr std::size_t kPieceBytes = 1 << 30;  // zlib counts in 32 bits.
  z_stream zlib{};
  DNC_ASSERT(inflateInit2(&zlib, -15) == Z_OK);
  std::size_t taken = 0;
  std::size_t filled = 0;
  int code = Z_OK;
  std::byte past_end{};  // One byte more shows that there is more.
  while (code == Z_OK) {
    const std::size_t in_bytes = std::min(stored.size() - taken, kPieceBytes);
    const std::size_t out_bytes = std::min(out->size() - filled, kPieceBytes);
    zlib.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(stored.data() + taken));
    zlib.avail_in = static_cast<uInt>(in_bytes);
    zlib.next_out = reinterpret_cast<Bytef*>(out_bytes > 0 ? out->data() + filled : &past_end);
    const std::size_t room = std::max<std::size_t>(out_bytes, 1);
    zlib.avail_out = static_cast<uInt>(room);
    code = inflate(&zlib, Z_NO_FLUSH);
    taken += in_bytes - zlib.avail_in;
    filled += room - zlib.avail_out;
    if (filled > out->size()) break;
  }
  inflateEnd(&zlib);
  if (code == Z_STREAM_END && filled == out->size()) return {};
  if (code == Z_MEM_ERROR) {
    return Error{ErrorCode::kResourceExhausted, name + ": no memory to decompress it"};
  }
  return Error{ErrorCode::kCorrupt, name + ": its compressed data are damaged, or are not the " +
                                        FormatCount(out->size()) +
                                        " bytes that the archive states"};
}

}  // namespace

bool IsZip(ByteSpan start) {
  return AsText(start).starts_with("PK\x03\x04") || AsText(start).starts_with("PK\x05\x06");
}

Result<std::vector<Member>> ReadDirectory(const RandomAccessSource& source) {
  DNC_ASSIGN(const Directory directory, ReadEnd(source));
  if (directory.member_count > kMemberCountMax || directory.size > kDirectoryBytesMax) {
    return Error{ErrorCode::kTooLarge,
                 source.name() + ": a zip archive of " + std::to_string(directory.member_count) +
                     " members and a directory of " + std::to_string(directory.size) +
                     " bytes; at most " + std::to_string(kMemberCountMax) + " members and " +
                     std::to_string(kDirectoryBytesMax) + " bytes are read"};
  }
  if (directory.offset > source.size() || directory.size > source.size() - directory.offset) {
    return Damaged(source, "its directory lies outside the file");
  }
  Bytes bytes(directory.size);
  DNC_TRY(source.ReadAt(directory.offset, bytes));
  ByteReader reader(bytes);
  std::vector<Member> members;
  for (std::uint64_t i = 0; i < directory.member_count; ++i) {
    std::optional<Member> member = ReadMember(&reader);
    if (!member) {
      return Damaged(source, "entry " + std::to_string(i) + " of its directory is malformed");
    }
    members.push_back(*std::move(member));
  }
  return members;
}

Result<Range> StoredRange(const RandomAccessSource& source, const Member& member) {
  const std::uint64_t size = source.size();
  if (member.header_offset > size || size - member.header_offset < kLocalBytes) {
    return Damaged(source, member.name + " lies outside the file");
  }
  Bytes local(kLocalBytes);
  DNC_TRY(source.ReadAt(member.header_offset, local));
  ByteReader reader(local);
  const auto signature = reader.Get<std::uint32_t>();
  reader.GetBytes(22);
  const auto name_bytes = reader.Get<std::uint16_t>();
  const auto extra_bytes = reader.Get<std::uint16_t>();
  const std::uint64_t data_offset = member.header_offset + kLocalBytes + name_bytes + extra_bytes;
  if (signature != kLocalSignature || data_offset > size ||
      member.compressed_size > size - data_offset) {
    return Damaged(source, member.name + " lies outside the file");
  }
  Bytes local_name(name_bytes);
  DNC_TRY(source.ReadAt(member.header_offset + kLocalBytes, local_name));
  if (AsText(local_name) != member.name) {
    return Damaged(source, member.name + " has another name in its own header");
  }
  return Range{data_offset, member.compressed_size};
}

Status CheckMethod(const Member& member, const std::string& name) {
  if ((member.flags & 1) != 0) {
    return Error{ErrorCode::kUnsupported, name + ": encrypted; expected a plain archive"};
  }
  if (member.method != 0 && member.method != 8) {
    return Error{ErrorCode::kUnsupported, name + ": compressed by zip method " +
                                              std::to_string(member.method) +
                                              "; known are stored (0) and deflated (8)"};
  }
  return {};
}

Result<Bytes> ReadMember(const RandomAccessSource& source, const Member& member,
                         std::uint64_t bytes_max) {
  const std::string name = source.name() + "(" + member.name + ")";
  DNC_TRY(CheckMethod(member, name));
  if (member.size > bytes_max) {
    return Error{ErrorCode::kTooLarge, name + ": has " + FormatByteCount(member.size) +
                                           "; at most " + FormatByteCount(bytes_max) + " are read"};
  }
  DNC_ASSIGN(const Range range, StoredRange(source, member));
  // Deflate makes at most 1032 bytes of one.
  const bool is_stored = member.method == 0;
  if (is_stored ? member.size != range.size : member.size / 1032 > range.size) {
    return Error{ErrorCode::kCorrupt, name + ": the archive states " + FormatCount(member.size) +
                                          " bytes, which its " + FormatCount(range.size) +
                                          " stored bytes cannot be"};
  }
  Bytes bytes(member.size);
  if (is_stored) {
    DNC_TRY(source.ReadAt(range.offset, bytes));
  } else {
    Bytes stored(range.size);
    DNC_TRY(source.ReadAt(range.offset, stored));
    DNC_TRY(Inflate(stored, name, &bytes));
  }
  const auto crc = crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  if (crc != member.crc32) {
    return Error{ErrorCode::kCorrupt,
                 name + ": its checksum is not the one that the archive states"};
  }
  return bytes;
}

}  // namespace dnc::zip
