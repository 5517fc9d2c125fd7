#include "shard/statistics.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "base/prng.h"
#include "testing/testing.h"

namespace dnc::shard {
namespace {

using array::DType;

template <typename T>
array::SampleBlock Block(const std::vector<T>& elements) {
  array::SampleBlock block;
  block.sample_count = elements.size();
  const auto bytes = std::as_bytes(std::span(elements));
  block.columns.emplace_back(bytes.begin(), bytes.end());
  return block;
}

template <typename T>
ColumnStatistics StatisticsOf(DType dtype, const std::vector<T>& elements,
                              const array::Shape& shape = {}) {
  StatisticsAccumulator accumulator({{"x", dtype, shape, {}}});
  accumulator.Add(Block(elements));
  return accumulator.Compute()[0];
}

TEST(StatisticsTest, DescribesBytesExactly) {
  const ColumnStatistics statistics =
      StatisticsOf<std::uint8_t>(DType::kUint8, {0, 255, 255, 7, 3});
  EXPECT_EQ(statistics.count, 5u);
  EXPECT_EQ(statistics.mean, 104.0);
  EXPECT_DOUBLE_EQ(statistics.standard_deviation, std::sqrt(76028.0 / 5));
  EXPECT_EQ(statistics.min, 0);
  EXPECT_EQ(statistics.max, 255);
  EXPECT_EQ(statistics.class_counts,
            (std::map<std::int64_t, std::uint64_t>{{0, 1}, {3, 1}, {7, 1}, {255, 2}}));
}

TEST(StatisticsTest, ReadsSignedBytesAsSigned) {
  const ColumnStatistics statistics = StatisticsOf<std::int8_t>(DType::kInt8, {-128, 127, -1, -2});
  EXPECT_EQ(statistics.mean, -1);
  EXPECT_EQ(statistics.min, -128);
  EXPECT_EQ(statistics.max, 127);
  EXPECT_EQ(statistics.class_counts.begin()->first, -128);
}

template <typename T>
void ExpectPlainIntegerStatistics(DType dtype) {
  SCOPED_TRACE(array::DTypeName(dtype));
  const ColumnStatistics statistics = StatisticsOf<T>(dtype, {1, 2, 3, 4, 40});
  EXPECT_EQ(statistics.count, 5u);
  EXPECT_EQ(statistics.mean, 10);
  EXPECT_DOUBLE_EQ(statistics.standard_deviation, std::sqrt(226.0));
  EXPECT_EQ(statistics.min, 1);
  EXPECT_EQ(statistics.max, 40);
  EXPECT_EQ(statistics.class_counts.size(), 5u);
}

TEST(StatisticsTest, DescribesIntegersOfEverySize) {
  ExpectPlainIntegerStatistics<std::int8_t>(DType::kInt8);
  ExpectPlainIntegerStatistics<std::uint8_t>(DType::kUint8);
  ExpectPlainIntegerStatistics<std::int16_t>(DType::kInt16);
  ExpectPlainIntegerStatistics<std::uint16_t>(DType::kUint16);
  ExpectPlainIntegerStatistics<std::int32_t>(DType::kInt32);
  ExpectPlainIntegerStatistics<std::uint32_t>(DType::kUint32);
  ExpectPlainIntegerStatistics<std::int64_t>(DType::kInt64);
  ExpectPlainIntegerStatistics<std::uint64_t>(DType::kUint64);
}

// Sums of float64 squares would lose all of a deviation of 1 at these heights.
TEST(StatisticsTest, KeepsSmallDeviationsOfHugeIntegers) {
  for (const std::int64_t base : {INT64_MAX - 4, INT64_MIN, std::int64_t{1} << 60}) {
    const ColumnStatistics statistics =
        StatisticsOf<std::int64_t>(DType::kInt64, {base, base + 2, base + 4});
    EXPECT_DOUBLE_EQ(statistics.standard_deviation, std::sqrt(8.0 / 3));
    EXPECT_EQ(statistics.mean, static_cast<double>(base + 2));
  }
  const std::uint64_t top = UINT64_MAX;
  const ColumnStatistics statistics = StatisticsOf<std::uint64_t>(DType::kUint64, {top, top - 2});
  EXPECT_EQ(statistics.standard_deviation, 1);
  EXPECT_TRUE(statistics.class_counts.empty()) << "no class is numbered beyond int64";
}

TEST(StatisticsTest, SpansTheWholeRangeOfIntegers) {
  const ColumnStatistics statistics =
      StatisticsOf<std::int64_t>(DType::kInt64, {INT64_MIN, INT64_MAX});
  EXPECT_EQ(statistics.mean, -0.5);
  EXPECT_DOUBLE_EQ(statistics.standard_deviation, 0x1p63);
}

TEST(StatisticsTest, CountsClassesOnlyOfScalarIntegersAndOnlyUpTo4096) {
  std::vector<std::int32_t> labels(4096);
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int32_t>(i) - 9;
  EXPECT_EQ(StatisticsOf(DType::kInt32, labels).class_counts.size(), 4096u);
  EXPECT_TRUE(StatisticsOf(DType::kInt32, labels, {1}).class_counts.empty());
  labels.push_back(5000);
  labels.push_back(0);
  EXPECT_TRUE(StatisticsOf(DType::kInt32, labels).class_counts.empty());
  EXPECT_TRUE(StatisticsOf<float>(DType::kFloat32, {1, 2}).class_counts.empty());
  const ColumnStatistics flags = StatisticsOf<std::uint8_t>(DType::kBool, {1, 0, 1});
  EXPECT_EQ(flags.class_counts, (std::map<std::int64_t, std::uint64_t>{{0, 1}, {1, 2}}));
  EXPECT_TRUE(StatisticsOf<std::uint8_t>(DType::kUint8, {1, 0}, {1}).class_counts.empty());
}

TEST(StatisticsTest, LeavesNanAndInfinityOutAndCountsThem) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  const ColumnStatistics statistics =
      StatisticsOf<float>(DType::kFloat32, {nan, 1, infinity, 3, -infinity});
  EXPECT_EQ(statistics.count, 5u);
  EXPECT_EQ(statistics.nonfinite_count, 3u);
  EXPECT_EQ(statistics.mean, 2);
  EXPECT_EQ(statistics.standard_deviation, 1);
  EXPECT_EQ(statistics.min, 1);
  EXPECT_EQ(statistics.max, 3);
  const ColumnStatistics none = StatisticsOf<float>(DType::kFloat32, {nan});
  EXPECT_EQ(none, (ColumnStatistics{.count = 1, .nonfinite_count = 1}));
}

TEST(StatisticsTest, DescribesNoElementsByZeros) {
  for (const DType dtype : {DType::kUint8, DType::kInt32, DType::kFloat32}) {
    StatisticsAccumulator accumulator({{"x", dtype, {}, {}}});
    EXPECT_EQ(accumulator.Compute()[0], ColumnStatistics());
    EXPECT_EQ(accumulator.samples(), 0u);
  }
}

TEST(StatisticsTest, KeepsFullPrecisionOfFloats) {
  // 2^53 + 1 is lost by a sum in float64; so is the deviation, which is 1.
  const ColumnStatistics high = StatisticsOf<double>(DType::kFloat64, {0x1p52, 0x1p52 + 2});
  EXPECT_EQ(high.mean, 0x1p52 + 1);
  EXPECT_EQ(high.standard_deviation, 1);
  std::vector<double> tenths(1'000'000, 0.1);
  const ColumnStatistics equal = StatisticsOf(DType::kFloat64, tenths);
  EXPECT_EQ(equal.mean, 0.1);
  EXPECT_LT(equal.standard_deviation, 1e-15);
  const ColumnStatistics cancelling = StatisticsOf<double>(DType::kFloat64, {1e16, 1, -1e16, 1});
  EXPECT_EQ(cancelling.mean, 0.5);
}

TEST(StatisticsTest, CannotBeMadeInfinite) {
  const double most = std::numeric_limits<double>::max();
  const ColumnStatistics statistics = StatisticsOf<double>(DType::kFloat64, {most, most, -most});
  EXPECT_TRUE(std::isfinite(statistics.mean));
  EXPECT_EQ(statistics.standard_deviation, most);
  EXPECT_EQ(statistics.max, most);
}

TEST(StatisticsTest, GivesZerosNoSign) {
  const ColumnStatistics statistics = StatisticsOf<float>(DType::kFloat32, {-0.0f, -0.0f});
  EXPECT_FALSE(std::signbit(statistics.min));
  EXPECT_FALSE(std::signbit(statistics.max));
}

TEST(StatisticsTest, ReadsHalfPrecision) {
  // 1, -2, 65504 (the largest), 2^-24 (the smallest), infinity.
  const ColumnStatistics statistics =
      StatisticsOf<std::uint16_t>(DType::kFloat16, {0x3c00, 0xc000, 0x7bff, 0x0001, 0x7c00});
  EXPECT_EQ(statistics.nonfinite_count, 1u);
  EXPECT_EQ(statistics.min, -2);
  EXPECT_EQ(statistics.max, 65504);
  EXPECT_EQ(statistics.mean, (65503 + 0x1p-24) / 4);
}

TEST(StatisticsTest, DoesNotDependOnHowSamplesAreCutIntoBlocks) {
  Prng prng(7);
  std::vector<float> elements(5000);
  for (float& element : elements) {
    element = static_cast<float>(std::ldexp(prng.Normal(), static_cast<int>(prng.Below(80)) - 40));
  }
  elements[17] = std::numeric_limits<float>::quiet_NaN();
  const ColumnStatistics whole = StatisticsOf(DType::kFloat32, elements);
  for (int round = 0; round < 20; ++round) {
    StatisticsAccumulator accumulator({{"x", DType::kFloat32, {}, {}}});
    for (std::size_t begin = 0; begin < elements.size();) {
      const std::size_t size = std::min<std::size_t>(prng.Below(700), elements.size() - begin);
      const auto first = elements.begin() + static_cast<std::ptrdiff_t>(begin);
      accumulator.Add(Block(std::vector<float>(first, first + static_cast<std::ptrdiff_t>(size))));
      begin += size;
    }
    EXPECT_EQ(accumulator.Compute()[0], whole);
    EXPECT_EQ(accumulator.samples(), 5000u);
  }
}

// Against long double, whose 64 bits are enough for these.
TEST(StatisticsTest, AgreesWithAPlainComputation) {
  Prng prng(11);
  std::vector<std::int16_t> integers(3000);
  std::vector<float> floats(3000);
  for (std::size_t i = 0; i < integers.size(); ++i) {
    integers[i] = static_cast<std::int16_t>(prng.Below(65536));
    floats[i] = integers[i];
  }
  long double sum = 0;
  for (const float value : floats) sum += value;
  long double squares = 0;
  for (const float value : floats) squares += (value - sum / 3000) * (value - sum / 3000);
  const auto mean = static_cast<double>(sum / 3000);
  const auto deviation = static_cast<double>(std::sqrt(squares / 3000));
  const ColumnStatistics of_integers = StatisticsOf(DType::kInt16, integers);
  const ColumnStatistics of_floats = StatisticsOf(DType::kFloat32, floats);
  EXPECT_EQ(of_integers.mean, mean);
  EXPECT_DOUBLE_EQ(of_integers.standard_deviation, deviation);
  EXPECT_EQ(of_floats.mean, mean);
  EXPECT_DOUBLE_EQ(of_floats.standard_deviation, deviation);
}

// Rows of a table: every element of the row has moments of its own.
TEST(StatisticsTest, KnowsEveryElementOfARow) {
  const std::vector<array::ColumnSpec> columns = {{"f", array::DType::kFloat32, {2}, {}},
                                                  {"i", array::DType::kInt16, {2}, {}},
                                                  {"wide", array::DType::kUint8, {2, 1}, {}}};
  ByteWriter f;
  for (const float v : {1.f, 10.f, 3.f, std::numeric_limits<float>::quiet_NaN()}) f.Put(v);
  ByteWriter i;
  for (const int v : {-2, 5, 2, 5}) i.Put(static_cast<std::int16_t>(v));
  StatisticsAccumulator statistics(columns);
  statistics.Add({.sample_count = 2, .columns = {f.bytes(), i.bytes(), Bytes(4)}});
  const auto result = statistics.Compute();
  EXPECT_EQ(result[0].element_mean, (std::vector<double>{2, 10}));
  EXPECT_EQ(result[0].element_standard_deviation, (std::vector<double>{1, 0}));
  EXPECT_EQ(result[1].element_mean, (std::vector<double>{0, 5}));
  EXPECT_EQ(result[1].element_standard_deviation, (std::vector<double>{2, 0}));
  EXPECT_TRUE(result[2].element_mean.empty());
}

TEST(StatisticsTest, CountsTheLengthsOfTexts) {
  StatisticsAccumulator statistics({{.name = "t", .kind = array::ColumnKind::kText}});
  statistics.Add({.sample_count = 3, .columns = {Bytes(9)}, .ends = {{0, 3, 9}}});
  const auto result = statistics.Compute();
  EXPECT_EQ(result[0].count, 3u);
  EXPECT_EQ(result[0].mean, 3);
  EXPECT_EQ(result[0].min, 0);
  EXPECT_EQ(result[0].max, 6);
  EXPECT_TRUE(result[0].class_counts.empty());
}

}  // namespace
}  // namespace dnc::shard
