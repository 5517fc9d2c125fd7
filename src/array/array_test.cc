#include "array/column.h"
#include "array/dtype.h"
#include "array/shape.h"
#include "testing/testing.h"

namespace dnc::array {
namespace {

TEST(DTypeTest, NamesAndSizesAreThoseOfNumPy) {
  const std::pair<const char*, std::size_t> expected[] = {
      {"bool", 1},   {"int8", 1},  {"uint8", 1},  {"int16", 2},   {"uint16", 2},  {"int32", 4},
      {"uint32", 4}, {"int64", 8}, {"uint64", 8}, {"float16", 2}, {"float32", 4}, {"float64", 8}};
  ASSERT_EQ(std::size(expected), static_cast<std::size_t>(kDTypeCount));
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_STREQ(DTypeName(dtype), expected[i].first);
    EXPECT_EQ(DTypeSize(dtype), expected[i].second);
    EXPECT_EQ(DTypeFromName(expected[i].first), dtype);
    EXPECT_EQ(IsFloat(dtype), std::string_view(DTypeName(dtype)).starts_with("float"));
  }
}

TEST(DTypeTest, AnUnknownNameIsNoDType) {
  for (const char* name : {"", "float", "Float32", "float32 ", "complex64", "object"}) {
    EXPECT_EQ(DTypeFromName(name), std::nullopt) << name;
  }
}

TEST(ShapeTest, CountsElements) {
  EXPECT_EQ(ElementCount({}), 1u);
  EXPECT_EQ(ElementCount({7}), 7u);
  EXPECT_EQ(ElementCount({60000, 28, 28}), 47'040'000u);
  EXPECT_EQ(ElementCount({5, 0, 3}), 0u);
}

TEST(ShapeTest, RefusesNegativeAndDishonestAxes) {
  EXPECT_EQ(ElementCount({-1}), std::nullopt);
  EXPECT_EQ(ElementCount({0, -1}), std::nullopt);
  EXPECT_EQ(ElementCount({INT64_MAX}), std::nullopt);
  EXPECT_EQ(ElementCount({1 << 24, 1 << 24}), std::uint64_t{1} << 48);
  EXPECT_EQ(ElementCount({1 << 24, 1 << 24, 2}), std::nullopt);
  // The product of the axes that are not zero is bounded too.
  EXPECT_EQ(ElementCount({0, INT64_MAX, INT64_MAX}), std::nullopt);
}

TEST(ShapeTest, WritesShapesAsPythonDoes) {
  EXPECT_EQ(ShapeText({}), "()");
  EXPECT_EQ(ShapeText({28}), "(28,)");
  EXPECT_EQ(ShapeText({28, 28, 3}), "(28, 28, 3)");
}

TEST(ColumnTest, SumsTheBytesOfASample) {
  const std::vector<ColumnSpec> columns = {{"x", DType::kFloat32, {28, 28}, {}},
                                           {"y", DType::kUint8, {}, {}}};
  EXPECT_EQ(columns[0].sample_bytes(), 3136u);
  EXPECT_EQ(columns[1].sample_bytes(), 1u);
  EXPECT_EQ(SampleBytes(columns), 3137u);
  EXPECT_EQ(SampleBytes({}), 0u);
}

TEST(ColumnTest, SaysItsTypeInAFewWords) {
  EXPECT_EQ(ColumnTypeText({"x", DType::kUint8, {28, 28}, {}}), "uint8 (28, 28)");
}

}  // namespace
}  // namespace dnc::array
