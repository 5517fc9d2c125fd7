#include "shard/statistics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <type_traits>

#include "base/assert.h"

namespace dnc::shard {

class StatisticsAccumulator::Column {
 public:
  virtual ~Column() = default;
  // Whole samples, elements one behind the other.
  virtual void Add(ByteSpan elements) = 0;
  virtual ColumnStatistics Compute() const = 0;
};

namespace {

using Int128 = __int128;
using Uint128 = unsigned __int128;

constexpr std::size_t kClassesMax = 4096;

// Integers modulo 2^192: room for the sum of 2^64 squares of 64-bit integers.
class Wide {
 public:
  void Add(Uint128 value) { AddLimbs(Low(value), High(value), 0); }
  // Subtracts a * b, both taken as signed.
  void SubtractProduct(Int128 a, Int128 b) {
    const bool negative = (a < 0) != (b < 0);
    const Uint128 x = Magnitude(a);
    const Uint128 y = Magnitude(b);
    const Uint128 low = Uint128{Low(x)} * Low(y);
    const Uint128 middle_1 = Uint128{Low(x)} * High(y);
    const Uint128 middle_2 = Uint128{High(x)} * Low(y);
    const std::uint64_t top = High(x) * High(y);
    Wide product;
    product.AddLimbs(Low(low), High(low), top);
    product.AddLimbs(0, Low(middle_1), High(middle_1));
    product.AddLimbs(0, Low(middle_2), High(middle_2));
    if (!negative) product.Negate();
    AddLimbs(product.limbs_[0], product.limbs_[1], product.limbs_[2]);
  }
  long double value() const {
    return (static_cast<long double>(limbs_[2]) * 0x1p64L + static_cast<long double>(limbs_[1])) *
               0x1p64L +
           static_cast<long double>(limbs_[0]);
  }

 private:
  static std::uint64_t Low(Uint128 value) { return static_cast<std::uint64_t>(value); }
  static std::uint64_t High(Uint128 value) { return static_cast<std::uint64_t>(value >> 64); }
  static Uint128 Magnitude(Int128 value) {
    return value < 0 ? -static_cast<Uint128>(value) : static_cast<Uint128>(value);
  }
  void AddLimbs(std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    const Uint128 sum_0 = Uint128{limbs_[0]} + a;
    const Uint128 sum_1 = Uint128{limbs_[1]} + b + High(sum_0);
    limbs_ = {Low(sum_0), Low(sum_1), limbs_[2] + c + High(sum_1)};
  }
  void Negate() {
    for (std::uint64_t& limb : limbs_) limb = ~limb;
    AddLimbs(1, 0, 0);
  }

  std::array<std::uint64_t, 3> limbs_{};
};

// Mean and standard deviation from exact sums. With m the integer nearest to the
// mean, D = sum((x - m)^2) = squares - m * (sum + rest) is still exact, and the rest
// of the arithmetic loses no digits: |rest| <= count / 2, so that the variance
// D / count - (rest / count)^2 is at least half of its first term.
void SetMoments(std::uint64_t count, Int128 sum, Wide squares, ColumnStatistics* statistics) {
  const Int128 n = count;
  Int128 nearest = sum / n;
  Int128 rest = sum - nearest * n;
  if (2 * rest > n) {
    ++nearest;
    rest -= n;
  } else if (2 * rest < -n) {
    --nearest;
    rest += n;
  }
  squares.SubtractProduct(nearest, sum + rest);
  const long double fraction = static_cast<long double>(rest) / static_cast<long double>(n);
  const long double variance = squares.value() / static_cast<long double>(n) - fraction * fraction;
  statistics->mean = static_cast<double>(static_cast<long double>(nearest) + fraction);
  statistics->standard_deviation = static_cast<double>(std::sqrt(std::max(variance, 0.0L)));
}

// For columns of table rows: mean and deviation of every element of the row.
template <typename Sums>
std::vector<Sums> MakeElementSums(const array::ColumnSpec& spec) {
  const bool is_row = spec.shape.size() == 1 && spec.shape[0] <= kElementStatisticsMax;
  return std::vector<Sums>(is_row ? static_cast<std::size_t>(spec.shape[0]) : 0);
}

// Exact sums of integers.
struct IntegerSums {
  std::uint64_t count = 0;
  Int128 sum = 0;
  Wide squares;

