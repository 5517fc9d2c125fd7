#include "source/zip.h"

#include <algorithm>
#include <optional>

namespace dnc::source {
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
bool ReadZip64Extra(ByteSpan extra, ZipMember* member) {
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

std::optional<ZipMember> ReadMember(ByteReader* reader) {
  ZipMember member;
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

}  // namespace

Result<std::vector<ZipMember>> ReadZipDirectory(const RandomAccessSource& source) {
  DNC_ASSIGN(const Directory directory, ReadEnd(source));
  if (directory.member_count > kZipMemberCountMax || directory.size > kZipDirectoryBytesMax) {
    return Error{ErrorCode::kTooLarge,
                 source.name() + ": a zip archive of " + std::to_string(directory.member_count) +
                     " members and a directory of " + std::to_string(directory.size) +
                     " bytes; at most " + std::to_string(kZipMemberCountMax) + " members and " +
                     std::to_string(kZipDirectoryBytesMax) + " bytes are read"};
  }
  if (directory.offset > source.size() || directory.size > source.size() - directory.offset) {
    return Damaged(source, "its directory lies outside the file");
  }
  Bytes bytes(directory.size);
  DNC_TRY(source.ReadAt(directory.offset, bytes));
  ByteReader reader(bytes);
  std::vector<ZipMember> members;
  for (std::uint64_t i = 0; i < directory.member_count; ++i) {
    std::optional<ZipMember> member = ReadMember(&reader);
    if (!member) {
      return Damaged(source, "entry " + std::to_string(i) + " of its directory is malformed");
    }
    members.push_back(*std::move(member));
  }
  return members;
}

Result<ByteRange> StoredRange(const RandomAccessSource& source, const ZipMember& member) {
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
  return ByteRange{data_offset, member.compressed_size};
}

Result<std::unique_ptr<ByteStream>> OpenZipMember(SharedSource source, const ZipMember& member) {
  const std::string name = source->name() + "(" + member.name + ")";
  if ((member.flags & 1) != 0) {
    return Error{ErrorCode::kUnsupported, name + ": encrypted; expected a plain npz"};
  }
  if (member.method != 0 && member.method != 8) {
    return Error{ErrorCode::kUnsupported, name + ": compressed by zip method " +
                                              std::to_string(member.method) +
                                              "; known are stored (0) and deflated (8)"};
  }
  DNC_ASSIGN(const ByteRange range, StoredRange(*source, member));
  DeflatedMember deflated{range, member.size, member.crc32, name};
  if (member.method == 0) return OpenStored(std::move(source), std::move(deflated));
  return OpenDeflated(std::move(source), std::move(deflated));
}

}  // namespace dnc::source
