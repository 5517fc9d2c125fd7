// Statistics of the columns of a split, gathered while its samples stream by: count,
// mean, standard deviation, min, max and class counts, as the manifest states them.
//
// The result depends on the samples and their order alone, not on how they were cut
// into blocks. Integers are summed exactly. Floats are summed in pairs of float64 (an
// error of about 2^-100 of the sum of magnitudes). NaN and infinities are left out of
// mean, standard deviation, min and max, and counted in `nonfinite_count`; with no
// finite element these four are 0. A result beyond float64 becomes its largest value.
//
// Not thread-safe.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "array/column.h"
#include "shard/manifest.h"

namespace dnc::shard {

class StatisticsAccumulator {
 public:
  explicit StatisticsAccumulator(const std::vector<array::ColumnSpec>& columns);
  ~StatisticsAccumulator();
  StatisticsAccumulator(StatisticsAccumulator&&) noexcept;
  StatisticsAccumulator& operator=(StatisticsAccumulator&&) noexcept;

  // Adds all samples of `block`.
  // Requires: columns and sizes that fit the specs.
  void Add(const array::SampleBlock& block);

  std::uint64_t samples() const;
  // Of all samples so far, one a column; may be called at any time.
  std::vector<ColumnStatistics> Compute() const;

  class Column;  // One column's sums; an implementation a kind of dtype.

 private:
  std::uint64_t samples_ = 0;
  std::vector<std::uint64_t> lengths_;  // Of a block's samples of varying length.
  std::vector<std::unique_ptr<Column>> columns_;
};

}  // namespace dnc::shard