  void Add(Int128 value) {
    ++count;
    sum += value;
    // Unsigned, where the largest square has room; a negative value's is right modulo 2^128.
    const auto wide = static_cast<Uint128>(value);
    squares.Add(wide * wide);
  }
  void SetMoments(ColumnStatistics* statistics) const {
    if (count > 0) shard::SetMoments(count, sum, squares, statistics);
  }
};

// Adds elements, which go round the row, to the sums of their places.
template <typename T, typename Sums, typename Convert>
void AddToElements(ByteSpan elements, Convert convert, std::vector<Sums>* sums) {
  if (sums->empty()) return;
  std::size_t place = 0;
  for (std::size_t i = 0; i < elements.size(); i += sizeof(T)) {
    T value;
    std::memcpy(&value, elements.data() + i, sizeof(T));
    (*sums)[place].Add(convert(value));
    if (++place == sums->size()) place = 0;
  }
}

template <typename Sums>
void ComputeElements(const std::vector<Sums>& sums, ColumnStatistics* statistics) {
  for (const Sums& element : sums) {
    ColumnStatistics moments;
    element.SetMoments(&moments);
    statistics->element_mean.push_back(moments.mean);
    statistics->element_standard_deviation.push_back(moments.standard_deviation);
  }
}

// Elements of one byte: a histogram says everything.
template <typename T>
class ByteColumn final : public StatisticsAccumulator::Column {
 public:
  explicit ByteColumn(const array::ColumnSpec& spec)
      : is_scalar_(spec.shape.empty()), elements_(MakeElementSums<IntegerSums>(spec)) {}

  void Add(ByteSpan elements) override {
    AddToElements<T>(
        elements, [](T value) { return Int128{value}; }, &elements_);
    // Four tables, so that runs of equal bytes do not wait for one counter.
    std::size_t i = 0;
    for (; i + 4 <= elements.size(); i += 4) {
      for (std::size_t k = 0; k < 4; ++k)
        ++tables_[k][std::to_integer<std::uint8_t>(elements[i + k])];
    }
    for (; i < elements.size(); ++i) ++tables_[0][std::to_integer<std::uint8_t>(elements[i])];
  }

  ColumnStatistics Compute() const override {
    std::map<std::int64_t, std::uint64_t> counts;
    for (std::size_t byte = 0; byte < 256; ++byte) {
      std::uint64_t count = 0;
      for (const auto& table : tables_) count += table[byte];
      if (count > 0) counts[static_cast<T>(byte)] += count;
    }
    ColumnStatistics statistics;
    ComputeElements(elements_, &statistics);
    if (counts.empty()) return statistics;
    Int128 sum = 0;
    Uint128 squares = 0;
    for (const auto& [value, count] : counts) {
      statistics.count += count;
      sum += Int128{value} * count;
      squares += Uint128(value * value) * count;
    }
    Wide wide;
    wide.Add(squares);
    SetMoments(statistics.count, sum, wide, &statistics);
    statistics.min = static_cast<double>(counts.begin()->first);
    statistics.max = static_cast<double>(counts.rbegin()->first);
    if (is_scalar_) statistics.class_counts = std::move(counts);
    return statistics;
  }

 private:
  const bool is_scalar_;
  std::array<std::array<std::uint64_t, 256>, 4> tables_{};
  std::vector<IntegerSums> elements_;
};

// Integers of 2 to 8 bytes.
template <typename T>
class IntegerColumn final : public StatisticsAccumulator::Column {
 public:
  explicit IntegerColumn(const array::ColumnSpec& spec)
      : counting_(spec.shape.empty()), elements_(MakeElementSums<IntegerSums>(spec)) {}

  void Add(ByteSpan elements) override {
    AddToElements<T>(
        elements, [](T value) { return Int128{value}; }, &elements_);
    for (std::size_t i = 0; i < elements.size(); i += sizeof(T)) {
      T value;
      std::memcpy(&value, elements.data() + i, sizeof(T));
      min_ = std::min(min_, value);
      max_ = std::max(max_, value);
      sums_.Add(value);
      if (counting_) Count(value);
    }
  }

  ColumnStatistics Compute() const override {
    ColumnStatistics statistics;
    ComputeElements(elements_, &statistics);
    if (sums_.count == 0) return statistics;
    statistics.count = sums_.count;
    sums_.SetMoments(&statistics);
    statistics.min = static_cast<double>(min_);
    statistics.max = static_cast<double>(max_);
    statistics.class_counts = class_counts_;
    return statistics;
  }

 private:
  void Count(T value) {
    if (std::is_same_v<T, std::uint64_t> && value > static_cast<T>(INT64_MAX)) {
      counting_ = false;  // No class is numbered like this.
    } else {
      ++class_counts_[static_cast<std::int64_t>(value)];
      counting_ = class_counts_.size() <= kClassesMax;
    }
    if (!counting_) class_counts_.clear();
  }

  bool counting_;
  T min_ = std::numeric_limits<T>::max();
  T max_ = std::numeric_limits<T>::lowest();
  IntegerSums sums_;
  std::vector<IntegerSums> elements_;
  std::map<std::int64_t, std::uint64_t> class_counts_;
};

// Samples of varying lengths: statistics of the lengths.
class LengthColumn final : public StatisticsAccumulator::Column {
 public:
  LengthColumn() : lengths_({"", array::DType::kUint64, {1}, {}}) {}

