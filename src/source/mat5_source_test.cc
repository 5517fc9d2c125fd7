// Files of MATLAB's format 5 are built here part by part, so that each can be wrong.

#include "source/mat5_source.h"

#include "base/file.h"
#include "source/test_files.h"
#include "testing/testing.h"

namespace dnc::source {
namespace {

using test::FailsWith;
using test::Succeeds;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// As the format has them.
constexpr std::uint32_t kInt8 = 1, kUint8 = 2, kInt32 = 5, kUint32 = 6, kSingle = 7, kDouble = 9;
constexpr std::uint32_t kMatrix = 14, kCompressed = 15;
constexpr std::uint32_t kCell = 1, kChar = 4, kDoubleClass = 6, kUint8Class = 9, kOpaque = 17;

class Writer {
 public:
  explicit Writer(bool is_big_endian = false) : is_big_endian_(is_big_endian) {}

  std::string Word(std::uint32_t value) const {
    std::string bytes;
    for (int i = 0; i < 4; ++i) {
      bytes += static_cast<char>(value >> 8 * (is_big_endian_ ? 3 - i : i) & 0xff);
    }
    return bytes;
  }
  std::string Element(std::uint32_t type, const std::string& data) const {
    std::string bytes = Word(type) + Word(static_cast<std::uint32_t>(data.size())) + data;
    if (type != kCompressed) bytes.resize((bytes.size() + 7) / 8 * 8);
    return bytes;
  }
  // Data of 4 bytes at most within the tag.
  std::string Small(std::uint32_t type, std::string data) const {
    const std::string tag = Word(static_cast<std::uint32_t>(data.size()) << 16 | type);
    data.resize(4);
    return tag + data;
  }
  std::string Described(std::uint32_t flags, const std::vector<std::uint32_t>& shape,
                        const std::string& name) const {
    std::string axes;
    for (const std::uint32_t length : shape) axes += Word(length);
    return Element(kUint32, Word(flags) + Word(0)) + Element(kInt32, axes) +
           (name.size() <= 4 && !name.empty() ? Small(kInt8, name) : Element(kInt8, name));
  }
  std::string Variable(const std::string& name, std::uint32_t flags,
                       const std::vector<std::uint32_t>& shape, std::uint32_t type,
                       const std::string& data) const {
    return Element(kMatrix, Described(flags, shape, name) +
                                (data.size() <= 4 ? Small(type, data) : Element(type, data)));
  }
  std::string Compressed(const std::string& variable) const {
    return Element(kCompressed, Deflate(variable, 15));
  }
  std::string File(const std::string& variables) const {
    std::string header = "MATLAB 5.0 MAT-file, Platform: GLNXA64";
    header.resize(124, ' ');
    header += is_big_endian_ ? std::string("\1\0MI", 4) : std::string("\0\1IM", 4);
    return header + variables;
  }

