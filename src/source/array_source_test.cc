#include "source/array_source.h"

#include <bit>

#include "source/slab_array.h"
#include "source/test_files.h"
#include "testing/testing.h"

namespace dnc::source {
namespace {

using array::DType;
using array::Shape;
using test::FailsWith;
using test::Succeeds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string TransposedNpy(const std::string& descr, const Shape& shape, const std::string& data) {
  return RawNpyFile(
      "{'descr': '" + descr + "', 'fortran_order': True, 'shape': " + array::ShapeText(shape) + "}",
      data);
}

TEST(ArraySourceTest, GivesTheSameSamplesWhateverTheSizeOfReads) {
  test::TemporaryFolder folder;
  const std::string labels = folder / "y.npy";
  ASSERT_THAT(WriteFileAtomically(labels, AsBytes(NpyFile(DType::kInt64, {7}, Ramp(56)))),
              Succeeds());
  const std::string data = Ramp(7 * 6);
  for (std::uint64_t step = 1; step <= 8; ++step) {
    auto source = OpenFileSource(InMemory(NpyFile(DType::kUint8, {7, 2, 3}, data), "x.npy"),
                                 {.labels_path = labels});
    ASSERT_THAT(source, Succeeds());
    EXPECT_EQ((*source)->sample_count(), 7u);
    EXPECT_EQ((*source)->Describe(), "npy uint8 (7, 2, 3), labels int64 (7,)");
    EXPECT_THAT((*source)->columns(), ElementsAre(array::ColumnSpec{"x", DType::kUint8, {2, 3}, {}},
                                                  array::ColumnSpec{"y", DType::kInt64, {}, {}}));
    const auto all = ReadToEnd(source->get(), step);
    ASSERT_THAT(all, Succeeds());
    EXPECT_EQ(all->sample_count, 7u);
    EXPECT_EQ(AsText(all->columns[0]), data);
    EXPECT_EQ(AsText(all->columns[1]), Ramp(56));
  }
}

TEST(ArraySourceTest, AOneDimensionalArrayIsScalars) {
  auto source = OpenFileSource(InMemory(NpyFile(DType::kUint8, {4}, "abcd"), "x.npy"), {});
  ASSERT_THAT(source, Succeeds());
  EXPECT_EQ((*source)->columns()[0].shape, Shape{});
}

TEST(ArraySourceTest, ConvertsBigEndianElements) {
  const std::string dict = "{'descr': '>u2', 'fortran_order': False, 'shape': (3,)}";
  const auto all =
      OpenAndRead(InMemory(RawNpyFile(dict, std::string("\x01\x02\x00\x07\xff\x00", 6)), "x.npy"));
  ASSERT_THAT(all, Succeeds());
  EXPECT_THAT(ValuesOf<std::uint16_t>(all->columns[0]), ElementsAre(0x0102, 7, 0xff00));
}

TEST(ArraySourceTest, ReadsFortranOrderAsCOrder) {
  // Element (i, j, k) of shape (4, 2, 3), as 100 i + 10 j + k.
  std::vector<std::uint16_t> fortran;
  std::vector<std::uint16_t> c;
  for (int k = 0; k < 3; ++k) {
    for (int j = 0; j < 2; ++j) {
      for (int i = 0; i < 4; ++i) {
        fortran.push_back(static_cast<std::uint16_t>(100 * i + 10 * j + k));
      }
    }
  }
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 2; ++j) {
      for (int k = 0; k < 3; ++k) c.push_back(static_cast<std::uint16_t>(100 * i + 10 * j + k));
    }
  }
  const std::string npy = TransposedNpy("<u2", {4, 2, 3}, BytesOf(fortran));
  for (const std::string& file :
       {npy, Gzip(npy), ZipFile({{.name = "x.npy", .data = npy, .is_deflated = true}})}) {
    const auto all = OpenAndRead(InMemory(file, "x"));
    ASSERT_THAT(all, Succeeds());
    EXPECT_EQ(ValuesOf<std::uint16_t>(all->columns[0]), c);
  }
  std::vector<std::uint16_t> big_endian = fortran;
  for (auto& value : big_endian) value = static_cast<std::uint16_t>(value << 8 | value >> 8);
  const auto all = OpenAndRead(InMemory(TransposedNpy(">u2", {4, 2, 3}, BytesOf(big_endian)), "x"));
  ASSERT_THAT(all, Succeeds());
  EXPECT_EQ(ValuesOf<std::uint16_t>(all->columns[0]), c);
}

