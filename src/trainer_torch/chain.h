// A model that is a chain of simple layers, trained without autograd: each stage has
// its backward pass written by hand, buffers are allocated once, and each weight is
// updated as soon as its gradient is there. What it gives differs from autograd's by
// rounding only.

#pragma once

#include <array>
#include <memory>
#include <vector>

#include "base/result.h"
#include "trainer/engine.h"
#include "trainer_torch/batch_loss.h"
#include "trainer_torch/stage.h"
#include "trainer_torch/weight_updates.h"

namespace dnc::trainer_torch {

// Not thread-safe.
class Chain {
 public:
  // Null where the model is not such a chain. `weights` is the flat vector; it and
  // `optimizer` must outlive the chain.
  static std::unique_ptr<Chain> Make(const model::Model& model,
                                     const trainer::TrainerOptions& options, float* weights,
                                     OptimizerState* optimizer);

  // As Engine::Run().
  Result<trainer::BatchResult> Run(const trainer::Batch& batch, std::vector<float>* outputs);

 private:
  struct Link {
    std::unique_ptr<Stage> stage;
    std::size_t layer;          // Of the model; dropout's seeds depend on it.
    std::int64_t output_count;  // Floats of a sample.
    bool trained;               // It or a stage before it has weights that are trained.
    std::vector<float> output;  // Of the batch.
  };

  Chain(const model::Model& model, const trainer::TrainerOptions& options, float* weights,
        OptimizerState* optimizer);

  std::size_t AddLayers(const model::Model& model, std::size_t index, const float* weights);
  std::size_t AddConv(const model::Model& model, std::size_t index, const float* weights);
  void Add(std::unique_ptr<Stage> stage, const model::Layer& layer, std::size_t index);
  std::vector<float>& GradientOf(std::size_t link) { return gradients_[link % 2]; }
  void Reserve(std::int64_t samples);
  // The samples as floats.
  const float* ReadInput(const trainer::Batch& batch);
  const float* Forward(const trainer::Batch& batch, const float* input);
  void Backward(const trainer::Batch& batch, const float* input);

  trainer::TrainerOptions options_;
  BatchLoss loss_;
  WeightUpdates updates_;
  std::vector<Link> links_;
  // What is left out of the last stage, since the loss may take logits.
  model::Activation last_activation_ = model::Activation::kLinear;
  std::int64_t output_width_ = 1;
  std::int64_t input_count_;  // Floats of a sample.
  std::int64_t output_count_;
  std::int64_t reserved_samples_ = 0;
  double sample_flops_;
  bool has_conv_ = false;
  std::vector<float> input_;
  // Of the loss by the outputs of stages: by turns, since one is needed to find the one
  // before it and not longer.
  std::array<std::vector<float>, 2> gradients_;
};

}  // namespace dnc::trainer_torch
