// HDF5 files are written with the library itself, as h5py and MATLAB write them.

#include "source/hdf5_source.h"

#include <hdf5.h>

#include <cstring>

#include "base/file.h"
#include "hdf/handle.h"
#include "source/test_files.h"
#include "testing/testing.h"

namespace dnc::source {
namespace {

using hdf::H5Handle;
using test::FailsWith;
using test::Succeeds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::Not;

struct Storing {
  std::vector<hsize_t> chunk;  // Empty: contiguous.
  bool is_shuffled = false;
  int deflate = 0;
  std::string matlab_class;  // "" for none.
};

class H5File {
 public:
  // `block_bytes` of MATLAB's are before the file's own.
  explicit H5File(const std::string& path, std::uint64_t block_bytes = 0) : path_(path) {
    const H5Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
    H5Pset_userblock(creation.id(), block_bytes);
    file_ = {H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.id(), H5P_DEFAULT), H5Fclose};
    DNC_ASSERT(file_.ok());
  }

  hid_t id() const { return file_.id(); }

  // `data` is of `memory_type`; the file holds `stored_type`.
  void Add(const std::string& name, hid_t memory_type, hid_t stored_type,
           const std::vector<hsize_t>& shape, const void* data, const Storing& storing = {}) {
    const H5Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    if (!storing.chunk.empty()) {
      H5Pset_chunk(creation.id(), static_cast<int>(shape.size()), storing.chunk.data());
    }
    if (storing.is_shuffled) H5Pset_shuffle(creation.id());
    if (storing.deflate > 0) H5Pset_deflate(creation.id(), static_cast<unsigned>(storing.deflate));
    const H5Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
    H5Pset_create_intermediate_group(links.id(), 1);
    const H5Handle space(
        shape.empty() ? H5Screate(H5S_SCALAR)
                      : H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr),
        H5Sclose);
    const H5Handle dataset(H5Dcreate2(file_.id(), name.c_str(), stored_type, space.id(), links.id(),
                                      creation.id(), H5P_DEFAULT),
                           H5Dclose);
    DNC_ASSERT(dataset.ok());
    if (data != nullptr) {
      DNC_ASSERT(H5Dwrite(dataset.id(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    }
    if (!storing.matlab_class.empty()) AddClass(dataset.id(), storing.matlab_class);
  }

  void AddBytes(const std::string& name, const std::vector<hsize_t>& shape, const std::string& data,
                const Storing& storing = {}) {
    Add(name, H5T_STD_U8LE, H5T_STD_U8LE, shape, data.data(), storing);
  }

  // Closes it. `block` replaces the first bytes.
  SharedSource Finish(const std::string& block = "") {
    file_ = H5Handle();
    const auto bytes = ReadFile(path_, 64 << 20);
    DNC_ASSERT(bytes.ok());
    std::string text = *bytes;
    text.replace(0, block.size(), block);
    return InMemory(text, "d.h5");
  }

 private:
  static void AddClass(hid_t dataset, const std::string& text) {
    const H5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type.id(), text.size());
    const H5Handle space(H5Screate(H5S_SCALAR), H5Sclose);
    const H5Handle attribute(
        H5Acreate2(dataset, "MATLAB_class", type.id(), space.id(), H5P_DEFAULT, H5P_DEFAULT),
        H5Aclose);
    H5Awrite(attribute.id(), type.id(), text.data());
  }

  std::string path_;
  H5Handle file_;
};

class Hdf5SourceTest : public ::testing::Test {
 protected:
  std::string path() const { return folder_ / "d.h5"; }

