// The computation behind a Trainer: synchronous, one batch after the other, in one
// thread. TrainerSession (trainer/session.h) puts the rules of Trainer around it,
// and has checked every argument before it gets here.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "model/model.h"
#include "trainer/trainer.h"

namespace dnc::trainer {

struct Batch {
  BatchKind kind = BatchKind::kTrain;
  std::vector<ByteSpan> x;  // Of each column `samples` samples; valid during the call only.
  std::vector<ByteSpan> y;
  std::uint32_t samples = 0;  // At least 1.
  std::uint64_t seed = 0;
  std::span<const float> weights;  // One a sample; empty: all are 1. With kTrain only.
};

// The first samples of each column in a slot's memory.
std::vector<ByteSpan> FirstSamples(const std::vector<std::span<std::byte>>& slot,
                                   std::span<const array::ColumnSpec> columns,
                                   std::uint64_t samples);

struct BatchResult {
  double loss = 0;  // Mean over the batch. Not for kPredict.
  std::uint64_t correct = 0;
  std::vector<double> sums;  // As in Totals; not for kPredict.
};

class Engine {
 public:
  virtual ~Engine() = default;

  // Builds the model with zero weights and a fresh optimizer. The columns fit the
  // model (model::CheckColumns). On an error the engine is as if never configured.
  // Errors: kUnsupported, something that this engine cannot compute;
  // kResourceExhausted.
  virtual Status Configure(const model::Model& model, const TrainerOptions& options) = 0;

  // `weights` has the model's weight_count elements.
  virtual Status SetWeights(std::span<const float> weights) = 0;
  virtual Status GetWeights(std::span<float> weights) = 0;

  // As in Trainer. Errors: kCorrupt, not a state of this model and optimizer.
  virtual Status SetOptimizerState(ByteSpan state) = 0;
  virtual Result<Bytes> GetOptimizerState() = 0;

  // Computes one batch. With kPredict and kScore the outputs are appended to `outputs`.
  // Errors: kInvalidArgument, a label out of range or a loss that is not finite: no
  // optimizer step was made then, but moving statistics may have changed; kResourceExhausted, no
  // memory.
  virtual Result<BatchResult> Run(const Batch& batch, std::vector<float>* outputs) = 0;
};

// What Run() returns when the loss is not finite: the same words from every engine.
Error NonFiniteLoss(double loss);

}  // namespace dnc::trainer