  void Add(ByteSpan elements) override { lengths_.Add(elements); }
  ColumnStatistics Compute() const override {
    ColumnStatistics statistics = lengths_.Compute();
    statistics.element_mean.clear();
    statistics.element_standard_deviation.clear();
    return statistics;
  }

 private:
  IntegerColumn<std::uint64_t> lengths_;
};

// A sum held as an unevaluated pair of float64 (Knuth's two-sum, then renormalised
// as in Dekker's double-double arithmetic).
struct PairSum {
  double high = 0;
  double low = 0;

  void Add(double value, double value_low = 0) {
    const double sum = high + value;
    const double part = sum - high;
    const double error = (high - (sum - part)) + (value - part) + low + value_low;
    high = sum + error;
    low = error - (high - sum);
  }
  void Add(const PairSum& other) { Add(other.high, other.low); }
};

double HalfToDouble(std::uint16_t half) {
  const int exponent = half >> 10 & 31;
  const int fraction = half & 1023;
  double value = 0;
  if (exponent == 31) {
    value = fraction == 0 ? std::numeric_limits<double>::infinity()
                          : std::numeric_limits<double>::quiet_NaN();
  } else if (exponent == 0) {
    value = fraction * 0x1p-24;
  } else {
    value = std::ldexp(1024 + fraction, exponent - 25);
  }
  return (half & 0x8000) != 0 ? -value : value;
}

// The nearest float64, or the largest one in place of an overflow.
double Saturated(long double value) {
  constexpr long double kMax = std::numeric_limits<double>::max();
  if (std::isnan(value)) return static_cast<double>(kMax);
  return static_cast<double>(std::clamp(value, -kMax, kMax));
}

struct Half {
  std::uint16_t bits;
};

// mean and standard deviation of `n` > 0 values from their sums.
PairSum DividedPair(const PairSum& sum, long double n) {
  const double high = static_cast<double>(sum.high / n);
  // What `high` missed: (sum - high * n) / n, of which the product is exact in
  // two parts.
  const double count = static_cast<double>(n);
  const double product = high * count;
  const double product_low = std::fma(high, count, -product);
  const double low = (((sum.high - product) - product_low) + sum.low) / count;
  PairSum result;
  result.Add(high, low);
  return result;
}

void SetFloatMoments(std::uint64_t count, const PairSum& sum, const PairSum& squares,
                     ColumnStatistics* statistics) {
  // Divided before the subtraction, in pairs, since the two terms may be near.
  const long double n = static_cast<long double>(count);
  const PairSum mean = DividedPair(sum, n);
  PairSum variance = DividedPair(squares, n);
  variance.Add(-mean.high * mean.high, -std::fma(mean.high, mean.high, -mean.high * mean.high));
  variance.Add(-2 * mean.high * mean.low, 0);
  statistics->mean = Saturated(static_cast<long double>(mean.high) + mean.low);
  // Rounding can leave a tiny negative variance where all elements are equal.
  const double v = std::isnan(variance.high) ? variance.high : std::max(variance.high, 0.0);
  statistics->standard_deviation = Saturated(std::sqrt(static_cast<long double>(v)));
}

// Of finite floats.
template <bool kSquaresAreExact>
struct FloatSums {
  std::uint64_t count = 0;
  PairSum sum;
  PairSum squares;

  void Add(double value) {
    if (!std::isfinite(value)) return;
    ++count;
    sum.Add(value);
    const double square = value * value;
    squares.Add(square, kSquaresAreExact ? 0 : std::fma(value, value, -square));
  }
  void SetMoments(ColumnStatistics* statistics) const {
    if (count > 0) SetFloatMoments(count, sum, squares, statistics);
  }
};

template <typename T>
class FloatColumn final : public StatisticsAccumulator::Column {
 public:
  // Lanes take turns by the element's number in the whole split, so that the
  // additions do not wait for each other and blocks do not matter.
  static constexpr std::size_t kLaneCount = 4;
  // The square of a float16 or float32 is exact in a float64.
  using ElementSums = FloatSums<(sizeof(T) < 8)>;

  explicit FloatColumn(const array::ColumnSpec& spec)
      : elements_(MakeElementSums<ElementSums>(spec)) {}

  void Add(ByteSpan elements) override {
    AddToElements<T>(
        elements, [](T value) { return ToDouble(value); }, &elements_);
    for (std::size_t i = 0; i < elements.size(); i += sizeof(T)) {
      T element;
      std::memcpy(&element, elements.data() + i, sizeof(T));
      AddValue(ToDouble(element));
    }
  }

