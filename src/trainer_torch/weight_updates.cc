#include "trainer_torch/weight_updates.h"

#include <algorithm>
#include <span>

namespace dnc::trainer_torch {

WeightUpdates::WeightUpdates(const model::Model& model, float* values, OptimizerState* optimizer)
    : specs_(model.weights),
      trained_(model.weights.size(), false),
      values_(values),
      optimizer_(optimizer),
      adds_directly_(optimizer->is_plain()) {
  for (const model::Layer& layer : model.layers) {
    for (int i = 0; i < layer.weight_count; ++i) {
      const int weight = layer.first_weight + i;
      trained_[static_cast<std::size_t>(weight)] = layer.trainable && Spec(weight).trainable;
    }
  }
  if (optimizer->clips_together()) gradients_.resize(model.weight_count);
}

void WeightUpdates::Begin() { optimizer_->BeginStep(); }

float* WeightUpdates::GradientOf(int weight) {
  if (optimizer_->clips_together()) return gradients_.data() + Spec(weight).offset;
  gradients_.resize(std::max(gradients_.size(), Spec(weight).count));
  return gradients_.data();
}

void WeightUpdates::Apply(int weight) {
  if (optimizer_->clips_together()) return;  // When all are there.
  const model::WeightSpec& spec = Spec(weight);
  optimizer_->Update(values(weight), gradients_.data(), spec.offset, spec.count);
}

void WeightUpdates::End() {
  if (!optimizer_->clips_together()) return;
  std::vector<std::span<float>> all;
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    if (trained_[i]) all.emplace_back(gradients_.data() + specs_[i].offset, specs_[i].count);
  }
  optimizer_->ClipTogether(all);
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    const model::WeightSpec& spec = specs_[i];
    if (!trained_[i]) continue;
    optimizer_->Update(values_ + spec.offset, gradients_.data() + spec.offset, spec.offset,
                       spec.count);
  }
}

}  // namespace dnc::trainer_torch
