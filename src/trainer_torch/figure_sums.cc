// Formulas: keras/metrics of Keras 2.15.

#include "trainer_torch/figure_sums.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace dnc::trainer_torch {

namespace {

using model::Metric;
using model::MetricKind;

double SumOf(const at::Tensor& values) { return values.sum(at::kDouble).item<double>(); }

// Adds the sum and the number of values, one for each row of the output (or, of an output
// of a sample without rows, for each sample), and those that the mask lets count.
void AddMean(const at::Tensor& values, const at::Tensor& mask, std::span<double> sums) {
  if (!mask.defined()) {
    sums[0] += SumOf(values);
    sums[1] += static_cast<double>(values.numel());
    return;
  }
  const std::int64_t each = values.numel() / std::max<std::int64_t>(mask.numel(), 1);
  const at::Tensor counts = mask.reshape({-1, 1});
  sums[0] += SumOf(values.reshape({mask.numel(), -1}) * counts);
  sums[1] += SumOf(counts) * static_cast<double>(each);
}

// The class of each row, whichever way the targets say it.
at::Tensor ClassesOf(const Targets& targets, std::int64_t width) {
  if (targets.classes.defined()) return targets.classes.reshape({-1});
  return at::argmax(targets.values.reshape({-1, width}), 1);
}

// Whether each prediction is right.
at::Tensor Right(const Metric& metric, const at::Tensor& output, const Targets& targets) {
  const std::int64_t width = output.dim() < 2 ? 1 : output.size(-1);
  if (metric.kind == MetricKind::kTopKAccuracy) {
    const at::Tensor rows = output.reshape({-1, width});
    const at::Tensor own = rows.gather(1, ClassesOf(targets, width).unsqueeze(1));
    return ((rows > own).sum(1) < metric.top_k).to(at::kFloat);
  }
  const bool by_threshold = metric.accuracy_rule == model::AccuracyRule::kBinary ||
                            (metric.accuracy_rule == model::AccuracyRule::kByShape && width == 1);
  if (!by_threshold) {
    return (at::argmax(output.reshape({-1, width}), 1) == ClassesOf(targets, width)).to(at::kFloat);
  }
  const at::Tensor expected =
      targets.classes.defined() ? targets.classes.to(at::kFloat) : targets.values.reshape({-1});
  const at::Tensor predicted = (output > metric.threshold).to(at::kFloat).reshape({-1});
  return (predicted == expected).to(at::kFloat);
}

// The sums of an AUC: each prediction lies above all thresholds up to one.
void AddAuc(const Metric& metric, const at::Tensor& output, const at::Tensor& labels,
            const at::Tensor& counts, std::span<double> sums) {
  const std::size_t count = sums.size() / 4;
  const at::Tensor values = output.reshape({-1}).cpu().contiguous();
  const at::Tensor positive = labels.reshape({-1}).cpu().contiguous();
  const at::Tensor weights = counts.cpu();
  const float* const value = values.data_ptr<float>();
  const float* const label = positive.data_ptr<float>();
  const float* const weight = weights.data_ptr<float>();
  std::vector<double> positives(count, 0);
  std::vector<double> negatives(count, 0);
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    const float place = std::ceil(value[i] * static_cast<float>(metric.threshold_count - 1)) - 1;
    // Written so that what is not a number is at the first.
    const float clipped = place > 0 ? std::min(place, static_cast<float>(count - 1)) : 0.0f;
    (label[i] > 0 ? positives : negatives)[static_cast<std::size_t>(clipped)] += weight[i];
  }
  double positives_above = 0;
  double negatives_above = 0;
  double positives_all = 0;
  double negatives_all = 0;
  for (std::size_t i = 0; i < count; ++i) {
    positives_all += positives[i];
    negatives_all += negatives[i];
  }
  for (std::size_t i = count; i-- > 0;) {
    positives_above += positives[i];
    negatives_above += negatives[i];
    sums[i] += positives_above;
    sums[count + i] += negatives_above;
    sums[2 * count + i] += negatives_all - negatives_above;
    sums[3 * count + i] += positives_all - positives_above;
  }
}