 private:
  bool is_big_endian_;
};

const Writer kLittle;

SharedSource Mat(const std::string& variables) {
  return InMemory(kLittle.File(variables), "d.mat");
}

std::string Describe(const SharedSource& file, const SourceOptions& options = {}) {
  const auto source = OpenFileSource(file, options);
  EXPECT_THAT(source, Succeeds());
  return source.ok() ? (*source)->Describe() : "";
}

std::string X(const std::vector<std::uint32_t>& shape, const std::string& data) {
  return kLittle.Variable("X", kUint8Class, shape, kUint8, data);
}

TEST(Mat5SourceTest, ReadsTheLayoutOfSvhnPlainAndCompressed) {
  constexpr std::size_t kCount = 11, kSample = 32 * 32 * 3;
  const std::string stored = Ramp(kCount * kSample);
  std::string expected(stored.size(), '\0');
  for (std::size_t n = 0; n < kCount; ++n) {
    for (std::size_t row = 0; row < 32; ++row) {
      for (std::size_t column = 0; column < 32; ++column) {
        for (std::size_t c = 0; c < 3; ++c) {
          expected[n * kSample + (row * 32 + column) * 3 + c] =
              stored[n * kSample + (c * 32 + column) * 32 + row];
        }
      }
    }
  }
  const std::string x = X({32, 32, 3, kCount}, stored);
  // A double class whose values were small whole numbers.
  const std::string y = kLittle.Variable("y", kDoubleClass, {kCount, 1}, kUint8,
                                         std::string("\1\2\3\4\5\6\7\10\11\12\1"));
  for (const std::string& variables :
       {x + y, kLittle.Compressed(x) + kLittle.Compressed(y), y + kLittle.Compressed(x)}) {
    const SharedSource file = Mat(variables);
    EXPECT_EQ(Describe(file), "mat X uint8 (11, 32, 32, 3), y uint8 (11,)");
    const auto all = OpenAndRead(file, {}, 4);
    ASSERT_THAT(all, Succeeds());
    EXPECT_TRUE(AsText(all->columns[0]) == expected);
    EXPECT_EQ(AsText(all->columns[1]), "\1\2\3\4\5\6\7\10\11\12\1");
  }
}

TEST(Mat5SourceTest, ReadsRowsOfAMatrixWhoseColumnsAreStored) {
  for (const bool is_compressed : {false, true}) {
    const std::string x = X({3, 2}, "abcdef");  // Rows: ad, be, cf.
    const auto all = OpenAndRead(Mat(is_compressed ? kLittle.Compressed(x) : x));
    ASSERT_THAT(all, Succeeds());
    EXPECT_EQ(AsText(all->columns[0]), "adbecf");
  }
  const auto columns = OpenAndRead(Mat(X({3, 2}, "abcdef")), {.sample_axis = 1});
  ASSERT_THAT(columns, Succeeds());
  EXPECT_EQ(AsText(columns->columns[0]), "abcdef");
}

TEST(Mat5SourceTest, ReadsFilesOfTheOtherByteOrder) {
  const Writer big(true);
  const std::string data = std::string("\x3f\x80\0\0\x40\0\0\0", 8);  // 1, 2.
  const std::string x = big.Variable("x", 7, {2, 1}, kSingle, data);
  for (const std::string& variables : {x, big.Compressed(x)}) {
    const SharedSource file = InMemory(big.File(variables), "big.mat");
    EXPECT_EQ(Describe(file), "mat x float32 (2, 1)");
    const auto all = OpenAndRead(file);
    ASSERT_THAT(all, Succeeds());
    EXPECT_THAT(ValuesOf<float>(all->columns[0]), ElementsAre(1, 2));
  }
}

TEST(Mat5SourceTest, ReadsEveryTypeOfNumber) {
  const std::pair<std::uint32_t, const char*> types[] = {
      {1, "int8"},   {2, "uint8"},   {3, "int16"},   {4, "uint16"}, {5, "int32"},
      {6, "uint32"}, {7, "float32"}, {9, "float64"}, {12, "int64"}, {13, "uint64"}};
  const std::size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 8, 8, 8};
  for (std::size_t i = 0; i < std::size(types); ++i) {
    const std::string data = Ramp(3 * sizes[i]);
    const SharedSource file =
        Mat(kLittle.Variable("x", kDoubleClass, {3, 1}, types[i].first, data));
    EXPECT_EQ(Describe(file), std::string("mat x ") + types[i].second + " (3, 1)");
    const auto all = OpenAndRead(file);
    ASSERT_THAT(all, Succeeds());
    EXPECT_EQ(AsText(all->columns[0]), data);
  }
  EXPECT_EQ(Describe(Mat(kLittle.Variable("mask", 0x0200 | kUint8Class, {2, 1}, kUint8,
                                          std::string("\0\1", 2)))),
            "mat mask bool (2, 1)");
}

TEST(Mat5SourceTest, ListsWhatIsNoArrayOfNumbers) {
  const std::string variables =
      X({2, 1}, "ab") + kLittle.Variable("Z", kUint8Class, {2, 1}, kUint8, "cd") +
      kLittle.Compressed(kLittle.Variable("title", kChar, {1, 2}, 16, "hi")) +
      kLittle.Element(kMatrix, kLittle.Described(kCell, {1, 1}, "cells") + X({1, 1}, "a")) +
      kLittle.Variable("roots", 0x0800 | kDoubleClass, {1, 1}, kDouble, std::string(8, 'a')) +
      kLittle.Variable("nothing", kDoubleClass, {0, 0}, kDouble, "") +
      kLittle.Element(kMatrix, kLittle.Element(kUint32, kLittle.Word(kOpaque) + kLittle.Word(0)) +
                                   kLittle.Element(kInt8, "thing"));
  EXPECT_THAT(OpenAndRead(Mat(variables), {.variable = "no"}),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("X uint8 (2, 1), Z uint8 (2, 1)"), HasSubstr("title text"),
                              HasSubstr("cells a cell array"), HasSubstr("roots complex numbers"),
                              HasSubstr("nothing empty"), HasSubstr("thing an object"))));
  EXPECT_THAT(OpenAndRead(Mat(variables), {.variable = "title"}),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("title is text")));
  EXPECT_EQ(Describe(Mat(variables), {.variable = "Z"}), "mat Z uint8 (2, 1); not read: X");
}