 private:
  test::TemporaryFolder folder_;
};

std::string Describe(const SharedSource& file, const SourceOptions& options = {}) {
  const auto source = OpenFileSource(file, options);
  EXPECT_THAT(source, Succeeds());
  return source.ok() ? (*source)->Describe() : "";
}

TEST_F(Hdf5SourceTest, ReadsFeaturesAndLabelsHoweverTheyAreStored) {
  const std::string x = Ramp(7 * 3 * 5);
  const std::vector<Storing> ways = {
      {},
      {.chunk = {2, 3, 5}},
      {.chunk = {3, 2, 2}, .is_shuffled = true, .deflate = 6},
      {.chunk = {7, 1, 5}, .deflate = 1},
  };
  for (const Storing& storing : ways) {
    H5File file(path());
    file.AddBytes("x", {7, 3, 5}, x, storing);
    file.AddBytes("y", {7}, "abcdefg");
    const SharedSource source = file.Finish();
    EXPECT_EQ(Describe(source), "hdf5 x uint8 (7, 3, 5), y uint8 (7,)");
    const auto all = OpenAndRead(source);
    ASSERT_THAT(all, Succeeds());
    EXPECT_EQ(AsText(all->columns[0]), x);
    EXPECT_EQ(AsText(all->columns[1]), "abcdefg");
  }
}

TEST_F(Hdf5SourceTest, TakesAnyAxisAsTheSamples) {
  H5File file(path());
  file.AddBytes("x", {2, 3}, "abcdef", {.chunk = {1, 2}});
  const auto all = OpenAndRead(file.Finish(), {.sample_axis = -1});
  ASSERT_THAT(all, Succeeds());
  EXPECT_EQ(all->sample_count, 3u);
  EXPECT_EQ(AsText(all->columns[0]), "adbecf");
}

template <typename T>
void ExpectReadAs(const std::string& path, hid_t memory_type, hid_t stored_type,
                  array::DType dtype) {
  const std::vector<T> values = {T(1), T(2), T(100), T(-3)};
  H5File file(path);
  file.Add("x", memory_type, stored_type, {4}, values.data());
  const SharedSource source = file.Finish();
  const auto opened = OpenFileSource(source, {});
  ASSERT_THAT(opened, Succeeds());
  EXPECT_EQ((*opened)->columns()[0].dtype, dtype);
  const auto all = ReadToEnd(opened->get(), 3);
  ASSERT_THAT(all, Succeeds());
  EXPECT_THAT(ValuesOf<T>(all->columns[0]), ElementsAreArray(values));
}

TEST_F(Hdf5SourceTest, ReadsEveryTypeOfNumberInEitherByteOrder) {
  using array::DType;
  for (const bool big : {false, true}) {
    SCOPED_TRACE(big);
    ExpectReadAs<std::int8_t>(path(), H5T_STD_I8LE, big ? H5T_STD_I8BE : H5T_STD_I8LE,
                              DType::kInt8);
    ExpectReadAs<std::uint8_t>(path(), H5T_STD_U8LE, big ? H5T_STD_U8BE : H5T_STD_U8LE,
                               DType::kUint8);
    ExpectReadAs<std::int16_t>(path(), H5T_STD_I16LE, big ? H5T_STD_I16BE : H5T_STD_I16LE,
                               DType::kInt16);
    ExpectReadAs<std::uint16_t>(path(), H5T_STD_U16LE, big ? H5T_STD_U16BE : H5T_STD_U16LE,
                                DType::kUint16);
    ExpectReadAs<std::int32_t>(path(), H5T_STD_I32LE, big ? H5T_STD_I32BE : H5T_STD_I32LE,
                               DType::kInt32);
    ExpectReadAs<std::uint32_t>(path(), H5T_STD_U32LE, big ? H5T_STD_U32BE : H5T_STD_U32LE,
                                DType::kUint32);
    ExpectReadAs<std::int64_t>(path(), H5T_STD_I64LE, big ? H5T_STD_I64BE : H5T_STD_I64LE,
                               DType::kInt64);
    ExpectReadAs<std::uint64_t>(path(), H5T_STD_U64LE, big ? H5T_STD_U64BE : H5T_STD_U64LE,
                                DType::kUint64);
    ExpectReadAs<float>(path(), H5T_IEEE_F32LE, big ? H5T_IEEE_F32BE : H5T_IEEE_F32LE,
                        DType::kFloat32);
    ExpectReadAs<double>(path(), H5T_IEEE_F64LE, big ? H5T_IEEE_F64BE : H5T_IEEE_F64LE,
                         DType::kFloat64);
  }
}

// As h5py builds them: HDF5 itself has neither.
H5Handle HalfType(H5T_order_t order) {
  H5Handle half(H5Tcopy(H5T_IEEE_F32LE), H5Tclose);
  H5Tset_fields(half.id(), 15, 10, 5, 0, 10);
  H5Tset_size(half.id(), 2);
  H5Tset_ebias(half.id(), 15);
  H5Tset_order(half.id(), order);
  return half;
}

TEST_F(Hdf5SourceTest, ReadsHalfPrecisionInEitherByteOrder) {
  for (const H5T_order_t order : {H5T_ORDER_LE, H5T_ORDER_BE}) {
    const std::vector<float> values = {1, -2, 0.5};
    const H5Handle half = HalfType(order);
    H5File file(path());
    file.Add("x", H5T_NATIVE_FLOAT, half.id(), {3}, values.data());
    const SharedSource source = file.Finish();
    EXPECT_EQ(Describe(source), "hdf5 x float16 (3,)");
    const auto all = OpenAndRead(source);
    ASSERT_THAT(all, Succeeds());
    EXPECT_THAT(ValuesOf<std::uint16_t>(all->columns[0]), ElementsAre(0x3c00, 0xc000, 0x3800));
  }
}

TEST_F(Hdf5SourceTest, ReadsTheBooleansOfH5py) {
  const H5Handle type(H5Tenum_create(H5T_STD_I8LE), H5Tclose);
  std::int8_t value = 0;
  H5Tenum_insert(type.id(), "FALSE", &value);
  value = 1;
  H5Tenum_insert(type.id(), "TRUE", &value);
  const std::string values = {0, 1, 1};
  H5File file(path());
  file.Add("x", type.id(), type.id(), {3}, values.data());
  const SharedSource source = file.Finish();
  EXPECT_EQ(Describe(source), "hdf5 x bool (3,)");
  const auto all = OpenAndRead(source);
  ASSERT_THAT(all, Succeeds());
  EXPECT_EQ(AsText(all->columns[0]), values);
}

// X is 32 x 32 x 3 x N in MATLAB, whose own axes HDF5 has in reverse.
std::string MatlabHeader() {
  return "MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: a day HDF5 schema 1.00 .";
}

SharedSource Svhn(const std::string& path, std::size_t count, std::string* x_samples) {
  const std::size_t sample = 32 * 32 * 3;
  const std::string stored = Ramp(count * sample);  // [n][channel][column][row]
  x_samples->resize(stored.size());
  for (std::size_t n = 0; n < count; ++n) {
    for (std::size_t row = 0; row < 32; ++row) {
      for (std::size_t column = 0; column < 32; ++column) {
        for (std::size_t c = 0; c < 3; ++c) {
          (*x_samples)[n * sample + (row * 32 + column) * 3 + c] =
              stored[n * sample + (c * 32 + column) * 32 + row];
        }
      }
    }
  }
  H5File file(path, 512);
  file.AddBytes("X", {count, 3, 32, 32}, stored,
                {.chunk = {2, 3, 32, 32}, .deflate = 3, .matlab_class = "uint8"});
  std::vector<double> y(count);
  for (std::size_t n = 0; n < count; ++n) y[n] = static_cast<double>(n % 10);
  file.Add("y", H5T_NATIVE_DOUBLE, H5T_IEEE_F64LE, {1, count}, y.data(),
           {.matlab_class = "double"});
  return file.Finish(MatlabHeader());
}

TEST_F(Hdf5SourceTest, ReadsTheLayoutOfSvhnFromMatlab73) {
  std::string expected;
  const SharedSource source = Svhn(path(), 11, &expected);
  EXPECT_EQ(Describe(source), "mat X uint8 (11, 32, 32, 3), y float64 (11,)");
  const auto all = OpenAndRead(source, {}, 4);
  ASSERT_THAT(all, Succeeds());
  EXPECT_TRUE(AsText(all->columns[0]) == expected);
  EXPECT_THAT(ValuesOf<double>(all->columns[1]), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0));
}

TEST_F(Hdf5SourceTest, TakesTheAxisThatHasAsManyAsThereAreLabels) {
  H5File file(path());
  file.AddBytes("images", {2, 3}, "abcdef");
  file.AddBytes("labels", {3}, "123");
  const auto all = OpenAndRead(file.Finish());
  ASSERT_THAT(all, Succeeds());
  EXPECT_EQ(AsText(all->columns[0]), "adbecf");
}

TEST_F(Hdf5SourceTest, ListsTheDatasetsWhereItIsNotClearWhichToTake) {
  H5File file(path());
  file.AddBytes("a", {3}, "abc");
  file.AddBytes("deep/b", {2, 2}, "abcd");
  file.AddBytes("one", {}, "a");
  const H5Handle text(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(text.id(), 4);
  file.Add("names", text.id(), text.id(), {2}, "ann bob ");
  file.Add("links", H5T_STD_REF_OBJ, H5T_STD_REF_OBJ, {2}, nullptr);
  const SharedSource source = file.Finish();
  EXPECT_THAT(OpenAndRead(source),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("a uint8 (3,), deep/b uint8 (2, 2)"),
                              HasSubstr("names text"), HasSubstr("links references"),
                              HasSubstr("one a single number"), HasSubstr("--variable"))));
  EXPECT_THAT(OpenAndRead(source, {.variable = "/deep/c"}),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("\"/deep/c\""), HasSubstr("did you mean \"deep/b\""))));
  EXPECT_THAT(OpenAndRead(source, {.variable = "names"}),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("names is text")));
  const auto all = OpenAndRead(source, {.variable = "/deep/b", .labels_variable = "-"});
  ASSERT_THAT(all, Succeeds());
  EXPECT_EQ(AsText(all->columns[0]), "abcd");
}