TEST(ArraySourceTest, ReadsFortranOrderBeyondATile) {
  const std::int64_t count = static_cast<std::int64_t>(kTileBytesMax) / 2;
  std::string data;
  for (int column = 0; column < 3; ++column) {
    for (std::int64_t i = 0; i < count; ++i) data += static_cast<char>((i * 3 + column) % 251);
  }
  const auto all =
      OpenAndRead(InMemory(TransposedNpy("|u1", {count, 3}, data), "x"), {}, 1'000'003);
  ASSERT_THAT(all, Succeeds());
  EXPECT_TRUE(AsText(all->columns[0]) == Ramp(static_cast<std::size_t>(count) * 3));
}

TEST(ArraySourceTest, RefusesCompressedDataThatWouldNeedTooManyPasses) {
  // Samples of half a tile each, 1000 of them: nothing is read but the header.
  const std::string npy =
      TransposedNpy("|u1", {1000, static_cast<std::int64_t>(kTileBytesMax) - 9}, "");
  EXPECT_THAT(OpenAndRead(InMemory(Gzip(npy), "x.npy.gz")),
              FailsWith(ErrorCode::kUnsupported,
                        AllOf(HasSubstr("1000 passes"), HasSubstr("ascontiguousarray"))));
}

TEST(ArraySourceTest, RefusesLabelsOfAnotherLengthNamingBoth) {
  test::TemporaryFolder folder;
  const std::string labels = folder / "y.npy";
  ASSERT_THAT(WriteFileAtomically(labels, AsBytes(NpyFile(DType::kUint8, {2}, "ab"))), Succeeds());
  EXPECT_THAT(
      OpenAndRead(InMemory(NpyFile(DType::kUint8, {3, 1}, "abc"), "x.npy"),
                  {.labels_path = labels}),
      FailsWith(ErrorCode::kInvalidArgument, "x.npy: 3 samples, but " + labels + " has 2 labels"));
}

TEST(ArraySourceTest, RefusesLabelsThatAreMissingOrNoArray) {
  test::TemporaryFolder folder;
  const std::string labels = folder / "y.txt";
  const auto open = [&] {
    return OpenAndRead(InMemory(NpyFile(DType::kUint8, {1}, "a"), "x.npy"),
                       {.labels_path = labels});
  };
  EXPECT_THAT(open(), FailsWith(ErrorCode::kNotFound, HasSubstr("y.txt")));
  ASSERT_THAT(WriteFileAtomically(labels, AsBytes("cat\n")), Succeeds());
  EXPECT_THAT(open(), FailsWith(ErrorCode::kUnsupported, HasSubstr("npy, idx")));
}

TEST(ArraySourceTest, RefusesPicklesByName) {
  const std::string npy =
      RawNpyFile("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "\x80\x03N.");
  EXPECT_THAT(OpenAndRead(InMemory(npy, "x.npy")),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("pickle")));
}

TEST(ArraySourceTest, RefusesArraysThatHoldNoSamples) {
  for (const Shape& shape : {Shape{}, Shape{0}, Shape{0, 3}, Shape{3, 0}}) {
    EXPECT_THAT(OpenAndRead(InMemory(NpyFile(DType::kUint8, shape, "abc"), "x.npy")),
                FailsWith(ErrorCode::kInvalidArgument, HasSubstr("x.npy")))
        << array::ShapeText(shape);
  }
}

TEST(ArraySourceTest, RefusesASampleLargerThanABlockOfAShard) {
  const std::string header = NpyFile(DType::kFloat64, {1, 9 << 20}, "");
  EXPECT_THAT(OpenAndRead(InMemory(Gzip(header), "x.gz")),
              FailsWith(ErrorCode::kTooLarge, HasSubstr("(9437184,)")));
}

TEST(ArraySourceTest, RefusesATruncatedNpyWithBothSizes) {
  const std::string npy = NpyFile(DType::kUint8, {4}, "abc");
  EXPECT_THAT(OpenAndRead(InMemory(npy, "x.npy")),
              FailsWith(ErrorCode::kCorrupt, AllOf(HasSubstr("4 bytes"), HasSubstr("has 3"))));
  EXPECT_THAT(OpenAndRead(InMemory(Gzip(npy), "x.npy")),
              FailsWith(ErrorCode::kCorrupt, AllOf(HasSubstr("4 samples"), HasSubstr("after 3"))));
}

