// Keras's losses and "accuracy" with the gradient by the output, over plain memory. The
// losses that most models have are written by hand; the others go through loss.h and
// autograd, from the output on.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "array/column.h"
#include "base/result.h"
#include "model/model.h"
#include "trainer/engine.h"
#include "trainer_torch/figure_sums.h"
#include "trainer_torch/loss.h"

namespace dnc::trainer_torch {

// Keeps buffers from batch to batch. Not thread-safe.
class BatchLoss {
 public:
  // Of a model with one output; where that is not trained, only of its shape.
  BatchLoss(const model::Model& model, std::span<const array::ColumnSpec> y);

  // Whether Compute() takes the output before its last activation.
  bool takes_logits() const { return loss_.takes_logits(); }

  // Loss and accuracy of the outputs of `batch`'s samples, weighted as it says, and in
  // `gradient`, where it is not null, the loss's derivative by each element of `output`.
  // Errors: kInvalidArgument, a class out of range; a loss that is not finite.
  Result<trainer::BatchResult> Compute(const float* output, const trainer::Batch& batch,
                                       float* gradient);

 private:
  // Into classes_ or targets_.
  Status ReadLabels(ByteSpan y, std::int64_t samples);
  // Of `rows` outputs of the model's width. Values and gradients are as of a sum over all
  // elements or rows, times `share`.
  double SparseCrossentropy(const float* output, std::int64_t rows, double share, float* gradient);
  double CategoricalCrossentropy(const float* output, std::int64_t rows, double share,
                                 float* gradient);
  double BinaryCrossentropy(const float* output, std::int64_t count, double share,
                            float* gradient) const;
  double SquaredError(const float* output, std::int64_t count, double share, float* gradient) const;
  std::uint64_t CountCorrect(const float* output, std::int64_t rows, std::int64_t samples) const;
  Result<trainer::BatchResult> ByAutograd(const float* output, const trainer::Batch& batch,
                                          float* gradient) const;
  // Of the model's figures.
  Result<std::vector<double>> Sums(const float* output, const trainer::Batch& batch,
                                   double loss) const;
  Result<trainer::BatchResult> ByHand(const float* output, const trainer::Batch& batch,
                                      float* gradient);

  Loss loss_;
  model::LossConfig config_;
  FigureSums figures_;
  model::Activation last_activation_ = model::Activation::kLinear;
  array::ColumnSpec y_;
  array::Shape output_shape_;
  std::int64_t width_ = 1;         // Of the output's last axis.
  std::int64_t output_count_ = 1;  // Elements of a sample's output.
  bool by_hand_ = false;
  bool by_threshold_ = false;  // The accuracy.
  float threshold_ = 0.5f;
  std::vector<std::int64_t> classes_;  // Of the batch, a row each; or
  std::vector<float> targets_;         // an element each.
};

}  // namespace dnc::trainer_torch
