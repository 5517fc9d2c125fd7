// Keras's losses and its "accuracy", over one batch.
//
// Where the last activation is a softmax or sigmoid and the loss is the matching
// cross-entropy, Keras computes it from the values before the activation, which is
// exact where probabilities would round to 0 or 1; so does this.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "array/column.h"
#include "base/bytes.h"
#include "base/result.h"
#include "model/model.h"

namespace dnc::trainer_torch {

struct Targets {
  at::Tensor values;   // Float, (samples, ...) in the output's shape; or
  at::Tensor classes;  // int64, one for each row of classes.
};

class Loss {
 public:
  Loss() = default;
  explicit Loss(const model::Model& model);

  // Whether Value() and CountCorrect() take the output before its last activation.
  bool takes_logits() const { return takes_logits_; }

  // Errors: kInvalidArgument, a class out of range.
  Result<Targets> ReadTargets(const array::ColumnSpec& y, ByteSpan bytes,
                              std::int64_t samples) const;
  // The mean over the batch, a scalar that autograd differentiates.
  at::Tensor Value(const at::Tensor& output, const Targets& targets) const;
  // Samples whose prediction is right, as Keras's "accuracy" picks the rule: an
  // output of one value by threshold 0.5, others by argmax. An output with several
  // predictions a sample counts by their share.
  std::uint64_t CountCorrect(const at::Tensor& output, const Targets& targets) const;

 private:
  at::Tensor CategoricalValue(const at::Tensor& rows, const Targets& targets) const;
  at::Tensor BinaryValue(const at::Tensor& output, const at::Tensor& target) const;

  model::LossKind kind_ = model::LossKind::kMeanSquaredError;
  bool from_logits_ = false;  // What the loss is given are logits.
  bool takes_logits_ = false;
  double threshold_ = 0.5;  // Of what CountCorrect() is given.
  array::Shape output_shape_;
};

}  // namespace dnc::trainer_torch
