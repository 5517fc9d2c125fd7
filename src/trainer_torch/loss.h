// Keras's losses and its "accuracy", over one batch.
//
// Where the last activation is a softmax or sigmoid and the loss is the matching
// cross-entropy, Keras computes it from the values before the activation, which is
// exact where probabilities would round to 0 or 1; so does this.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "array/column.h"
#include "base/bytes.h"
#include "base/result.h"
#include "model/model.h"

namespace dnc::trainer_torch {

struct Targets {
  at::Tensor values;   // Float, (samples, ...) in the output's shape; or
  at::Tensor classes;  // int64, one for each row of classes.
  at::Tensor weights;  // Float, (samples,): how much each counts; undefined: all the same.

  // Labels of 0 and 1 become -1 and 1, as Keras's hinge losses take them.
  void MakeSigned();
  // Views them; empty for none.
  void SetWeights(std::span<const float> sample_weights);
};

class Loss {
 public:
  Loss() = default;
  // Of the output `output` of a compiled model, which is trained.
  Loss(const model::Model& model, int output);
  // Of an output of this shape, after its activation.
  Loss(const model::LossConfig& config, const array::Shape& output_shape);

  // Whether Value() and CountCorrect() take the output before its last activation.
  bool takes_logits() const { return takes_logits_; }

  // Errors: kInvalidArgument, a class out of range.
  Result<Targets> ReadTargets(const array::ColumnSpec& y, ByteSpan bytes,
                              std::int64_t samples) const;
  // The mean over the batch, or with Keras's reduction "sum" the sum over it of each
  // sample's means along the last axis: a scalar that autograd differentiates. Where
  // `mask` is defined (recurrent.h), masked steps count for nothing, and the mean is over
  // the others; it is not a number where there are none, as in Keras.
  // Requires: MaskFits(output, mask).
  at::Tensor Value(const at::Tensor& output, const Targets& targets,
                   const at::Tensor& mask = {}) const;
  // Whether `mask` has an element for each value of the loss, or is undefined.
  static bool MaskFits(const at::Tensor& output, const at::Tensor& mask);
  // Of each row of the output, (samples, ...) without its last axis: its mean, or what the
  // loss of classes is of it.
  at::Tensor Rows(const at::Tensor& output, const Targets& targets) const;
  // Samples whose prediction is right, by the model's AccuracyRule. An output with
  // several predictions a sample counts by their share, without the masked ones.
  std::uint64_t CountCorrect(const at::Tensor& output, const Targets& targets,
                             const at::Tensor& mask = {}) const;

 private:
  // Of each element, or of each row.
  at::Tensor Values(const at::Tensor& output, const Targets& targets, bool* of_elements) const;
  // Of each row of classes; of each element.
  at::Tensor CategoricalValues(const at::Tensor& rows, const Targets& targets) const;
  at::Tensor BinaryValues(const at::Tensor& output, const at::Tensor& target) const;

  // Of each element, or undefined for a loss that RowValues() computes of each row.
  at::Tensor ElementValues(const at::Tensor& output, const at::Tensor& target) const;
  at::Tensor RowValues(const at::Tensor& output, const at::Tensor& target) const;

  model::LossKind kind_ = model::LossKind::kMeanSquaredError;
  bool from_logits_ = false;  // What the loss is given are logits.
  bool takes_logits_ = false;
  double label_smoothing_ = 0;
  double huber_delta_ = 1;
  bool sum_ = false;
  model::AccuracyRule accuracy_rule_ = model::AccuracyRule::kByShape;
  double threshold_ = 0.5;  // Of what CountCorrect() is given.
  array::Shape output_shape_;
};

}  // namespace dnc::trainer_torch