TEST_F(Hdf5SourceTest, LeavesMatlabsTextsCellsAndBookkeepingOut) {
  H5File file(path(), 512);
  file.AddBytes("#refs#/a", {2}, "ab");
  file.AddBytes("mask", {1, 2}, std::string("\0\1", 2), {.matlab_class = "logical"});
  const std::vector<std::uint16_t> title = {'h', 'i'};
  file.Add("title", H5T_STD_U16LE, H5T_STD_U16LE, {2, 1}, title.data(), {.matlab_class = "char"});
  file.Add("cells", H5T_STD_REF_OBJ, H5T_STD_REF_OBJ, {2, 1}, nullptr, {.matlab_class = "cell"});
  const SharedSource source = file.Finish(MatlabHeader());
  EXPECT_EQ(Describe(source), "mat mask bool (2, 1)");
  EXPECT_THAT(OpenAndRead(source, {.variable = "no"}),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("cells a cell array"), HasSubstr("title text"),
                              Not(HasSubstr("#refs#")))));
}

TEST_F(Hdf5SourceTest, OpensADatasetByItsPathInTheLocation) {
  H5File file(path());
  file.AddBytes("train/x", {2, 2}, "abcd");
  file.AddBytes("train/y", {2}, "12");
  file.Finish();
  const auto source = OpenSource(path() + ":/train/x", {.labels_path = path() + ":/train/y"});
  ASSERT_THAT(source, Succeeds());
  const auto all = ReadToEnd(source->get(), 1);
  ASSERT_THAT(all, Succeeds());
  EXPECT_EQ(AsText(all->columns[0]), "abcd");
  EXPECT_EQ(AsText(all->columns[1]), "12");
  EXPECT_THAT(OpenSource(path() + ":/train/z", {}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("train/x")));
}

