// Files as samples: every byte of a tree is in a piece, in an order of its own, and what
// cannot be read is an error unless it may be left out.

#include "divide/raw_source.h"

#include <gtest/gtest.h>

#include <cstring>

#include "divide/raw_tree_for_test.h"
#include "testing/testing.h"

namespace dnc::divide {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Row {
  std::string path;
  RawKind kind;
  int mode;
  std::int64_t size;
  std::int64_t offset;
  std::string bytes;
};

Result<std::vector<Row>> RowsOf(source::SampleSource* source, std::uint64_t step) {
  std::vector<Row> rows;
  array::SampleBlock block;
  for (;;) {
    DNC_TRY(source->Read(step, &block));
    if (block.sample_count == 0) return rows;
    EXPECT_LE(block.sample_count, step);
    for (std::uint64_t i = 0; i < block.sample_count; ++i) {
      Row row;
      std::uint16_t mode = 0;
      row.path = AsText(block.element(kRawPath, i));
      row.kind = static_cast<RawKind>(block.columns[kRawKind][i]);
      std::memcpy(&mode, block.columns[kRawMode].data() + i * 2, 2);
      std::memcpy(&row.size, block.columns[kRawSize].data() + i * 8, 8);
      std::memcpy(&row.offset, block.columns[kRawOffset].data() + i * 8, 8);
      row.mode = mode;
      row.bytes = AsText(block.element(kRawBytes, i));
      rows.push_back(row);
    }
  }
}

std::vector<std::string> Paths(const std::vector<Row>& rows) {
  std::vector<std::string> paths;
  for (const Row& row : rows) {
    if (row.offset == 0) paths.push_back(row.path);
  }
  return paths;
}

TEST(RawSourceTest, RefusesNamesThatFetchingNeedsForItself) {
  const test::TemporaryFolder folder;
  WriteForTest(folder / ".dnc-fetch.json", "{}");
  WriteForTest(folder / "file", "content");
  auto source = OpenRawSource(folder.path(), false);
  ASSERT_THAT(source, test::Succeeds());
  EXPECT_THAT(RowsOf(source->get(), 9),
              test::FailsWith(ErrorCode::kInvalidArgument, ::testing::HasSubstr("dnc fetch")));
  source = OpenRawSource(folder.path(), true);
  ASSERT_THAT(source, test::Succeeds());
  const auto rows = RowsOf(source->get(), 9);
  ASSERT_THAT(rows, test::Succeeds());
  EXPECT_THAT(Paths(*rows), ::testing::ElementsAre("file"));
}

TEST(RawSourceTest, GivesEveryByteOnceWhateverTheStep) {
  const test::TemporaryFolder folder;
  MakeTreeForTest(folder / "tree");
  for (const std::uint64_t step : {1, 2, 1000}) {
    auto source = OpenRawSource(folder / "tree/", false);
    ASSERT_THAT(source, test::Succeeds());
    const auto rows = RowsOf(source->get(), step);
    ASSERT_THAT(rows, test::Succeeds());
    std::map<std::string, std::string> contents;
    std::map<std::string, std::string> tree;
    for (const Row& row : *rows) {
      EXPECT_LE(row.bytes.size(), kRawPieceBytes);
      EXPECT_EQ(static_cast<std::size_t>(row.offset), contents[row.path].size());
      contents[row.path] += row.bytes;
      const std::string mode = std::to_string(row.mode) + " ";
      tree[row.path] = row.kind == RawKind::kLink     ? "-> " + row.bytes
                       : row.kind == RawKind::kFolder ? mode + "folder"
                                                      : mode + ContentForTest(contents[row.path]);
    }
    EXPECT_EQ(tree, TreeForTest(folder / "tree"));
  }
}

TEST(RawSourceTest, ListsFoldersBeforeWhatIsInThemByTheirBytes) {
  const test::TemporaryFolder folder;
  std::filesystem::create_directories(folder / "b");
  for (const char* name : {"B", "a", "b/z", "b/y", "c"}) WriteForTest(folder / name, "");
  auto source = OpenRawSource(folder.path(), false);
  ASSERT_THAT(source, test::Succeeds());
  const auto rows = RowsOf(source->get(), 100);
  ASSERT_THAT(rows, test::Succeeds());
  EXPECT_THAT(Paths(*rows), ElementsAre("B", "a", "b", "b/y", "b/z", "c"));
}

TEST(RawSourceTest, SaysWhatItCannotDivide) {
  const test::TemporaryFolder folder;
  EXPECT_THAT(OpenRawSource(folder / "missing", false), test::FailsWith(ErrorCode::kNotFound));
  EXPECT_THAT(OpenRawSource("/dev/null", false),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("/dev/null")));
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  auto source = OpenRawSource(folder.path(), false);
  ASSERT_THAT(source, test::Succeeds());
  EXPECT_THAT(RowsOf(source->get(), 10),
              test::FailsWith(ErrorCode::kUnsupported, HasSubstr("/pipe")));
}

TEST(RawSourceTest, LeavesOutWhatMayBeLeftOut) {
  const test::TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  WriteForTest(folder / "file", "x");
  auto source = OpenRawSource(folder.path(), true);
  ASSERT_THAT(source, test::Succeeds());
  const auto rows = RowsOf(source->get(), 10);
  ASSERT_THAT(rows, test::Succeeds());
  EXPECT_THAT(Paths(*rows), ElementsAre("file"));
  ASSERT_EQ((*source)->skipped().size(), 1u);
  EXPECT_THAT((*source)->skipped()[0].name, HasSubstr("pipe"));
}

TEST(RawSourceTest, AFileThatBecomesShorterIsAnError) {
  const test::TemporaryFolder folder;
  WriteForTest(folder / "file", NoiseForTest(1, 4 * kRawPieceBytes));
  auto source = OpenRawSource(folder.path(), false);
  ASSERT_THAT(source, test::Succeeds());
  array::SampleBlock block;
  ASSERT_THAT((*source)->Read(1, &block), test::Succeeds());
  std::filesystem::resize_file(folder / "file", kRawPieceBytes + 5);
  EXPECT_THAT(RowsOf(source->get(), 10),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("shorter")));
}

TEST(RawSourceTest, AnEmptyFolderHasNoRows) {
  const test::TemporaryFolder folder;
  auto source = OpenRawSource(folder.path(), false);
  ASSERT_THAT(source, test::Succeeds());
  const auto rows = RowsOf(source->get(), 10);
  ASSERT_THAT(rows, test::Succeeds());
  EXPECT_THAT(*rows, IsEmpty());
}

TEST(RawSourceTest, KnowsSafePaths) {
  for (const char* path : {"a", "a/b", "...", "a/..b", ".hidden", "a b\n"}) {
    EXPECT_TRUE(IsSafeRawPath(path)) << path;
  }
  for (const char* path : {"", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "./a"}) {
    EXPECT_FALSE(IsSafeRawPath(path)) << path;
  }
  EXPECT_FALSE(IsSafeRawPath(std::string_view("a\0b", 3)));
  EXPECT_TRUE(IsSafeRawPath(std::string(kRawPathBytesMax, 'a')));
  EXPECT_FALSE(IsSafeRawPath(std::string(kRawPathBytesMax + 1, 'a')));
}

}  // namespace
}  // namespace dnc::divide
