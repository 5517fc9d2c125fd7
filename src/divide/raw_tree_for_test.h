// Trees of files on disk, as maps that can be compared, and rows that no tree has, for
// this room's tests.

#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "array/samples.h"
#include "base/bytes.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/prng.h"
#include "divide/raw_source.h"
#include "testing/testing.h"

namespace dnc::divide {

inline std::string NoiseForTest(std::uint64_t seed, std::size_t size) {
  Prng prng(seed);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(prng.Next());
  return text;
}

inline void WriteForTest(const std::string& path, const std::string& text, mode_t mode = 0644) {
  ASSERT_THAT(WriteFileAtomically(path, AsBytes(text)), test::Succeeds());
  ASSERT_EQ(::chmod(path.c_str(), mode), 0);
}

// Short enough to be read in a message.
inline std::string ContentForTest(const std::string& bytes) {
  return std::to_string(bytes.size()) + " bytes " + Sha256(AsBytes(bytes)).Hex();
}

// Of every path below `root`: its mode and content, "-> target", or "folder".
inline std::map<std::string, std::string> TreeForTest(const std::string& root) {
  std::map<std::string, std::string> tree;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    struct stat info {};
    EXPECT_EQ(::lstat(entry.path().c_str(), &info), 0);
    std::string what;
    if (entry.is_symlink()) {
      what = "-> " + std::filesystem::read_symlink(entry.path()).string();
    } else {
      what = std::to_string(info.st_mode & 0777) + " ";
      if (entry.is_directory()) {
        what += "folder";
      } else {
        const auto text = ReadFile(entry.path().string(), 1u << 30);
        EXPECT_THAT(text, test::Succeeds());
        what += ContentForTest(*text);
      }
    }
    tree[entry.path().lexically_relative(root).string()] = what;
  }
  return tree;
}

// A file over several shards of 64 KiB, small ones, empty ones, folders, modes, links.
inline void MakeTreeForTest(const std::string& root) {
  namespace fs = std::filesystem;
  fs::create_directories(root + "/deep/er/empty folder");
  fs::create_directories(root + "/locked");
  WriteForTest(root + "/a.txt", "hello\n");
  WriteForTest(root + "/empty", "");
  WriteForTest(root + "/deep/large.bin", NoiseForTest(1, 300'000), 0640);
  WriteForTest(root + "/deep/er/larger.bin", NoiseForTest(2, 200'001), 0400);
  WriteForTest(root + "/deep/er/tool", "#!/bin/sh\n", 0755);
  WriteForTest(root + "/deep/next.bin", NoiseForTest(3, 150'000));
  WriteForTest(root + "/locked/inside", "x", 0444);
  WriteForTest(root + "/n\xc3\xa4me \xff with\nbytes", "odd");
  fs::create_symlink("deep/large.bin", root + "/link");
  fs::create_symlink("../../a.txt", root + "/deep/er/up");
  fs::create_symlink("nowhere", root + "/deep/dangling");
  ASSERT_EQ(::chmod((root + "/locked").c_str(), 0555), 0);
}

struct RowForTest {
  std::string path;
  RawKind kind = RawKind::kFile;
  std::string bytes;
  std::int64_t size = -1;  // That of `bytes`.
  std::int64_t offset = 0;
  std::uint16_t mode = 0644;
};

// Rows as they are given, right or wrong.
class RowsForTest final : public source::SampleSource {
 public:
  explicit RowsForTest(std::vector<RowForTest> rows) : rows_(std::move(rows)) {}

  const std::vector<array::ColumnSpec>& columns() const override { return RawColumns(); }
  std::optional<std::uint64_t> sample_count() const override { return rows_.size(); }
  std::string Describe() const override { return "rows for tests"; }
  const std::vector<source::SkippedInput>& skipped() const override { return skipped_; }

  Status Read(std::uint64_t sample_count_max, array::SampleBlock* block) override {
    array::ClearSamples(columns(), block);
    for (; block->sample_count < sample_count_max && next_ < rows_.size(); ++next_) {
      const RowForTest& row = rows_[next_];
      const auto kind = static_cast<std::uint8_t>(row.kind);
      const std::int64_t size =
          row.size < 0 ? static_cast<std::int64_t>(row.bytes.size()) : row.size;
      Put(row.path.data(), row.path.size(), &block->columns[kRawPath]);
      Put(&kind, sizeof kind, &block->columns[kRawKind]);
      Put(&row.mode, sizeof row.mode, &block->columns[kRawMode]);
      Put(&size, sizeof size, &block->columns[kRawSize]);
      Put(&row.offset, sizeof row.offset, &block->columns[kRawOffset]);
      Put(row.bytes.data(), row.bytes.size(), &block->columns[kRawBytes]);
      for (const std::size_t column : {kRawPath, kRawBytes}) {
        block->ends[column].push_back(static_cast<std::uint32_t>(block->columns[column].size()));
      }
      ++block->sample_count;
    }
    return {};
  }

 private:
  static void Put(const void* bytes, std::size_t size, Bytes* column) {
    const auto* begin = static_cast<const std::byte*>(bytes);
    column->insert(column->end(), begin, begin + size);
  }

  std::vector<RowForTest> rows_;
  std::vector<source::SkippedInput> skipped_;
  std::size_t next_ = 0;
};

}  // namespace dnc::divide
