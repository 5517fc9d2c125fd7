#include "source/slab_array.h"

#include "source/test_files.h"
#include "testing/testing.h"

namespace dnc::source {
namespace {

using array::DType;
using array::Shape;
using test::FailsWith;
using test::Succeeds;
using ::testing::HasSubstr;

template <typename T>
const char* Descr();
template <>
const char* Descr<std::uint8_t>() {
  return "|u1";
}
template <>
const char* Descr<std::uint16_t>() {
  return "<u2";
}
template <>
const char* Descr<float>() {
  return "<f4";
}
template <>
const char* Descr<double>() {
  return "<f8";
}

std::uint64_t Elements(const Shape& shape) { return *array::ElementCount(shape); }

// Every index of `shape`, in C order.
std::vector<Shape> Indices(const Shape& shape) {
  std::vector<Shape> all;
  Shape index(shape.size(), 0);
  for (std::uint64_t i = 0; i < Elements(shape); ++i) {
    all.push_back(index);
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      if (++index[axis] < shape[axis]) break;
      index[axis] = 0;
    }
  }
  return all;
}

// The value of an element tells its index.
double ValueAt(const Shape& index) {
  double value = 0;
  for (const std::int64_t i : index) value = value * 6 + static_cast<double>(i);
  return value;
}

template <typename T>
std::string Stored(const Shape& shape, bool fortran) {
  Shape stored = shape;
  if (fortran) std::reverse(stored.begin(), stored.end());
  std::vector<T> values;
  for (Shape index : Indices(stored)) {
    if (fortran) std::reverse(index.begin(), index.end());
    values.push_back(static_cast<T>(ValueAt(index)));
  }
  return RawNpyFile("{'descr': '" + std::string(Descr<T>()) +
                        "', 'fortran_order': " + (fortran ? "True" : "False") +
                        ", 'shape': " + array::ShapeText(shape) + "}",
                    BytesOf(values));
}

// The samples in order, each in C order.
template <typename T>
std::vector<T> Expected(const Shape& shape, std::size_t axis) {
  Shape first = shape;
  first.erase(first.begin() + static_cast<std::ptrdiff_t>(axis));
  first.insert(first.begin(), shape[axis]);
  std::vector<T> values;
  for (Shape index : Indices(first)) {
    const std::int64_t sample = index[0];
    index.erase(index.begin());
    index.insert(index.begin() + static_cast<std::ptrdiff_t>(axis), sample);
    values.push_back(static_cast<T>(ValueAt(index)));
  }
  return values;
}

template <typename T>
void CheckEveryLayout() {
  for (const Shape& shape : {Shape{5}, Shape{4, 3}, Shape{1, 6}, Shape{6, 1}, Shape{2, 3, 4},
                             Shape{3, 1, 2, 4}, Shape{2, 3, 2, 3}}) {
    for (const bool fortran : {false, true}) {
      const std::string npy = Stored<T>(shape, fortran);
      for (std::size_t axis = 0; axis < shape.size(); ++axis) {
        SCOPED_TRACE(array::ShapeText(shape) + (fortran ? " F axis " : " C axis ") +
                     std::to_string(axis));
        for (const std::string& file :
             {npy, Gzip(npy), Zstd(npy), ZipFile({{"x.npy", npy}}),
              ZipFile({{.name = "x.npy", .data = npy, .is_deflated = true}})}) {
          SourceOptions options;
          options.sample_axis = static_cast<int>(axis) - (axis % 2 == 0 ? 0 : int(shape.size()));
          auto source = OpenFileSource(InMemory(file, "x"), options);
          ASSERT_THAT(source, Succeeds());
          const auto all = ReadToEnd(source->get(), 2);
          ASSERT_THAT(all, Succeeds());
          EXPECT_EQ(ValuesOf<T>(all->columns[0]), Expected<T>(shape, axis));
        }
      }
    }
  }
}

TEST(SlabArrayTest, GivesSamplesInCOrderWhateverTheLayoutAndAxis) {
  CheckEveryLayout<std::uint8_t>();
  CheckEveryLayout<std::uint16_t>();
  CheckEveryLayout<float>();
  CheckEveryLayout<double>();
}

TEST(SlabArrayTest, SkipsWithoutReadingAndGoesOnWithTheRightSample) {
  for (const bool fortran : {false, true}) {
    const std::string npy = Stored<float>({40, 3}, fortran);
    for (const std::string& file : {npy, Gzip(npy)}) {
      auto source = OpenFileSource(InMemory(file, "x"), {});
      ASSERT_THAT(source, Succeeds());
      array::SampleBlock block;
      ASSERT_THAT((*source)->Read(3, &block), Succeeds());
      const auto skipped = (*source)->Skip(30);
      ASSERT_THAT(skipped, Succeeds());
      EXPECT_EQ(*skipped, 30u);
      ASSERT_THAT((*source)->Read(1, &block), Succeeds());
      EXPECT_EQ(ValuesOf<float>(block.columns[0])[0], ValueAt({33, 0}));
      const auto rest = (*source)->Skip(30);
      ASSERT_THAT(rest, Succeeds());
      EXPECT_EQ(*rest, 6u);
      ASSERT_THAT((*source)->Read(1, &block), Succeeds());
      EXPECT_EQ(block.sample_count, 0u);
    }
  }
}

TEST(SlabArrayTest, RefusesAnAxisThatIsNotThereNamingTheShape) {
  for (const int axis : {2, -3}) {
    SourceOptions options;
    options.sample_axis = axis;
    EXPECT_THAT(OpenAndRead(InMemory(Stored<float>({2, 3}, false), "x"), options),
                FailsWith(ErrorCode::kInvalidArgument, HasSubstr("(2, 3)")));
  }
}

TEST(SlabArrayTest, RefusesCompressedDataThatIsTruncated) {
  const std::string npy = Stored<float>({4, 3}, true);
  EXPECT_THAT(OpenAndRead(InMemory(Gzip(npy.substr(0, npy.size() - 1)), "x")),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("truncated")));
}

TEST(PipeTest, ReadsOnceWhatNeedsNoOtherPlace) {
  const std::string c = Stored<float>({4, 3}, false);
  const std::string fortran = Stored<float>({4, 3}, true);
  for (const std::string& bytes : {c, fortran, Gzip(c), Zstd(fortran)}) {
    const auto file = InMemory(bytes, "x");
    const auto input = OpenPipe(OpenRange(file, {0, file->size()}), "standard input");
    ASSERT_THAT(input, Succeeds());
    auto array = OpenArray(*input);
    ASSERT_THAT(array, Succeeds());
    Bytes all(4 * 3 * 4);
    ASSERT_THAT((*array)->Read(all), Succeeds());
    EXPECT_EQ(ValuesOf<float>(all), Expected<float>({4, 3}, 0));
  }
}

TEST(PipeTest, RefusesAnOrderThatDoesNotFitATile) {
  const auto file = InMemory(RawNpyFile("{'descr': '|u1', 'fortran_order': True, 'shape': (1000, "
                                        "100000)}",
                                        "abc"),
                             "x");
  const auto input = OpenPipe(OpenRange(file, {0, file->size()}), "standard input");
  ASSERT_THAT(input, Succeeds());
  EXPECT_THAT(OpenArray(*input),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("save it to a file")));
}

}  // namespace
}  // namespace dnc::source