  ColumnStatistics Compute() const override {
    ColumnStatistics statistics;
    statistics.count = count_;
    statistics.nonfinite_count = nonfinite_;
    ComputeElements(elements_, &statistics);
    const std::uint64_t finite = count_ - nonfinite_;
    if (finite == 0) return statistics;
    PairSum sum;
    PairSum squares;
    for (std::size_t lane = 0; lane < kLaneCount; ++lane) {
      sum.Add(sums_[lane]);
      squares.Add(squares_[lane]);
    }
    SetFloatMoments(finite, sum, squares, &statistics);
    // Without the sign of a zero, which would depend on the order of equals.
    statistics.min = min_ + 0.0;
    statistics.max = max_ + 0.0;
    return statistics;
  }

 private:
  static double ToDouble(double value) { return value; }
  static double ToDouble(float value) { return value; }
  static double ToDouble(Half value) { return HalfToDouble(value.bits); }

  void AddValue(double value) {
    const std::size_t lane = count_++ % kLaneCount;
    if (!std::isfinite(value)) {
      ++nonfinite_;
      return;
    }
    min_ = std::min(min_, value);
    max_ = std::max(max_, value);
    sums_[lane].Add(value);
    const double square = value * value;
    // The square of a float16 or float32 is exact in a float64.
    const double square_low = sizeof(T) == 8 ? std::fma(value, value, -square) : 0;
    squares_[lane].Add(square, square_low);
  }

  std::uint64_t count_ = 0;
  std::uint64_t nonfinite_ = 0;
  double min_ = std::numeric_limits<double>::infinity();
  double max_ = -std::numeric_limits<double>::infinity();
  std::array<PairSum, kLaneCount> sums_{};
  std::array<PairSum, kLaneCount> squares_{};
  std::vector<ElementSums> elements_;
};

std::unique_ptr<StatisticsAccumulator::Column> MakeColumn(const array::ColumnSpec& spec) {
  using array::DType;
  if (!spec.is_array()) return std::make_unique<LengthColumn>();
  switch (spec.dtype) {
    case DType::kBool:
    case DType::kUint8:
      return std::make_unique<ByteColumn<std::uint8_t>>(spec);
    case DType::kInt8:
      return std::make_unique<ByteColumn<std::int8_t>>(spec);
    case DType::kInt16:
      return std::make_unique<IntegerColumn<std::int16_t>>(spec);
    case DType::kUint16:
      return std::make_unique<IntegerColumn<std::uint16_t>>(spec);
    case DType::kInt32:
      return std::make_unique<IntegerColumn<std::int32_t>>(spec);
    case DType::kUint32:
      return std::make_unique<IntegerColumn<std::uint32_t>>(spec);
    case DType::kInt64:
      return std::make_unique<IntegerColumn<std::int64_t>>(spec);
    case DType::kUint64:
      return std::make_unique<IntegerColumn<std::uint64_t>>(spec);
    case DType::kFloat16:
      return std::make_unique<FloatColumn<Half>>(spec);
    case DType::kFloat32:
      return std::make_unique<FloatColumn<float>>(spec);
    case DType::kFloat64:
      return std::make_unique<FloatColumn<double>>(spec);
  }
  DNC_ASSERT(!"a dtype without statistics");
}

}  // namespace

StatisticsAccumulator::StatisticsAccumulator(const std::vector<array::ColumnSpec>& columns) {
  for (const array::ColumnSpec& column : columns) columns_.push_back(MakeColumn(column));
}

StatisticsAccumulator::~StatisticsAccumulator() = default;
StatisticsAccumulator::StatisticsAccumulator(StatisticsAccumulator&&) noexcept = default;
StatisticsAccumulator& StatisticsAccumulator::operator=(StatisticsAccumulator&&) noexcept = default;

void StatisticsAccumulator::Add(const array::SampleBlock& block) {
  DNC_ASSERT(block.columns.size() == columns_.size());
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    if (c >= block.ends.size() || block.ends[c].empty()) {
      columns_[c]->Add(block.columns[c]);
      continue;
    }
    lengths_.clear();
    std::uint32_t begin = 0;
    for (const std::uint32_t end : block.ends[c]) {
      lengths_.push_back(end - begin);
      begin = end;
    }
    columns_[c]->Add(std::as_bytes(std::span(lengths_)));
  }
  samples_ += block.sample_count;
}

std::uint64_t StatisticsAccumulator::samples() const { return samples_; }

std::vector<ColumnStatistics> StatisticsAccumulator::Compute() const {
  std::vector<ColumnStatistics> statistics;
  for (const auto& column : columns_) statistics.push_back(column->Compute());
  return statistics;
}

}  // namespace dnc::shard
