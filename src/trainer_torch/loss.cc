// Formulas: keras/losses.py of Keras 2.15, and keras/backend.py there for the
// cross-entropies. Every loss is a mean along the last axis (a sum for the
// cross-entropies of classes, the divergence and the similarity), then reduced over
// all samples and the axes between.

#include "trainer_torch/loss.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "trainer/convert.h"

namespace dnc::trainer_torch {

namespace {

using model::Activation;
using model::LossKind;

constexpr double kKerasEpsilon = 1e-7;

bool IsCategorical(LossKind kind) {
  return kind == LossKind::kCategoricalCrossentropy ||
         kind == LossKind::kSparseCategoricalCrossentropy;
}

// Whether the layer ends in the activation that `kind` is the cross-entropy of.
bool EndsInMatchingActivation(const model::Layer& last, LossKind kind) {
  const bool has_activation = last.kind == model::LayerKind::kDense ||
                              last.kind == model::LayerKind::kConv ||
                              last.kind == model::LayerKind::kActivation;
  if (!has_activation) return false;
  if (kind == LossKind::kBinaryCrossentropy) return last.activation == Activation::kSigmoid;
  return IsCategorical(kind) && last.activation == Activation::kSoftmax &&
         (last.kind != model::LayerKind::kActivation || last.softmax_axis == -1);
}

at::Tensor Clip(const at::Tensor& probabilities) {
  return at::clamp(probabilities, kKerasEpsilon, 1 - kKerasEpsilon);
}

}  // namespace

void Targets::MakeSigned() {
  const bool binary = at::all((values == 0) | (values == 1)).item<bool>();
  if (binary) values = values * 2 - 1;
}

void Targets::SetWeights(std::span<const float> sample_weights) {
  if (sample_weights.empty()) return;
  weights = at::from_blob(const_cast<float*>(sample_weights.data()),
                          {static_cast<std::int64_t>(sample_weights.size())}, at::kFloat);
}

Loss::Loss(const model::LossConfig& config, const array::Shape& output_shape)
    : kind_(config.kind),
      from_logits_(config.from_logits),
      label_smoothing_(config.label_smoothing),
      huber_delta_(config.huber_delta),
      sum_(config.sum_reduction),
      output_shape_(output_shape) {}

Loss::Loss(const model::Model& model, int output)
    : Loss(*model.compile.outputs[static_cast<std::size_t>(output)].loss,
           model.output(output).output_shape) {
  takes_logits_ = EndsInMatchingActivation(model.output(output), kind_);
  from_logits_ = from_logits_ || takes_logits_;
  if (const model::Metric* accuracy = model.compile.accuracy(); accuracy != nullptr) {
    accuracy_rule_ = accuracy->accuracy_rule;
  }
  // A sigmoid passes 0.5 where its input passes 0. With from_logits and no sigmoid
  // Keras compares the logits themselves with 0.5, and so does this.
  threshold_ = takes_logits_ && kind_ == LossKind::kBinaryCrossentropy ? 0 : 0.5;
}

Result<Targets> Loss::ReadTargets(const array::ColumnSpec& y, ByteSpan bytes,
                                  std::int64_t samples) const {
  Targets targets;
  const auto count = static_cast<std::int64_t>(bytes.size() / array::DTypeSize(y.dtype));
  if (kind_ == LossKind::kSparseCategoricalCrossentropy) {
    targets.classes = at::empty({count}, at::kLong);
    static_assert(sizeof(std::int64_t) == 8);
    DNC_TRY(trainer::ConvertToClasses(
        y.dtype, bytes, output_shape_.back(),
        {targets.classes.data_ptr<std::int64_t>(), static_cast<std::size_t>(count)}));
    return targets;
  }
  const bool is_hinge = kind_ == LossKind::kHinge || kind_ == LossKind::kSquaredHinge;
  if (is_hinge && count == samples && output_shape_.back() > 1) {
    // Numbers of classes: each class against all others.
    const at::Tensor classes = at::empty({count}, at::kLong);
    DNC_TRY(trainer::ConvertToClasses(
        y.dtype, bytes, output_shape_.back(),
        {classes.data_ptr<std::int64_t>(), static_cast<std::size_t>(count)}));
    targets.values = at::full({samples, output_shape_.back()}, -1.0, at::kFloat);
    targets.values.scatter_(1, classes.unsqueeze(1), 1.0);
    return targets;
  }
  std::vector<std::int64_t> sizes{samples};
  sizes.insert(sizes.end(), output_shape_.begin(), output_shape_.end());
  targets.values = at::empty(sizes, at::kFloat);
  trainer::ConvertToFloat(y.dtype, bytes,
                          {targets.values.data_ptr<float>(), static_cast<std::size_t>(count)});
  if (is_hinge) targets.MakeSigned();
  return targets;
}

at::Tensor Loss::CategoricalValues(const at::Tensor& rows, const Targets& targets) const {
  if (kind_ == LossKind::kSparseCategoricalCrossentropy) {
    const at::Tensor logits = from_logits_ ? rows : at::log(Clip(rows));
    return at::nll_loss(at::log_softmax(logits, 1), targets.classes, /*weight=*/{},
                        at::Reduction::None);
  }
  const at::Tensor log_probabilities =
      from_logits_ ? at::log_softmax(rows, 1)
                   : at::log(Clip(rows / at::sum(rows, 1, /*keepdim=*/true)));
  at::Tensor target = targets.values.reshape(rows.sizes());
  if (label_smoothing_ != 0) {
    target = target * (1 - label_smoothing_) + label_smoothing_ / static_cast<double>(rows.size(1));
  }
  return at::neg(at::sum(target * log_probabilities, 1));
}

at::Tensor Loss::BinaryValues(const at::Tensor& output, const at::Tensor& labels) const {
  at::Tensor target = labels;
  if (label_smoothing_ != 0) target = target * (1 - label_smoothing_) + 0.5 * label_smoothing_;
  if (from_logits_) {
    return at::binary_cross_entropy_with_logits(output, target, /*weight=*/{}, /*pos_weight=*/{},
                                                at::Reduction::None);
  }
  const at::Tensor p = Clip(output);
  return at::neg(target * at::log(p + kKerasEpsilon) +
                 (1 - target) * at::log(1 - p + kKerasEpsilon));
}

at::Tensor Loss::ElementValues(const at::Tensor& p, const at::Tensor& y) const {
  switch (kind_) {
    case LossKind::kBinaryCrossentropy:
      return BinaryValues(p, y);
    case LossKind::kMeanSquaredError:
      return at::mse_loss(p, y, at::Reduction::None);
    case LossKind::kMeanAbsoluteError:
      return at::abs(p - y);
    case LossKind::kMeanAbsolutePercentageError:
      return 100 * at::abs((y - p) / at::clamp_min(at::abs(y), kKerasEpsilon));
    case LossKind::kMeanSquaredLogarithmicError:
      return at::square(at::log(at::clamp_min(p, kKerasEpsilon) + 1) -
                        at::log(at::clamp_min(y, kKerasEpsilon) + 1));
    case LossKind::kHinge:
      return at::relu(1 - y * p);
    case LossKind::kSquaredHinge:
      return at::square(at::relu(1 - y * p));
    case LossKind::kHuber: {
      const at::Tensor size = at::abs(p - y);
      const at::Tensor square = 0.5 * at::square(p - y);
      return at::where(size <= huber_delta_, square,
                       huber_delta_ * size - 0.5 * huber_delta_ * huber_delta_);
    }
    case LossKind::kLogCosh:
      return (p - y) + at::softplus(-2 * (p - y)) - std::log(2.0);
    case LossKind::kPoisson:
      return p - y * at::log(p + kKerasEpsilon);
    default:
      return at::Tensor();  // Not a mean of elements.
  }
}

at::Tensor Loss::RowValues(const at::Tensor& p, const at::Tensor& y) const {
  if (kind_ == LossKind::kCategoricalHinge) {
    const at::Tensor right = at::sum(y * p, -1);
    const at::Tensor wrong = at::amax((1 - y) * p, -1);
    return at::relu(wrong - right + 1);
  }
  if (kind_ == LossKind::kKullbackLeiblerDivergence) {
    const at::Tensor target = at::clamp(y, kKerasEpsilon, 1);
    return at::sum(target * at::log(target / at::clamp(p, kKerasEpsilon, 1)), -1);
  }
  // tf.nn.l2_normalize, with its epsilon.
  const auto normalized = [](const at::Tensor& t) {
    return t * at::rsqrt(at::clamp_min(at::sum(at::square(t), -1, /*keepdim=*/true), 1e-12));
  };
  return at::neg(at::sum(normalized(p) * normalized(y), -1));
}

bool Loss::MaskFits(const at::Tensor& output, const at::Tensor& mask) {
  return !mask.defined() || mask.sizes() == output.sizes().slice(0, output.sizes().size() - 1);
}

at::Tensor Loss::Values(const at::Tensor& output, const Targets& targets, bool* of_elements) const {
  *of_elements = false;
  if (IsCategorical(kind_)) {
    return CategoricalValues(output.reshape({-1, output.size(-1)}), targets);
  }
  const at::Tensor values = ElementValues(output, targets.values);
  if (!values.defined()) return RowValues(output, targets.values);
  *of_elements = true;
  return values;
}

at::Tensor Loss::Rows(const at::Tensor& output, const Targets& targets) const {
  bool of_elements = false;
  const at::Tensor values = Values(output, targets, &of_elements);
  return of_elements ? values.mean(-1) : values;
}

at::Tensor Loss::Value(const at::Tensor& output, const Targets& targets,
                       const at::Tensor& mask) const {
  bool of_elements = false;
  at::Tensor values = Values(output, targets, &of_elements);
  if (of_elements && (sum_ || mask.defined())) values = values.mean(-1);
  if (targets.weights.defined()) {
    const at::Tensor by_sample = values.reshape({targets.weights.size(0), -1});
    values = (by_sample * targets.weights.unsqueeze(1)).reshape(values.sizes());
  }
  if (mask.defined()) {
    // Keras weighs the steps that count by all / counting, and means over all.
    const at::Tensor sum = (values * mask.reshape(values.sizes())).sum();
    return sum_ ? sum : sum / mask.sum();
  }
  return sum_ ? values.sum() : values.mean();
}

std::uint64_t Loss::CountCorrect(const at::Tensor& output, const Targets& targets,
                                 const at::Tensor& mask) const {
  const std::int64_t samples = output.size(0);
  at::Tensor right;
  const bool by_threshold = accuracy_rule_ == model::AccuracyRule::kBinary ||
                            (accuracy_rule_ == model::AccuracyRule::kByShape &&
                             (output.dim() < 2 || output.size(-1) == 1));
  if (by_threshold) {
    const at::Tensor predicted = (output > threshold_).to(at::kFloat).reshape({-1});
    const at::Tensor expected =
        targets.classes.defined() ? targets.classes.to(at::kFloat) : targets.values.reshape({-1});
    right = predicted == expected;
  } else {
    const at::Tensor predicted = at::argmax(output.reshape({-1, output.size(-1)}), 1);
    const at::Tensor expected = targets.classes.defined()
                                    ? targets.classes
                                    : at::argmax(targets.values.reshape({-1, output.size(-1)}), 1);
    right = predicted == expected;
  }
  std::int64_t total = right.numel();
  if (mask.defined()) {
    const std::int64_t each = total / std::max<std::int64_t>(mask.numel(), 1);
    right = right.reshape({-1, std::max<std::int64_t>(each, 1)}) & mask.reshape({-1, 1});
    total = mask.sum().item<std::int64_t>() * each;
  }
  const std::int64_t count = right.sum().item<std::int64_t>();
  return static_cast<std::uint64_t>(count * samples / std::max<std::int64_t>(total, 1));
}

}  // namespace dnc::trainer_torch
