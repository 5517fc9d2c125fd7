#include "trainer/convert.h"

#include <cmath>
#include <limits>

#include "testing/testing.h"

namespace dnc::trainer {
namespace {

using array::DType;
using ::testing::HasSubstr;

template <typename T>
Bytes BytesOf(const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

std::vector<float> Converted(DType dtype, const Bytes& bytes) {
  std::vector<float> out(bytes.size() / array::DTypeSize(dtype));
  ConvertToFloat(dtype, bytes, out);
  return out;
}

TEST(ConvertToFloatTest, KeepsTheValuesOfEveryDType) {
  const std::vector<float> signed_values = {-3, 0, 7};
  EXPECT_EQ(Converted(DType::kInt8, BytesOf<std::int8_t>({-3, 0, 7})), signed_values);
  EXPECT_EQ(Converted(DType::kInt16, BytesOf<std::int16_t>({-3, 0, 7})), signed_values);
  EXPECT_EQ(Converted(DType::kInt32, BytesOf<std::int32_t>({-3, 0, 7})), signed_values);
  EXPECT_EQ(Converted(DType::kInt64, BytesOf<std::int64_t>({-3, 0, 7})), signed_values);
  EXPECT_EQ(Converted(DType::kFloat32, BytesOf<float>({-3, 0, 7})), signed_values);
  EXPECT_EQ(Converted(DType::kFloat64, BytesOf<double>({-3, 0, 7})), signed_values);
  const std::vector<float> unsigned_values = {0, 1, 200};
  EXPECT_EQ(Converted(DType::kUint8, BytesOf<std::uint8_t>({0, 1, 200})), unsigned_values);
  EXPECT_EQ(Converted(DType::kUint16, BytesOf<std::uint16_t>({0, 1, 200})), unsigned_values);
  EXPECT_EQ(Converted(DType::kUint32, BytesOf<std::uint32_t>({0, 1, 200})), unsigned_values);
  EXPECT_EQ(Converted(DType::kUint64, BytesOf<std::uint64_t>({0, 1, 200})), unsigned_values);
  EXPECT_EQ(Converted(DType::kBool, BytesOf<std::uint8_t>({0, 1})), (std::vector<float>{0, 1}));
}

TEST(ConvertToFloatTest, ReadsHalvesExactly) {
  const Bytes bytes = BytesOf<std::uint16_t>(
      {0x0000, 0x8000, 0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001, 0x83ff, 0x7c00, 0xfc00, 0x3555});
  const std::vector<float> out = Converted(DType::kFloat16, bytes);
  EXPECT_EQ(out[0], 0.0f);
  EXPECT_TRUE(std::signbit(out[1]));
  EXPECT_EQ(out[2], 1.0f);
  EXPECT_EQ(out[3], -2.0f);
  EXPECT_EQ(out[4], 65504.0f);
  EXPECT_EQ(out[5], 0x1p-14f);
  EXPECT_EQ(out[6], 0x1p-24f);
  EXPECT_EQ(out[7], -1023 * 0x1p-24f);
  EXPECT_EQ(out[8], std::numeric_limits<float>::infinity());
  EXPECT_EQ(out[9], -std::numeric_limits<float>::infinity());
  EXPECT_EQ(out[10], 0x1.554p-2f);
  EXPECT_TRUE(std::isnan(Converted(DType::kFloat16, BytesOf<std::uint16_t>({0x7e00}))[0]));
}

TEST(ConvertToFloatTest, TakesBytesThatAreNotAligned) {
  Bytes bytes(1);
  const Bytes values = BytesOf<double>({1.5, -2.5});
  bytes.insert(bytes.end(), values.begin(), values.end());
  std::vector<float> out(2);
  ConvertToFloat(DType::kFloat64, ByteSpan(bytes).subspan(1), out);
  EXPECT_EQ(out, (std::vector<float>{1.5f, -2.5f}));
}

Status Classes(DType dtype, const Bytes& bytes, std::vector<std::int64_t>* out) {
  out->resize(bytes.size() / array::DTypeSize(dtype));
  return ConvertToClasses(dtype, bytes, 10, *out);
}

TEST(ConvertToClassesTest, TakesWholeNumbersInRangeOfAnyDType) {
  const std::vector<std::int64_t> expected = {0, 9, 3};
  std::vector<std::int64_t> out;
  ASSERT_THAT(Classes(DType::kUint8, BytesOf<std::uint8_t>({0, 9, 3}), &out), test::Succeeds());
  EXPECT_EQ(out, expected);
  ASSERT_THAT(Classes(DType::kInt64, BytesOf<std::int64_t>({0, 9, 3}), &out), test::Succeeds());
  EXPECT_EQ(out, expected);
  ASSERT_THAT(Classes(DType::kFloat32, BytesOf<float>({0, 9, 3}), &out), test::Succeeds());
  EXPECT_EQ(out, expected);
}

TEST(ConvertToClassesTest, NamesTheLabelItsPlaceAndTheRange) {
  std::vector<std::int64_t> out;
  EXPECT_THAT(Classes(DType::kUint8, BytesOf<std::uint8_t>({0, 10}), &out),
              test::FailsWith(ErrorCode::kInvalidArgument,
                              ::testing::AllOf(HasSubstr("label 10"), HasSubstr("sample 1"),
                                               HasSubstr("10 classes"), HasSubstr("0 to 9"))));
  EXPECT_THAT(Classes(DType::kInt8, BytesOf<std::int8_t>({-1}), &out),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("label -1")));
  EXPECT_THAT(Classes(DType::kFloat32, BytesOf<float>({0.5f}), &out),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("label 0.5")));
  EXPECT_THAT(Classes(DType::kFloat32, BytesOf<float>({std::nanf("")}), &out),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("label nan")));
  EXPECT_THAT(Classes(DType::kUint64, BytesOf<std::uint64_t>({~std::uint64_t{0}}), &out),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("label")));
}

}  // namespace
}  // namespace dnc::trainer
