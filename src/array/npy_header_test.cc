// An .npy file comes from anywhere, so its header is spoiled here in every way
// that the grammar tells apart.

#include "array/npy_header.h"

#include "testing/testing.h"

namespace dnc::array {
namespace {

using test::FailsWith;
using test::Succeeds;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;

// A version 1.0 file whose header is `dict`, with `data_bytes` of data.
std::string Npy(const std::string& dict, std::size_t data_bytes = 0) {
  std::string file = "\x93NUMPY";
  file += '\x01';
  file += '\0';
  file += static_cast<char>(dict.size() & 0xff);
  file += static_cast<char>(dict.size() >> 8);
  return file + dict + std::string(data_bytes, '\x07');
}

std::string NpyOfType(const std::string& descr) {
  return Npy("{'descr': '" + descr + "', 'fortran_order': False, 'shape': (2, 3), }\n");
}

Result<NpyHeader> Parse(const std::string& file) { return ParseNpyHeader(AsBytes(file), "a.npy"); }

TEST(NpyHeaderTest, ReadsWhatNumPyWrites) {
  const std::string dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (60000, 28, 28), }\n";
  const auto header = Parse(Npy(dict));
  ASSERT_THAT(header, Succeeds());
  EXPECT_EQ(header->dtype, DType::kFloat32);
  EXPECT_EQ(header->shape, (Shape{60000, 28, 28}));
  EXPECT_FALSE(header->fortran_order);
  EXPECT_FALSE(header->big_endian);
  EXPECT_EQ(header->data_offset, 10 + dict.size());
}

TEST(NpyHeaderTest, ReadsKeysInAnyOrderAndLooseSpacing) {
  const auto header = Parse(Npy("  {\"shape\" :( 3L,),'fortran_order':True , 'descr':'>i8'}"));
  ASSERT_THAT(header, Succeeds());
  EXPECT_EQ(header->shape, (Shape{3}));
  EXPECT_TRUE(header->fortran_order);
  EXPECT_TRUE(header->big_endian);
  EXPECT_EQ(header->dtype, DType::kInt64);
}

TEST(NpyHeaderTest, ReadsAScalarAndVersions2And3) {
  const std::string dict = "{'descr': '|u1', 'fortran_order': False, 'shape': (), }";
  for (const char version : {'\x02', '\x03'}) {
    std::string file = "\x93NUMPY";
    file += version;
    file += std::string("\0", 1);
    file += static_cast<char>(dict.size());
    file += std::string("\0\0\0", 3);
    const auto header = Parse(file + dict);
    ASSERT_THAT(header, Succeeds());
    EXPECT_EQ(header->shape, Shape{});
    EXPECT_EQ(header->data_offset, 12 + dict.size());
  }
}

TEST(NpyHeaderTest, FormatsWhatItParsesForEveryTypeAndAlignsTheData) {
  for (int i = 0; i < kDTypeCount; ++i) {
    for (const Shape& shape : {Shape{}, Shape{0}, Shape{5}, Shape{60000, 28, 28}, Shape(64, 1)}) {
      SCOPED_TRACE(ShapeText(shape));
      const Bytes bytes = FormatNpyHeader(static_cast<DType>(i), shape);
      EXPECT_EQ(bytes.size() % 64, 0u);
      const auto header = ParseNpyHeader(bytes, "a.npy");
      ASSERT_THAT(header, Succeeds());
      EXPECT_EQ(header->dtype, static_cast<DType>(i));
      EXPECT_EQ(header->shape, shape);
      EXPECT_EQ(header->data_offset, bytes.size());
    }
  }
}

TEST(NpyHeaderTest, FormatsTheBytesThatNumPyWrites) {
  EXPECT_EQ(AsText(FormatNpyHeader(DType::kFloat32, {3})),
            Npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }" + std::string(60, ' ') +
                "\n"));
}

TEST(NpyHeaderTest, RefusesPicklesByName) {
  EXPECT_THAT(Parse(NpyOfType("|O")),
              FailsWith(ErrorCode::kUnsupported,
                        AllOf(HasSubstr("a.npy"), HasSubstr("pickle"), HasSubstr("|O"))));
}

