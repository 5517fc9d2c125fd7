// The weights of a model while it is trained without autograd: the backward pass gives
// each weight's gradient here when it has it, and the optimizer's rule is applied at
// once, so that no gradient outlives its use.

#pragma once

#include <cstdint>
#include <vector>

#include "model/model.h"
#include "trainer_torch/optimizer.h"

namespace dnc::trainer_torch {

// In a step: Begin(), then for each trained weight GradientOf(), filled, and Apply(); or
// AddDirectly() where that is allowed; then End(). A weight must not be needed any more when
// its gradient is applied.
class WeightUpdates {
 public:
  // `values` is the flat vector. Both pointers must outlive this.
  WeightUpdates(const model::Model& model, float* values, OptimizerState* optimizer);

  bool trains(int weight) const { return trained_[static_cast<std::size_t>(weight)]; }
  float* values(int weight) const { return values_ + Spec(weight).offset; }

  void Begin();
  // Memory for the gradient of `weight`; valid until its Apply(). One at a time.
  float* GradientOf(int weight);
  void Apply(int weight);
  // Whether the step is values -= rate() * gradient and nothing else. A product can then
  // be added to values() itself, and neither GradientOf() nor Apply() is called.
  bool adds_directly() const { return adds_directly_; }
  float rate() const { return optimizer_->rate(); }
  void End();

 private:
  const model::WeightSpec& Spec(int weight) const {
    return specs_[static_cast<std::size_t>(weight)];
  }

  std::vector<model::WeightSpec> specs_;
  std::vector<bool> trained_;
  float* values_;
  OptimizerState* optimizer_;
  bool adds_directly_;
  // All gradients where they are clipped together, else of one weight.
  std::vector<float> gradients_;
};

}  // namespace dnc::trainer_torch
