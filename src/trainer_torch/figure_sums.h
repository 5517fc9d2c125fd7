// The sums of a model's figures (model/figures.h) over one batch.

#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "model/figures.h"
#include "trainer_torch/loss.h"

namespace dnc::trainer_torch {

class FigureSums {
 public:
  FigureSums() = default;  // Of no figures.
  explicit FigureSums(const model::Model& model);

  std::size_t count() const { return model::SumCountOf(figures_); }

  // Adds to `sums`, which has count() elements, what the batch says of the figures of one
  // output: its values behind the activation, (samples, ...), and its own loss. Masked
  // steps count for nothing. No gradient is kept.
  void Add(int output, const at::Tensor& values, const Targets& targets, const at::Tensor& mask,
           double loss, std::span<double> sums) const;

 private:
  std::vector<model::Figure> figures_;
  std::vector<Loss> losses_;  // Of each figure that is a loss as a metric.
};

}  // namespace dnc::trainer_torch