TEST(IdxTest, ReadsEachTypeAndConvertsIt) {
  struct Case {
    char type;
    DType dtype;
    std::string data;
    std::string expected;
  };
  const Case cases[] = {
      {0x08, DType::kUint8, "\x05", "\x05"},
      {0x09, DType::kInt8, "\xff", "\xff"},
      {0x0b, DType::kInt16, std::string("\x01\x02", 2), std::string("\x02\x01", 2)},
      {0x0c, DType::kInt32, std::string("\x01\x02\x03\x04", 4), "\x04\x03\x02\x01"},
      {0x0d, DType::kFloat32, std::string("\x3f\x80\x00\x00", 4), BytesOf<float>({1})},
      {0x0e, DType::kFloat64, std::string("\x3f\xf0\0\0\0\0\0\0", 8), BytesOf<double>({1})}};
  for (const Case& c : cases) {
    SCOPED_TRACE(static_cast<int>(c.type));
    const std::string idx = IdxFile(c.type, {1}, c.data);
    for (const std::string& file : {idx, Gzip(idx)}) {
      auto source = OpenFileSource(InMemory(file, "x"), {});
      ASSERT_THAT(source, Succeeds());
      EXPECT_EQ((*source)->columns()[0].dtype, c.dtype);
      const auto all = ReadToEnd(source->get(), 2);
      ASSERT_THAT(all, Succeeds());
      EXPECT_EQ(AsText(all->columns[0]), c.expected);
    }
  }
}

TEST(IdxTest, RefusesAFileThatIsNotAsLongAsItsHeaderSays) {
  for (const int size : {5, 7}) {
    const std::string idx = IdxFile(8, {3, 2}, Ramp(static_cast<std::size_t>(size)));
    EXPECT_THAT(
        OpenAndRead(InMemory(idx, "x")),
        FailsWith(ErrorCode::kCorrupt,
                  AllOf(HasSubstr("has 6 bytes"), HasSubstr("file has " + std::to_string(size)))));
    EXPECT_THAT(OpenAndRead(InMemory(Gzip(idx), "x.gz")),
                FailsWith(ErrorCode::kCorrupt, HasSubstr("x.gz")));
  }
}

TEST(IdxTest, RefusesAHeaderThatEndsEarlyOrHasDishonestSizes) {
  const std::string idx = IdxFile(8, {3, 2}, "abcdef");
  for (std::size_t size = 4; size < 12; ++size) {
    EXPECT_THAT(OpenAndRead(InMemory(idx.substr(0, size), "x")), FailsWith(ErrorCode::kCorrupt));
  }
  EXPECT_THAT(OpenAndRead(InMemory(IdxFile(8, {~0u, ~0u, ~0u}, ""), "x")),
              FailsWith(ErrorCode::kTooLarge));
  EXPECT_THAT(OpenAndRead(InMemory(Gzip(IdxFile(8, {1, ~0u}, "")), "x")),
              FailsWith(ErrorCode::kTooLarge));
}

TEST(GzipTest, ReadsSeveralMembersAsOneFile) {
  const std::string idx = IdxFile(8, {6}, "abcdef");
  const auto all = OpenAndRead(InMemory(Gzip(idx.substr(0, 9)) + Gzip(idx.substr(9)), "x.gz"));
  ASSERT_THAT(all, Succeeds());
  EXPECT_EQ(AsText(all->columns[0]), "abcdef");
}

TEST(GzipTest, ADamagedByteNeverGivesOtherSamples) {
  const std::string intact = Gzip(IdxFile(8, {40}, Ramp(40)));
  for (std::size_t offset = 0; offset < intact.size(); ++offset) {
    SCOPED_TRACE(offset);
    std::string damaged = intact;
    damaged[offset] = static_cast<char>(damaged[offset] ^ 0x40);
    const auto all = OpenAndRead(InMemory(damaged, "x.gz"));
    if (all.ok()) {
      EXPECT_EQ(AsText(all->columns[0]), Ramp(40));  // A time stamp or the like.
    }
  }
}

TEST(GzipTest, RefusesAFileCutAnywhere) {
  const std::string intact = Gzip(IdxFile(8, {40}, Ramp(40)));
  for (std::size_t size = 0; size < intact.size(); ++size) {
    SCOPED_TRACE(size);
    EXPECT_FALSE(OpenAndRead(InMemory(intact.substr(0, size), "x.gz")).ok());
  }
}

