// Keras's update rules over one flat vector of weights: plain loops without
// libtorch, each weight and each slot read and written once. The same batches give
// the same bits, whatever the number of threads.

#pragma once

#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "base/result.h"
#include "model/model.h"
#include "model/optimizer_state.h"

namespace dnc::trainer_torch {

// The numbers of one step that are the same for all weights.
struct StepRates {
  float rate = 0;           // The learning rate.
  float step_rate = 0;      // With the correction of Adam and Adamax.
  float gradient_part = 0;  // Nadam: the shares of g and m, and v's correction.
  float momentum_part = 0;
  float variance_correction = 1;
};

// Counts a step in `*state`, and gives its numbers.
StepRates BeginOptimizerStep(const model::Optimizer& optimizer, model::OptimizerSlots* state);

class OptimizerState {
 public:
  // The initial state for `weight_count` weights.
  OptimizerState(const model::Optimizer& optimizer, std::uint64_t weight_count);

  // Begins a step; then Update() once for each trainable tensor.
  void BeginStep();
  // weights[0 .. count) are elements offset .. of the flat vector. Clipping changes
  // `gradients`.
  void Update(float* weights, float* gradients, std::uint64_t offset, std::uint64_t count);

  // Whether Update() is weights -= rate() * gradients and nothing else.
  bool is_plain() const;
  float rate() const { return rates_.rate; }  // The learning rate of the current step.

  // Whether ClipTogether() must see all gradients of a step before the first Update().
  bool clips_together() const { return optimizer_.global_clipnorm != 0; }
  // Scales all gradients of a step so that their common norm is at most
  // global_clipnorm.
  void ClipTogether(std::span<const std::span<float>> gradients) const;

  void Reset();
  // Everything, for exact resumption (model/optimizer_state.h).
  Bytes Save() const;
  // Errors: kCorrupt, not a state of this optimizer and number of weights. The
  // state is unchanged then.
  Status Load(ByteSpan bytes);

  std::uint64_t step_count() const { return state_.step_count; }

 private:
  model::Optimizer optimizer_;
  std::uint64_t weight_count_;
  model::OptimizerSlots state_;
  StepRates rates_;  // Of the current step.
};

}  // namespace dnc::trainer_torch
