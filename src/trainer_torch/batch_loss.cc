#include "trainer_torch/batch_loss.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "trainer/convert.h"
#include "trainer_torch/layers.h"

namespace dnc::trainer_torch {

namespace {

using model::LossKind;
using trainer::BatchResult;

// log(sum of e^row), and in `shares`, where it is not null, e^row / that sum.
double LogSumExp(const float* row, std::int64_t width, float* shares) {
  const float largest = *std::max_element(row, row + width);
  float sum = 0;
  for (std::int64_t i = 0; i < width; ++i) {
    const float power = std::exp(row[i] - largest);
    if (shares != nullptr) shares[i] = power;
    sum += power;
  }
  if (shares != nullptr) {
    const float scale = 1 / sum;
    for (std::int64_t i = 0; i < width; ++i) shares[i] *= scale;
  }
  return largest + std::log(sum);
}

std::int64_t LargestAt(const float* row, std::int64_t width) {
  return std::max_element(row, row + width) - row;
}

}  // namespace

BatchLoss::BatchLoss(const model::Model& model, std::span<const array::ColumnSpec> y)
    : output_shape_(model.output_shape()) {
  if (!output_shape_.empty()) width_ = output_shape_.back();
  output_count_ = static_cast<std::int64_t>(model.output_elements());
  if (y.empty()) return;
  loss_ = Loss(model, 0);
  config_ = *model.compile.outputs[0].loss;
  figures_ = FigureSums(model);
  last_activation_ = model.output(0).activation;
  y_ = y[0];
  const bool logits = loss_.takes_logits() || config_.from_logits;
  switch (config_.kind) {
    case LossKind::kSparseCategoricalCrossentropy:
    case LossKind::kCategoricalCrossentropy:
    case LossKind::kBinaryCrossentropy:
      by_hand_ = logits;
      break;
    case LossKind::kMeanSquaredError:
      by_hand_ = true;
      break;
    default:
      break;
  }
  // As Loss has it.
  const model::Metric* const accuracy = model.compile.accuracy();
  const model::AccuracyRule rule =
      accuracy == nullptr ? model::AccuracyRule::kByShape : accuracy->accuracy_rule;
  by_threshold_ = rule == model::AccuracyRule::kBinary ||
                  (rule == model::AccuracyRule::kByShape && width_ == 1);
  if (loss_.takes_logits() && config_.kind == LossKind::kBinaryCrossentropy) threshold_ = 0;
}

Status BatchLoss::ReadLabels(ByteSpan y, std::int64_t samples) {
  const auto rows = static_cast<std::size_t>(samples * (output_count_ / width_));
  if (config_.kind == LossKind::kSparseCategoricalCrossentropy) {
    classes_.resize(rows);
    return trainer::ConvertToClasses(y_.dtype, y, width_, classes_);
  }
  targets_.resize(static_cast<std::size_t>(samples * output_count_));
  trainer::ConvertToFloat(y_.dtype, y, targets_);
  return {};
}

double BatchLoss::SparseCrossentropy(const float* output, std::int64_t rows, double share,
                                     float* gradient) {
  double total = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* const logits = output + row * width_;
    float* const g = gradient == nullptr ? nullptr : gradient + row * width_;
    const std::int64_t label = classes_[static_cast<std::size_t>(row)];
    total += LogSumExp(logits, width_, g) - logits[label];
    if (g == nullptr) continue;
    g[label] -= 1;
    for (std::int64_t i = 0; i < width_; ++i) g[i] *= static_cast<float>(share);
  }
  return total * share;
}

double BatchLoss::CategoricalCrossentropy(const float* output, std::int64_t rows, double share,
                                          float* gradient) {
  const auto smoothing = static_cast<float>(config_.label_smoothing);
  const float spread = smoothing / static_cast<float>(width_);
  double total = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* const logits = output + row * width_;
    const float* const labels = targets_.data() + row * width_;
    float* const g = gradient == nullptr ? nullptr : gradient + row * width_;
    const double log_sum = LogSumExp(logits, width_, g);
    float label_sum = 0;
    for (std::int64_t i = 0; i < width_; ++i) {
      const float label = labels[i] * (1 - smoothing) + spread;
      label_sum += label;
      total += label * (log_sum - logits[i]);
    }
    if (g == nullptr) continue;
    for (std::int64_t i = 0; i < width_; ++i) {
      const float label = labels[i] * (1 - smoothing) + spread;
      g[i] = (g[i] * label_sum - label) * static_cast<float>(share);
    }
  }
  return total * share;
}

double BatchLoss::BinaryCrossentropy(const float* output, std::int64_t count, double share,
                                     float* gradient) const {
  const auto smoothing = static_cast<float>(config_.label_smoothing);
  double total = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const float x = output[i];
    const float label = targets_[static_cast<std::size_t>(i)] * (1 - smoothing) + 0.5f * smoothing;
    const float fading = std::exp(-std::abs(x));  // At most 1, however large x is.
    total += std::max(x, 0.0f) - x * label + std::log1p(fading);
    if (gradient == nullptr) continue;
    const float sigmoid = x >= 0 ? 1 / (1 + fading) : fading / (1 + fading);
    gradient[i] = (sigmoid - label) * static_cast<float>(share);
  }
  return total * share;
}