TEST(Mat5SourceTest, TakesLabelsFromAnotherFile) {
  const test::TemporaryFolder folder;
  const std::string labels = folder / "labels.mat";
  ASSERT_THAT(
      WriteFileAtomically(
          labels, AsBytes(kLittle.File(kLittle.Variable("t", kUint8Class, {1, 3}, kUint8, "123")))),
      Succeeds());
  const auto all = OpenAndRead(Mat(X({2, 3}, "abcdef")), {.labels_path = labels});
  ASSERT_THAT(all, Succeeds());
  EXPECT_EQ(AsText(all->columns[0]), "abcdef");  // The axis that has three.
  EXPECT_EQ(AsText(all->columns[1]), "123");
}

TEST(Mat5SourceTest, RefusesAFileCutAnywhere) {
  const std::string whole =
      kLittle.File(kLittle.Compressed(X({40, 5}, Ramp(200))) +
                   kLittle.Variable("y", kUint8Class, {40, 1}, kUint8, Ramp(40)));
  for (std::size_t size = 129; size < whole.size(); ++size) {
    SCOPED_TRACE(size);
    const auto all = OpenAndRead(InMemory(whole.substr(0, size), "cut.mat"));
    // Between two variables, what is there is whole.
    if (all.ok()) {
      EXPECT_EQ(all->columns.size(), 1u);
    } else {
      EXPECT_THAT(all, FailsWith(ErrorCode::kCorrupt, HasSubstr("cut.mat")));
    }
  }
}

TEST(Mat5SourceTest, NeverGivesSpoiltCompressedDataAsGood) {
  const std::string x = X({40, 5}, Ramp(200));
  const std::string whole = kLittle.File(kLittle.Compressed(x));
  for (std::size_t offset = 128 + 8; offset < whole.size(); ++offset) {
    SCOPED_TRACE(offset);
    std::string spoilt = whole;
    spoilt[offset] = static_cast<char>(spoilt[offset] ^ 0x10);
    EXPECT_THAT(OpenAndRead(InMemory(spoilt, "d.mat")),
                FailsWith(AnyOf(ErrorCode::kCorrupt, ErrorCode::kInvalidArgument,
                                ErrorCode::kUnsupported)));
  }
}

TEST(Mat5SourceTest, RefusesSizesThatContradictEachOther) {
  EXPECT_THAT(OpenAndRead(Mat(X({4, 2}, "abcdef"))),
              FailsWith(ErrorCode::kCorrupt,
                        AllOf(HasSubstr("X is uint8 (4, 2)"), HasSubstr("6 bytes of data"))));
  EXPECT_THAT(OpenAndRead(Mat(X({0xffffffff, 2}, "abcdef"))),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("an axis of -1")));
  EXPECT_THAT(OpenAndRead(Mat(X({0x7fffffff, 0x7fffffff, 0x7fffffff}, "abcdef"))),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("bytes of data")));
  // The compressed variable has more within than it states.
  EXPECT_THAT(OpenAndRead(Mat(kLittle.Compressed(X({3, 2}, "abcdef") + "beyond"))),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("more than")));
  EXPECT_THAT(OpenAndRead(Mat(kLittle.Element(3, "abc"))),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("type 3")));
}

TEST(Mat5SourceTest, SaysWhatToDoWithAPipeAndWithText) {
  const std::string bytes = kLittle.File(X({3, 2}, "abcdef"));
  EXPECT_THAT(OpenAndRead(InMemory(Gzip(bytes), "d.mat.gz")),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("decompress it first")));
  EXPECT_THAT(
      OpenAndRead(InMemory("<html>not found</html>", "d.mat")),
      FailsWith(AnyOf(ErrorCode::kInvalidArgument, ErrorCode::kUnsupported), HasSubstr("d.mat")));
}

}  // namespace
}  // namespace dnc::source
