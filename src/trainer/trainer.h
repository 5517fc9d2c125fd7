// What trains: a model with its optimizer, fed batch by batch. Implementations:
// ProcessTrainer (trainer/process_trainer.h), which talks to a dnc-trainer child,
// and FakeTrainer (trainer/fake_trainer.h), least squares for tests and simulation.
//
// Batches are handed over through slots of memory that trainer and caller share, so
// that the next batch is gathered while the last one is computed. Results are a
// function of the weights, the state, the batches, the seeds and the number of
// threads; nothing else.
//
// The error of a batch surfaces at the next call that waits (Drain, TakeOutputs,
// AcquireSlot, or a get); from then on every call returns it until Configure() or
// SetWeights() begins anew. The batches queued behind it are not computed.
//
// A Trainer is used by one thread, except Stop().

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "array/column.h"
#include "base/bytes.h"
#include "base/result.h"
#include "model/model.h"

namespace dnc::trainer {

struct TrainerOptions {
  int threads = 1;
  std::uint32_t batch_size_max = 32;
  // The model's inputs and labels, as model::FindInputs() and FindLabels() order them.
  // Without labels batches are only predicted, and the model needs no compile section.
  std::vector<array::ColumnSpec> x;
  std::vector<array::ColumnSpec> y;
  // Each sample of a kTrain batch has a weight: the loss of a batch is the sum of weight
  // times loss over the number of samples, as Keras counts it.
  bool weighted = false;
};

enum class BatchKind : std::uint8_t {
  kTrain,     // Forward, backward, optimizer step.
  kEvaluate,  // Forward in inference mode; loss and accuracy.
  kPredict,   // Forward in inference mode; outputs are kept (TakeOutputs).
  kScore,     // As kEvaluate, and outputs are kept as well.
};

// Whether a batch of the kind gives outputs to be taken.
constexpr bool KeepsOutputs(BatchKind kind) {
  return kind == BatchKind::kPredict || kind == BatchKind::kScore;
}

// Sums over the batches since the last Drain().
struct Totals {
  std::uint64_t samples = 0;
  double loss_sum = 0;  // Mean loss of each batch times its samples.
  // Of the first output that is trained: by argmax, or by threshold 0.5 for one element.
  std::uint64_t correct = 0;
  std::vector<double> sums;  // Of the model's figures (model/figures.h).

  // As if all batches had been of one.
  void Add(const Totals& other);
  double loss() const { return samples == 0 ? 0 : loss_sum / static_cast<double>(samples); }
  double accuracy() const {
    return samples == 0 ? 0 : static_cast<double>(correct) / static_cast<double>(samples);
  }
};

// Memory for one batch. Valid until the Submit that uses it.
struct BatchSlot {
  int index = -1;
  std::vector<std::span<std::byte>> x;  // Of each column batch_size_max samples.
  std::vector<std::span<std::byte>> y;
  std::span<float> weights;  // Of batch_size_max samples; empty unless weighted.
};

class Trainer {
 public:
  virtual ~Trainer() = default;

  // Builds the model, with its optimizer in the initial state and zero weights.
  // May be called again for another model.
  // Errors: those of ParseModel; kInvalidArgument, columns that do not fit;
  // kUnavailable, the trainer process died (its last words are in the message).
  virtual Status Configure(const model::Model& model, const TrainerOptions& options) = 0;

  // The flat weights in Keras's order; see model.h.
  virtual Status SetWeights(std::span<const float> weights) = 0;
  virtual Result<std::vector<float>> GetWeights() = 0;

  // Optimizer slots and step counter, opaque, for exact resumption. An empty span
  // resets the optimizer to its initial state.
  virtual Status SetOptimizerState(std::span<const std::byte> state) = 0;
  virtual Result<Bytes> GetOptimizerState() = 0;

  // Waits until a slot is free. Until the slot is submitted this gives the same one.
  virtual Result<BatchSlot> AcquireSlot() = 0;
  // Queues the first `samples` samples of the slot. `seed` drives Dropout in this
  // batch. Returns at once; errors of the computation surface at the next call.
  virtual Status Submit(const BatchSlot& slot, BatchKind kind, std::uint32_t samples,
                        std::uint64_t seed) = 0;
  // Waits for all that was queued, and returns and clears the totals.
  // Errors: kInvalidArgument, the loss is not finite, or a label is out of range.
  virtual Result<Totals> Drain() = 0;
  // Drain(), and the outputs of all kPredict and kScore batches since the last call, in
  // order. Drain() itself leaves them.
  virtual Result<std::vector<float>> TakeOutputs() = 0;

  // Ends the work within a second; every other call then fails with kCancelled.
  // Thread-safe.
  virtual void Stop() = 0;
};

}  // namespace dnc::trainer
