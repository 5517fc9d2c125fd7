// The rules of Trainer around an Engine: what must come before what, sizes of
// arguments, totals, and the error of a batch, which is kept and returned by every
// call until Configure() or SetWeights() begins anew.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "trainer/engine.h"

namespace dnc::trainer {

class TrainerSession {
 public:
  // `engine` must outlive the session. `threads_max` limits TrainerOptions::threads.
  TrainerSession(Engine* engine, int threads_max);

  Status Configure(const model::Model& model, const TrainerOptions& options);
  Status SetWeights(std::span<const float> weights);
  Result<std::vector<float>> GetWeights();
  Status SetOptimizerState(ByteSpan state);
  Result<Bytes> GetOptimizerState();

  // Computes one batch at once, unless an error is kept; keeps its error.
  void Run(const Batch& batch);
  const std::optional<Error>& failure() const { return failure_; }

  Result<Totals> Drain();
  Result<std::vector<float>> TakeOutputs();

  // Errors: kInvalidArgument, not configured; the kept failure.
  Status Ready() const;
  bool configured() const { return configured_; }
  // Requires: configured(), for the rest.
  const TrainerOptions& options() const { return options_; }
  std::uint64_t weight_count() const { return weight_count_; }

 private:
  Engine* engine_;
  int threads_max_;
  bool configured_ = false;
  TrainerOptions options_;
  std::uint64_t weight_count_ = 0;
  std::uint64_t output_count_ = 0;  // Elements of one sample's output.
  std::optional<Error> failure_;
  Totals totals_;
  std::vector<float> outputs_;
};

// What any Trainer checks before it touches memory: threads, batch size and the
// columns' sizes, then model::CheckColumns.
// Errors: kInvalidArgument; kTooLarge, a batch beyond kBatchBytesMax.
Status CheckTrainerOptions(const model::Model& model, const TrainerOptions& options,
                           int threads_max);

inline constexpr std::uint64_t kBatchBytesMax = std::uint64_t{4} << 30;
// Outputs kept between two TakeOutputs().
inline constexpr std::uint64_t kOutputBytesMax = std::uint64_t{4} << 30;

// Checks the size of a weights vector. Errors: kInvalidArgument, with both sizes.
Status CheckWeightCount(std::uint64_t found, std::uint64_t expected);

// Checks a batch's number of samples. Errors: kInvalidArgument, 0 or above the maximum.
Status CheckBatchSamples(std::uint64_t samples, std::uint64_t samples_max);

}  // namespace dnc::trainer
