// The fold of a step's results into new weights: a pure function of the weights
// and the results in task order, so that it repeats bit by bit whatever the order
// of arrival.
//
// Sample-weighted mean: w' = w + sum(n_i * d_i) / sum(n_i), where d_i is result i's
// difference of weights and n_i its samples. Sums are in float64, in task order.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace dnc::aggregate {

class WeightedMean {
 public:
  explicit WeightedMean(std::vector<float> weights);

  // Adds one result (an update container of weight differences). Call in task order.
  // Errors: those of update::Decoder; kInvalidArgument, a value that is not finite,
  // or zero samples. After an error the fold must be abandoned.
  Status Add(ByteSpan update, std::uint64_t samples);

  // The new weights; the fold is spent. With no result added: the old weights.
  std::vector<float> Finish();

 private:
  std::vector<float> weights_;
  std::vector<double> sums_;
  std::uint64_t samples_ = 0;
};

}  // namespace dnc::aggregate
