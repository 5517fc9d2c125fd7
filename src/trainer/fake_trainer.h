// A Trainer without libtorch, for tests and simulation: linear least squares by
// plain stochastic gradient descent, in one thread, deterministic.
//
// It takes any model whose weights are one Dense layer (kernel, and bias if used):
// features are flattened to float32, activations are ignored, and the loss is the
// mean of (prediction - target)^2. The target is the label itself, or with the
// sparse categorical loss its one-hot vector. Momentum and Adam are refused.

#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "trainer/engine.h"
#include "trainer/trainer.h"

namespace dnc::trainer {

// The computation alone, for a server of the protocol.
std::unique_ptr<Engine> MakeLeastSquaresEngine();

class FakeTrainer final : public Trainer {
 public:
  FakeTrainer();
  ~FakeTrainer() override;

  Status Configure(const model::Model& model, const TrainerOptions& options) override;
  Status SetWeights(std::span<const float> weights) override;
  Result<std::vector<float>> GetWeights() override;
  Status SetOptimizerState(std::span<const std::byte> state) override;
  Result<Bytes> GetOptimizerState() override;
  Result<BatchSlot> AcquireSlot() override;
  Status Submit(const BatchSlot& slot, BatchKind kind, std::uint32_t samples,
                std::uint64_t seed) override;
  Result<Totals> Drain() override;
  Result<std::vector<float>> TakeOutputs() override;
  void Stop() override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dnc::trainer
