#include "aggregate/aggregate.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <string>

#include "base/assert.h"
#include "update/update.h"

namespace dnc::aggregate {
namespace {

constexpr std::uint64_t kSamplesMax = std::uint64_t{1} << 53;  // Exact in a float64.

// sums[i] += factor * differences[i], 16 elements at a time so that it vectorises.
// One rounding for the product and one for the sum, whatever the processor: the room
// is built without contraction into fused multiply-add.
void Accumulate(std::span<const float> differences, double factor, double* __restrict sums) {
  constexpr std::size_t kLanes = 16;
  const float* __restrict in = differences.data();
  std::size_t i = 0;
  for (; i + kLanes <= differences.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      sums[i + lane] += factor * static_cast<double>(in[i + lane]);
    }
  }
  for (; i < differences.size(); ++i) sums[i] += factor * static_cast<double>(in[i]);
}

}  // namespace

WeightedMean::WeightedMean(std::vector<float> weights)
    : weights_(std::move(weights)), sums_(weights_.size()) {}

Status WeightedMean::Add(ByteSpan update, std::uint64_t samples) {
  DNC_ASSERT(sums_.size() == weights_.size());
  if (samples == 0 || samples > kSamplesMax - samples_) {
    return Error{ErrorCode::kInvalidArgument,
                 "a result of " + std::to_string(samples) +
                     " samples; expected at least 1, and at most 2^53 in a step"};
  }
  DNC_ASSIGN(update::Decoder decoder, update::Decoder::Open(update, weights_.size()));
  const auto factor = static_cast<double>(samples);
  std::size_t begin = 0;
  while (begin < sums_.size()) {
    DNC_ASSIGN(const std::span<const float> differences, decoder.Next());
    if (!update::AllFinite(differences)) {
      std::size_t place = 0;
      while (std::isfinite(differences[place])) ++place;
      return Error{ErrorCode::kInvalidArgument,
                   "an update whose value " + std::to_string(begin + place) + " is " +
                       (std::isnan(differences[place]) ? "NaN" : "infinite") +
                       "; all must be finite"};
    }
    Accumulate(differences, factor, sums_.data() + begin);
    begin += differences.size();
  }
  samples_ += samples;
  return {};
}

std::vector<float> WeightedMean::Finish() {
  if (samples_ > 0) {
    const auto total = static_cast<double>(samples_);
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      weights_[i] = static_cast<float>(static_cast<double>(weights_[i]) + sums_[i] / total);
    }
  }
  sums_ = {};
  return std::move(weights_);
}

}  // namespace dnc::aggregate