TEST(GzipTest, RefusesOtherContents) {
  EXPECT_THAT(OpenAndRead(InMemory(Gzip("\x01\x02"), "x.gz")),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("not a known kind")));
  EXPECT_THAT(OpenAndRead(InMemory(Gzip(Gzip("a\n1\n")), "x.gz.gz")),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("compressed twice")));
  EXPECT_THAT(OpenAndRead(InMemory(Gzip(""), "x.gz")),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("empty")));
  EXPECT_THAT(OpenAndRead(InMemory(Gzip(ZipFile({{"x.npy", "a"}})), "x.npz.gz")),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("decompress it first")));
}

TEST(ZstdTest, ReadsSeveralFramesAsOneFile) {
  const std::string idx = IdxFile(8, {6}, "abcdef");
  for (const std::string& file : {Zstd(idx), Zstd(idx.substr(0, 9)) + Zstd(idx.substr(9))}) {
    auto source = OpenFileSource(InMemory(file, "x.zst"), {});
    ASSERT_THAT(source, Succeeds());
    EXPECT_EQ((*source)->Describe(), "idx.zst uint8 (6,)");
    const auto all = ReadToEnd(source->get(), 4);
    ASSERT_THAT(all, Succeeds());
    EXPECT_EQ(AsText(all->columns[0]), "abcdef");
  }
}

TEST(ZstdTest, RefusesAFileCutAnywhere) {
  const std::string intact = Zstd(IdxFile(8, {40}, Ramp(40)));
  for (std::size_t size = 0; size < intact.size(); ++size) {
    SCOPED_TRACE(size);
    EXPECT_FALSE(OpenAndRead(InMemory(intact.substr(0, size), "x.zst")).ok());
  }
}

TEST(ZstdTest, ADamagedByteNeverGivesOtherSamples) {
  const std::string intact = Zstd(IdxFile(8, {40}, Ramp(40)));
  for (std::size_t offset = 0; offset < intact.size(); ++offset) {
    SCOPED_TRACE(offset);
    std::string damaged = intact;
    damaged[offset] = static_cast<char>(damaged[offset] ^ 0x40);
    const auto all = OpenAndRead(InMemory(damaged, "x.zst"));
    if (all.ok()) {
      EXPECT_EQ(AsText(all->columns[0]), Ramp(40));
    }
  }
}

TEST(ArraySourceTest, PassesOnTheErrorOfTheFileWhicheverReadFails) {
  const std::string npy = NpyFile(DType::kUint8, {9, 2}, Ramp(18));
  const std::string files[] = {npy,
                               TransposedNpy("|u1", {9, 2}, Ramp(18)),
                               IdxFile(8, {9, 2}, Ramp(18)),
                               Gzip(npy),
                               Zstd(TransposedNpy("|u1", {9, 2}, Ramp(18))),
                               ZipFile({{.name = "x.npy", .data = npy},
                                        {.name = "y.npy", .data = npy, .is_deflated = true}}),
                               "a,b\n1,2\n"};
  for (const std::string& file : files) {
    const SharedSource intact = InMemory(file, "x");
    for (int read_index = 0;; ++read_index) {
      ASSERT_LT(read_index, 100) << "the source never stops reading";
      const auto faulty = std::make_shared<test::FaultySource>(
          intact.get(), test::FaultySourceOptions{.fail_read_index = read_index});
      const auto all = OpenAndRead(faulty);
      if (!faulty->fired()) {
        EXPECT_THAT(all, Succeeds());
        EXPECT_GT(read_index, 1);
        break;
      }
      EXPECT_THAT(all, FailsWith(ErrorCode::kUnavailable));
    }
  }
}

TEST(ArraySourceTest, ReadsFashionMnist) {
  const std::string folder = "/usr/share/datasets/fashion-mnist/";
  if (!PathExists(folder)) GTEST_SKIP() << "the package dataset-fashion-mnist is not installed";
  auto source = OpenSource(folder + "t10k-images-idx3-ubyte.gz",
                           {.labels_path = folder + "t10k-labels-idx1-ubyte.gz"});
  ASSERT_THAT(source, Succeeds());
  EXPECT_EQ((*source)->Describe(), "idx.gz uint8 (10000, 28, 28), labels uint8 (10000,)");
  const auto all = ReadToEnd(source->get(), 1000);
  ASSERT_THAT(all, Succeeds());
  EXPECT_EQ(all->sample_count, 10000u);
  EXPECT_EQ(std::count(all->columns[1].begin(), all->columns[1].end(), std::byte{3}), 1000);
}

}  // namespace
}  // namespace dnc::source
