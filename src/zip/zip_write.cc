// Source of the format: PKWARE's APPNOTE, 4.3 and 4.5.3.

#include <zlib.h>

#include "base/file.h"
#include "zip/zip.h"

namespace dnc::zip {
namespace {

constexpr std::uint32_t kLocalMagic = 0x04034b50;
constexpr std::uint32_t kCentralMagic = 0x02014b50;
constexpr std::uint32_t kEnd64Magic = 0x06064b50;
constexpr std::uint32_t kEnd64LocatorMagic = 0x07064b50;
constexpr std::uint32_t kEndMagic = 0x06054b50;
constexpr std::uint16_t kVersion = 45;  // Fields of 64 bits.
constexpr std::uint16_t kDate = 0x21;   // 1980-01-01: the same bytes on every day.
constexpr std::uint16_t kExtra64 = 1;
constexpr std::uint32_t kIn64 = 0xffffffff;

template <typename T>
void Put(T value, Bytes* out) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  out->insert(out->end(), bytes, bytes + sizeof value);
}

void PutCentralHeader(const Member& member, Bytes* out) {
  Put(kCentralMagic, out);
  Put(kVersion, out);
  Put(kVersion, out);
  Put(std::uint16_t{0x800}, out);
  Put(std::uint16_t{0}, out);
  Put(std::uint16_t{0}, out);
  Put(kDate, out);
  Put(member.crc32, out);
  Put(kIn64, out);
  Put(kIn64, out);
  Put(static_cast<std::uint16_t>(member.name.size()), out);
  Put(std::uint16_t{28}, out);
  Put(std::uint16_t{0}, out);  // No comment.
  Put(std::uint16_t{0}, out);  // The first disk.
  Put(std::uint16_t{0}, out);
  Put(std::uint32_t{0}, out);
  Put(kIn64, out);
  const ByteSpan name = AsBytes(member.name);
  out->insert(out->end(), name.begin(), name.end());
  Put(kExtra64, out);
  Put(std::uint16_t{24}, out);
  Put(member.size, out);
  Put(member.size, out);
  Put(member.header_offset, out);
}

}  // namespace

std::uint64_t LocalHeaderBytes(const Member& member) { return 30 + member.name.size() + 20; }

Bytes FormatLocalHeader(const Member& member) {
  Bytes out;
  Put(kLocalMagic, &out);
  Put(kVersion, &out);
  Put(std::uint16_t{0x800}, &out);  // The name is UTF-8.
  Put(std::uint16_t{0}, &out);      // Stored.
  Put(std::uint16_t{0}, &out);
  Put(kDate, &out);
  Put(member.crc32, &out);
  Put(kIn64, &out);
  Put(kIn64, &out);
  Put(static_cast<std::uint16_t>(member.name.size()), &out);
  Put(std::uint16_t{20}, &out);
  const ByteSpan name = AsBytes(member.name);
  out.insert(out.end(), name.begin(), name.end());
  Put(kExtra64, &out);
  Put(std::uint16_t{16}, &out);
  Put(member.size, &out);
  Put(member.size, &out);
  return out;
}

Bytes FormatDirectory(const std::vector<Member>& members, std::uint64_t begin) {
  Bytes out;
  for (const Member& member : members) PutCentralHeader(member, &out);
  const std::uint64_t size = out.size();
  const std::uint64_t count = members.size();
  Put(kEnd64Magic, &out);
  Put(std::uint64_t{44}, &out);
  Put(kVersion, &out);
  Put(kVersion, &out);
  Put(std::uint32_t{0}, &out);
  Put(std::uint32_t{0}, &out);
  Put(count, &out);
  Put(count, &out);
  Put(size, &out);
  Put(begin, &out);
  Put(kEnd64LocatorMagic, &out);
  Put(std::uint32_t{0}, &out);
  Put(begin + size, &out);
  Put(std::uint32_t{1}, &out);
  Put(kEndMagic, &out);
  Put(std::uint16_t{0}, &out);
  Put(std::uint16_t{0}, &out);
  Put(std::uint16_t{0xffff}, &out);
  Put(std::uint16_t{0xffff}, &out);
  Put(kIn64, &out);
  Put(kIn64, &out);
  Put(std::uint16_t{0}, &out);
  return out;
}

Status WriteArchive(const std::string& path, const std::vector<Content>& contents) {
  DNC_ASSIGN(AtomicFile file, AtomicFile::Create(path));
  std::vector<Member> members;
  std::uint64_t offset = 0;
  for (const Content& content : contents) {
    Member member;
    member.name = content.name;
    member.header_offset = offset;
    uLong crc = 0;
    for (const ByteSpan part : content.parts) {
      member.size += part.size();
      crc = ::crc32_z(crc, reinterpret_cast<const Bytef*>(part.data()), part.size());
    }
    member.crc32 = static_cast<std::uint32_t>(crc);
    DNC_TRY(file.Write(FormatLocalHeader(member)));
    for (const ByteSpan part : content.parts) DNC_TRY(file.Write(part));
    offset += LocalHeaderBytes(member) + member.size;
    members.push_back(std::move(member));
  }
  DNC_TRY(file.Write(FormatDirectory(members, offset)));
  return file.Commit();
}

}  // namespace dnc::zip