// How often outputs above and below the threshold are of positive labels and others.
void AddConfusion(const Metric& metric, const at::Tensor& output, const at::Tensor& labels,
                  const at::Tensor& counts, std::span<double> sums) {
  const at::Tensor taken = (output.reshape({-1}) > metric.threshold).to(at::kFloat);
  const at::Tensor label = (labels.reshape({-1}) > 0).to(at::kFloat);
  const double both = SumOf(taken * label * counts);
  const double taken_all = SumOf(taken * counts);
  const double label_all = SumOf(label * counts);
  const double all = SumOf(counts);
  switch (metric.kind) {
    case MetricKind::kTruePositives:
      sums[0] += both;
      break;
    case MetricKind::kFalsePositives:
      sums[0] += taken_all - both;
      break;
    case MetricKind::kFalseNegatives:
      sums[0] += label_all - both;
      break;
    case MetricKind::kTrueNegatives:
      sums[0] += all - taken_all - label_all + both;
      break;
    case MetricKind::kPrecision:
      sums[0] += both;
      sums[1] += taken_all;
      break;
    default:
      sums[0] += both;
      sums[1] += label_all;
      break;
  }
}

// 1 for each element that counts, 0 for those of masked steps.
at::Tensor CountsOf(const at::Tensor& output, const at::Tensor& mask) {
  if (!mask.defined()) return at::ones({output.numel()}, output.options());
  const std::int64_t each = output.numel() / std::max<std::int64_t>(mask.numel(), 1);
  return mask.to(at::kFloat)
      .reshape({-1, 1})
      .expand({mask.numel(), each})
      .reshape({-1})
      .contiguous();
}

Targets LabelsFor(const Metric& metric, const Targets& targets) {
  Targets labels = targets;
  const bool is_hinge = metric.loss.kind == model::LossKind::kHinge ||
                        metric.loss.kind == model::LossKind::kSquaredHinge;
  if (is_hinge) labels.MakeSigned();
  return labels;
}

at::Tensor Normalized(const at::Tensor& rows) {
  // tf.math.l2_normalize, with its epsilon.
  return rows * at::rsqrt(at::clamp_min(at::sum(at::square(rows), -1, /*keepdim=*/true), 1e-12));
}

}  // namespace

FigureSums::FigureSums(const model::Model& model) : figures_(model::FiguresOf(model)) {
  for (const model::Figure& figure : figures_) {
    losses_.push_back(figure.metric.kind == MetricKind::kMeanLoss
                          ? Loss(figure.metric.loss, model.output(figure.output).output_shape)
                          : Loss());
  }
}

void FigureSums::Add(int output, const at::Tensor& values, const Targets& targets,
                     const at::Tensor& mask, double loss, std::span<double> sums) const {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < figures_.size(); ++i) {
    const model::Figure& figure = figures_[i];
    if (figure.output != output) continue;
    const std::span<double> own = sums.subspan(figure.first_sum, figure.sum_count);
    if (figure.is_loss) {
      own[0] += loss * static_cast<double>(values.size(0));
      own[1] += static_cast<double>(values.size(0));
      continue;
    }
    switch (figure.metric.kind) {
      case MetricKind::kAccuracy:
      case MetricKind::kTopKAccuracy:
        AddMean(Right(figure.metric, values, targets), mask, own);
        break;
      case MetricKind::kMeanLoss:
        AddMean(losses_[i].Rows(values, LabelsFor(figure.metric, targets)), mask, own);
        break;
      case MetricKind::kRootMeanSquaredError:
        AddMean(at::square(values - targets.values), mask, own);
        break;
      case MetricKind::kCosineSimilarity:
        AddMean((Normalized(values) * Normalized(targets.values)).sum(-1), mask, own);
        break;
      case MetricKind::kAuc:
        AddAuc(figure.metric, values, targets.values, CountsOf(values, mask), own);
        break;
      default:
        AddConfusion(figure.metric, values, targets.values, CountsOf(values, mask), own);
        break;
    }
  }
}

}  // namespace dnc::trainer_torch