double BatchLoss::SquaredError(const float* output, std::int64_t count, double share,
                               float* gradient) const {
  double total = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const float difference = output[i] - targets_[static_cast<std::size_t>(i)];
    total += difference * difference;
    if (gradient != nullptr) gradient[i] = 2 * difference * static_cast<float>(share);
  }
  return total * share;
}

std::uint64_t BatchLoss::CountCorrect(const float* output, std::int64_t rows,
                                      std::int64_t samples) const {
  const bool sparse = config_.kind == LossKind::kSparseCategoricalCrossentropy;
  std::int64_t right = 0;
  std::int64_t count = rows;
  if (by_threshold_) {
    count = rows * width_;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const float label = sparse
                              ? static_cast<float>(classes_[at / static_cast<std::size_t>(width_)])
                              : targets_[at];
      right += (output[i] > threshold_ ? 1.0f : 0.0f) == label ? 1 : 0;
    }
  } else {
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::int64_t label = sparse ? classes_[static_cast<std::size_t>(row)]
                                        : LargestAt(targets_.data() + row * width_, width_);
      right += LargestAt(output + row * width_, width_) == label ? 1 : 0;
    }
  }
  return static_cast<std::uint64_t>(right * samples / std::max<std::int64_t>(count, 1));
}

Result<BatchResult> BatchLoss::ByAutograd(const float* output, const trainer::Batch& batch,
                                          float* gradient) const {
  DNC_ASSIGN(Targets targets, loss_.ReadTargets(y_, batch.y[0], batch.samples));
  targets.SetWeights(batch.weights);
  std::vector<std::int64_t> sizes{batch.samples};
  sizes.insert(sizes.end(), output_shape_.begin(), output_shape_.end());
  at::Tensor leaf = at::from_blob(const_cast<float*>(output), sizes, at::kFloat);
  leaf.set_requires_grad(gradient != nullptr);
  const at::Tensor value = loss_.Value(leaf, targets);
  BatchResult result;
  result.loss = value.item<float>();
  if (!std::isfinite(result.loss)) return trainer::NonFiniteLoss(result.loss);
  if (gradient != nullptr) {
    value.backward();
    const at::Tensor found = leaf.grad().contiguous();
    std::copy_n(found.data_ptr<float>(), found.numel(), gradient);
  }
  const at::NoGradGuard no_grad;
  result.correct = loss_.CountCorrect(leaf, targets);
  return result;
}

Result<std::vector<double>> BatchLoss::Sums(const float* output, const trainer::Batch& batch,
                                            double loss) const {
  DNC_ASSIGN(const Targets targets, loss_.ReadTargets(y_, batch.y[0], batch.samples));
  std::vector<std::int64_t> sizes{batch.samples};
  sizes.insert(sizes.end(), output_shape_.begin(), output_shape_.end());
  const at::NoGradGuard no_grad;
  at::Tensor activated = at::from_blob(const_cast<float*>(output), sizes, at::kFloat);
  if (loss_.takes_logits()) activated = Activate(last_activation_, activated, -1, false);
  std::vector<double> sums(figures_.count(), 0);
  figures_.Add(0, activated, targets, /*mask=*/{}, loss, sums);
  return sums;
}

Result<BatchResult> BatchLoss::Compute(const float* output, const trainer::Batch& batch,
                                       float* gradient) {
  const bool by_hand = by_hand_ && batch.weights.empty();
  DNC_ASSIGN(BatchResult result,
             by_hand ? ByHand(output, batch, gradient) : ByAutograd(output, batch, gradient));
  if (figures_.count() > 0) {
    DNC_ASSIGN(result.sums, Sums(output, batch, result.loss));
  }
  return result;
}

Result<BatchResult> BatchLoss::ByHand(const float* output, const trainer::Batch& batch,
                                      float* gradient) {
  const std::int64_t samples = batch.samples;
  DNC_TRY(ReadLabels(batch.y[0], samples));
  const std::int64_t count = samples * output_count_;
  const std::int64_t rows = count / width_;
  const bool of_rows = config_.kind == LossKind::kSparseCategoricalCrossentropy ||
                       config_.kind == LossKind::kCategoricalCrossentropy;
  // A mean along the last axis is of each element; what is left is reduced as Keras says.
  double share = config_.sum_reduction ? 1.0 : 1.0 / static_cast<double>(rows);
  if (!of_rows) share /= static_cast<double>(width_);
  BatchResult result;
  switch (config_.kind) {
    case LossKind::kSparseCategoricalCrossentropy:
      result.loss = SparseCrossentropy(output, rows, share, gradient);
      break;
    case LossKind::kCategoricalCrossentropy:
      result.loss = CategoricalCrossentropy(output, rows, share, gradient);
      break;
    case LossKind::kBinaryCrossentropy:
      result.loss = BinaryCrossentropy(output, count, share, gradient);
      break;
    default:
      result.loss = SquaredError(output, count, share, gradient);
      break;
  }
  if (!std::isfinite(static_cast<float>(result.loss))) return trainer::NonFiniteLoss(result.loss);
  result.correct = CountCorrect(output, rows, samples);
  return result;
}

}  // namespace dnc::trainer_torch