TEST(NpyHeaderTest, RefusesTypesThatAreNotNumbers) {
  for (const char* descr :
       {"<U5", "|S3", "<c8", "<M8[ns]", "<m8", "|V8", "<f16", "<i3", "f4", "x", "", "<f", "<b1x"}) {
    SCOPED_TRACE(descr);
    EXPECT_THAT(Parse(NpyOfType(descr)), FailsWith(ErrorCode::kUnsupported, HasSubstr("a.npy")));
  }
  EXPECT_THAT(Parse(Npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }")),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("records")));
}

TEST(NpyHeaderTest, RefusesMalformedDictionaries) {
  for (const char* dict :
       {"", "{", "{}", "[]", "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': ()}",
        "{'descr': 4, 'fortran_order': False, 'shape': ()}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 3}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3 4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3,",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (), 'extra': ''}",
        "{'descr': '<f4' 'fortran_order': False, 'shape': ()}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': ()} + evil()"}) {
    SCOPED_TRACE(dict);
    EXPECT_THAT(Parse(Npy(dict)), FailsWith(ErrorCode::kCorrupt, HasSubstr("a.npy")));
  }
}

TEST(NpyHeaderTest, RefusesDishonestSizes) {
  EXPECT_THAT(Parse(Npy("{'descr': '<f4', 'fortran_order': False, "
                        "'shape': (1000000000, 1000000000)}")),
              FailsWith(ErrorCode::kTooLarge, HasSubstr("(1000000000, 1000000000)")));
  std::string axes;
  for (int i = 0; i < 65; ++i) axes += "1,";
  EXPECT_THAT(Parse(Npy("{'descr': '<f4', 'fortran_order': False, 'shape': (" + axes + ")}")),
              FailsWith(ErrorCode::kTooLarge, HasSubstr("axes")));
  EXPECT_THAT(Parse(std::string("\x93NUMPY\x02\x00\xff\xff\xff\x7f", 12)),
              FailsWith(ErrorCode::kTooLarge));
}

TEST(NpyHeaderTest, RefusesOtherFilesAndLaterVersions) {
  EXPECT_THAT(Parse(""), FailsWith(ErrorCode::kCorrupt, HasSubstr("not an npy file")));
  EXPECT_THAT(Parse("PK\x03\x04 something"), FailsWith(ErrorCode::kCorrupt));
  std::string later = NpyOfType("<f4");
  later[6] = 4;
  EXPECT_THAT(Parse(later), FailsWith(ErrorCode::kUnsupported, HasSubstr("4.0")));
}

TEST(NpyHeaderTest, RefusesAHeaderThatEndsAnywhereEarly) {
  const std::string whole = NpyOfType("<f4");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    SCOPED_TRACE(size);
    EXPECT_THAT(Parse(whole.substr(0, size)), FailsWith(ErrorCode::kCorrupt));
  }
}

TEST(NpyHeaderTest, AChangedByteIsEitherRefusedOrLeavesAHeaderWithinItsLimits) {
  const std::string whole = NpyOfType("<f4");
  for (std::size_t offset = 0; offset < whole.size(); ++offset) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = whole;
      damaged[offset] = static_cast<char>(damaged[offset] ^ (1 << bit));
      const auto header = Parse(damaged);
      if (!header.ok()) continue;
      EXPECT_TRUE(ElementCount(header->shape).has_value());
      EXPECT_LE(header->data_offset, damaged.size());
    }
  }
}

TEST(NpyHeaderTest, RefusesATruncatedFileWithBothSizes) {
  const std::string dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  const std::string whole = Npy(dict, 24);
  EXPECT_THAT(ReadNpyHeader(MemorySource(AsBytes(whole), "x.npy")), Succeeds());
  const std::string cut = whole.substr(0, whole.size() - 1);
  EXPECT_THAT(ReadNpyHeader(MemorySource(AsBytes(cut), "x.npy")),
              FailsWith(ErrorCode::kCorrupt, AllOf(HasSubstr("x.npy"), HasSubstr("24 bytes"),
                                                   HasSubstr("23"), HasSubstr("(2, 3)"))));
}

TEST(NpyHeaderTest, PassesOnTheErrorOfTheSource) {
  const std::string whole = Npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", 4);
  const MemorySource intact(AsBytes(whole), "x.npy");
  EXPECT_THAT(ReadNpyHeader(test::FaultySource(&intact, {.fail_read_index = 0})),
              FailsWith(ErrorCode::kUnavailable));
}

}  // namespace
}  // namespace dnc::array
