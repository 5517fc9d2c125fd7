// Keras's update rules over one flat vector of weights: plain loops without
// libtorch, each weight and each slot read and written once.
//
// Formulas: tf.keras 2 (optimizer_v2): SGD v = momentum v - lr g, w += v, with
// Nesterov w += momentum v - lr g; Adam lr_t = lr sqrt(1 - beta_2^t) / (1 - beta_1^t),
// w -= lr_t m / (sqrt(v) + epsilon), with amsgrad over the largest v so far.

#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "model/model.h"

namespace dnc::trainer_torch {

class OptimizerState {
 public:
  // The initial state for `weight_count` weights.
  OptimizerState(const model::Optimizer& optimizer, std::uint64_t weight_count);

  // Begins a step; then Update() once for each trainable tensor.
  void BeginStep();
  // weights[0 .. count) are elements offset .. of the flat vector.
  void Update(float* weights, const float* gradients, std::uint64_t offset, std::uint64_t count);

  void Reset();
  // Everything, for exact resumption.
  Bytes Save() const;
  // Errors: kCorrupt, not a state of this optimizer and number of weights. The
  // state is unchanged then.
  Status Load(ByteSpan bytes);

  std::uint64_t step_count() const { return step_count_; }

 private:
  int slot_count() const;

  model::Optimizer optimizer_;
  std::uint64_t weight_count_;
  std::uint64_t step_count_ = 0;
  float step_rate_ = 0;  // The learning rate, or Adam's lr_t.
  // One value a weight: SGD's velocity; or Adam's m, v and with amsgrad the largest v.
  std::vector<std::vector<float>> slots_;
};

}  // namespace dnc::trainer_torch
