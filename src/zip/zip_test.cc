// Archives that are written are read; archives that lie about themselves are
// refused before anything is allocated for them.

#include "zip/zip.h"

#include <zlib.h>

#include "testing/testing.h"

namespace dnc::zip {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using ::testing::HasSubstr;

std::string MustRead(const std::string& path) {
  Result<std::string> bytes = ReadFile(path, 1 << 26);
  DNC_ASSERT(bytes.ok());
  return *std::move(bytes);
}

std::string Deflated(std::string_view text) {
  std::string out(text.size() + 1024, '\0');
  z_stream zlib{};
  DNC_ASSERT(deflateInit2(&zlib, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  zlib.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  zlib.avail_in = static_cast<uInt>(text.size());
  zlib.next_out = reinterpret_cast<Bytef*>(out.data());
  zlib.avail_out = static_cast<uInt>(out.size());
  DNC_ASSERT(deflate(&zlib, Z_FINISH) == Z_STREAM_END);
  out.resize(zlib.total_out);
  deflateEnd(&zlib);
  return out;
}

// Where a deflated member lies in a file of nothing else, and what it claims to be.
struct Deflation {
  std::string file;
  Member member;
};

Deflation DeflationOf(std::string_view text) {
  const std::string stored = Deflated(text);
  Deflation deflation;
  deflation.member.name = "m";
  deflation.member.size = text.size();
  deflation.file = AsText(FormatLocalHeader(deflation.member));
  deflation.file += stored;
  deflation.member.method = 8;
  deflation.member.compressed_size = stored.size();
  deflation.member.crc32 = static_cast<std::uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(text.data()), text.size()));
  return deflation;
}

Result<Bytes> Read(const Deflation& deflation, std::uint64_t bytes_max = 1 << 20) {
  return ReadMember(MemorySource(AsBytes(deflation.file), "a.zip"), deflation.member, bytes_max);
}

TEST(ZipTest, ReadsWhatWasWritten) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "a.zip";
  ASSERT_THAT(WriteArchive(path, {{"one", {AsBytes("first "), AsBytes("half")}}, {"empty", {}}}),
              Succeeds());
  const std::string bytes = MustRead(path);
  const MemorySource source(AsBytes(bytes), path);
  const auto members = ReadDirectory(source);
  ASSERT_THAT(members, Succeeds());
  ASSERT_EQ(members->size(), 2u);
  EXPECT_EQ((*members)[0].name, "one");
  const auto one = ReadMember(source, (*members)[0], 100);
  ASSERT_THAT(one, Succeeds());
  EXPECT_EQ(AsText(*one), "first half");
  const auto empty = ReadMember(source, (*members)[1], 100);
  ASSERT_THAT(empty, Succeeds());
  EXPECT_TRUE(empty->empty());
  EXPECT_THAT(ReadMember(source, (*members)[0], 9), FailsWith(ErrorCode::kTooLarge));

  ASSERT_THAT(WriteArchive(path, {{"one", {AsBytes("first "), AsBytes("half")}}, {"empty", {}}}),
              Succeeds());
  EXPECT_EQ(MustRead(path), bytes);
}

TEST(ZipTest, RefusesAnArchiveWithAnyByteOfItsContentsChanged) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "a.zip";
  ASSERT_THAT(WriteArchive(path, {{"one", {AsBytes("contents")}}}), Succeeds());
  const std::string intact = MustRead(path);
  const std::size_t begin = intact.find("contents");
  for (std::size_t offset = begin; offset < begin + 8; ++offset) {
    std::string damaged = intact;
    damaged[offset] = static_cast<char>(damaged[offset] ^ 1);
    const MemorySource source(AsBytes(damaged), path);
    const auto members = ReadDirectory(source);
    ASSERT_THAT(members, Succeeds());
    EXPECT_THAT(ReadMember(source, members->front(), 100),
                FailsWith(ErrorCode::kCorrupt, HasSubstr("checksum")));
  }
}

TEST(ZipTest, InflatesAMember) {
  const std::string text(100'000, 'x');
  const Deflation deflation = DeflationOf(text);
  const auto bytes = Read(deflation);
  ASSERT_THAT(bytes, Succeeds());
  EXPECT_EQ(AsText(*bytes), text);
}

TEST(ZipTest, RefusesAMemberThatLiesAboutItsSize) {
  Deflation deflation = DeflationOf(std::string(100'000, 'x'));
  deflation.member.size = 99'999;
  EXPECT_THAT(Read(deflation), FailsWith(ErrorCode::kCorrupt, HasSubstr("99,999")));
  deflation.member.size = 100'001;
  EXPECT_THAT(Read(deflation), FailsWith(ErrorCode::kCorrupt, HasSubstr("100,001")));
  // So much no deflated byte becomes, and none of it is allocated.
  deflation.member.size = std::uint64_t{1} << 50;
  EXPECT_THAT(Read(deflation, UINT64_MAX), FailsWith(ErrorCode::kCorrupt));
  EXPECT_THAT(Read(deflation), FailsWith(ErrorCode::kTooLarge, HasSubstr("1 MiB")));
  deflation.member.compressed_size = std::uint64_t{1} << 50;
  EXPECT_THAT(Read(deflation, UINT64_MAX), FailsWith(ErrorCode::kCorrupt));
}

TEST(ZipTest, RefusesWhatIsNoDeflatedData) {
  Deflation deflation = DeflationOf("some text");
  for (std::size_t i = 51; i < deflation.file.size(); ++i) deflation.file[i] = '\xff';
  EXPECT_THAT(Read(deflation), FailsWith(ErrorCode::kCorrupt));
  deflation.member.method = 12;
  EXPECT_THAT(Read(deflation), FailsWith(ErrorCode::kUnsupported, HasSubstr("method 12")));
  deflation.member.method = 8;
  deflation.member.flags = 1;
  EXPECT_THAT(Read(deflation), FailsWith(ErrorCode::kUnsupported, HasSubstr("encrypted")));
}

}  // namespace
}  // namespace dnc::zip