TEST_F(Hdf5SourceTest, RefusesLabelsOfAnotherLength) {
  H5File file(path());
  file.AddBytes("x", {5, 2}, Ramp(10));
  file.AddBytes("y", {4}, "1234");
  EXPECT_THAT(
      OpenAndRead(file.Finish()),
      FailsWith(ErrorCode::kInvalidArgument, AllOf(HasSubstr("5 samples"), HasSubstr("4 labels"))));
}

TEST_F(Hdf5SourceTest, RefusesATruncatedFileAndOneInAPipeOrInGzip) {
  H5File file(path());
  file.AddBytes("x", {1000, 8}, Ramp(8000));
  const SharedSource source = file.Finish();
  std::string bytes(source->size(), '\0');
  ASSERT_THAT(source->ReadAt(0, std::as_writable_bytes(std::span(bytes))), Succeeds());
  EXPECT_THAT(OpenAndRead(InMemory(bytes.substr(0, bytes.size() - 100), "cut.h5")),
              FailsWith(ErrorCode::kCorrupt, AllOf(HasSubstr("cut.h5"), HasSubstr("truncated"))));
  EXPECT_THAT(OpenAndRead(InMemory(Gzip(bytes), "d.h5.gz")),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("decompress it first")));
}

TEST_F(Hdf5SourceTest, NamesTheSamplesOfADamagedChunk) {
  H5File file(path());
  const std::string x = Ramp(40'000);
  file.AddBytes("x", {400, 100}, x, {.chunk = {100, 100}, .deflate = 9});
  const SharedSource source = file.Finish();
  std::string bytes(source->size(), '\0');
  ASSERT_THAT(source->ReadAt(0, std::as_writable_bytes(std::span(bytes))), Succeeds());
  // Chunks lie at the end: spoil the second half of the file.
  for (std::size_t i = bytes.size() - 600; i < bytes.size(); ++i) bytes[i] = '\xff';
  EXPECT_THAT(OpenAndRead(InMemory(bytes, "d.h5")),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("d.h5:/x: samples")));
}

TEST_F(Hdf5SourceTest, RefusesChunksBeyondTheLimit) {
  H5File huge(path());
  huge.Add("x", H5T_STD_U8LE, H5T_STD_U8LE, {1 << 14, 1 << 14}, nullptr,
           {.chunk = {1 << 14, 1 << 13}});
  EXPECT_THAT(OpenAndRead(huge.Finish()), FailsWith(ErrorCode::kTooLarge, HasSubstr("h5repack")));
}

TEST_F(Hdf5SourceTest, DoesNotFollowOtherFiles) {
  H5File file(path());
  const H5Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_external(creation.id(), "/etc/passwd", 0, 100);
  const hsize_t length = 100;
  const H5Handle space(H5Screate_simple(1, &length, nullptr), H5Sclose);
  H5Handle dataset(
      H5Dcreate2(file.id(), "x", H5T_STD_U8LE, space.id(), H5P_DEFAULT, creation.id(), H5P_DEFAULT),
      H5Dclose);
  dataset = H5Handle();
  H5Lcreate_external("/etc/passwd", "/", file.id(), "link", H5P_DEFAULT, H5P_DEFAULT);
  EXPECT_THAT(OpenAndRead(file.Finish()),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("lie in other files")));
}

}  // namespace
}  // namespace dnc::source
