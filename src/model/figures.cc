#include "model/figures.h"

#include <algorithm>
#include <cmath>

namespace dnc::model {
namespace {

double Ratio(double numerator, double denominator) {
  return denominator == 0 ? 0 : numerator / denominator;
}

std::size_t SumsOf(const Metric& metric) {
  switch (metric.kind) {
    case MetricKind::kTruePositives:
    case MetricKind::kFalsePositives:
    case MetricKind::kTrueNegatives:
    case MetricKind::kFalseNegatives:
      return 1;
    case MetricKind::kAuc:
      return 4 * static_cast<std::size_t>(metric.threshold_count);
    default:
      return 2;
  }
}

// The area by trapezoids under the true positive rate over the false positive rate.
double RocArea(std::span<const double> sums) {
  const std::size_t count = sums.size() / 4;
  const auto rates = [&](std::size_t i) {
    return std::pair(Ratio(sums[i], sums[i] + sums[3 * count + i]),
                     Ratio(sums[count + i], sums[count + i] + sums[2 * count + i]));
  };
  double area = 0;
  for (std::size_t i = 0; i + 1 < count; ++i) {
    const auto [true_rate, false_rate] = rates(i);
    const auto [next_true_rate, next_false_rate] = rates(i + 1);
    area += (false_rate - next_false_rate) * (true_rate + next_true_rate) / 2;
  }
  return area;
}

// The area under the precision over the recall, interpolated as Davis and Goadrich do in
// "The Relationship Between Precision-Recall and ROC Curves" (2006), as Keras does it.
double PrecisionRecallArea(std::span<const double> sums) {
  const std::size_t count = sums.size() / 4;
  const std::span<const double> tp = sums.first(count);
  const std::span<const double> fp = sums.subspan(count, count);
  const std::span<const double> fn = sums.subspan(3 * count, count);
  double area = 0;
  for (std::size_t i = 0; i + 1 < count; ++i) {
    const double positives = tp[i] + fp[i];
    const double next_positives = tp[i + 1] + fp[i + 1];
    const double slope = Ratio(tp[i] - tp[i + 1], std::max(positives - next_positives, 0.0));
    const double intercept = tp[i + 1] - slope * next_positives;
    const bool both = positives > 0 && next_positives > 0;
    const double ratio = both ? Ratio(positives, next_positives) : 1;
    const double gained = slope * ((tp[i] - tp[i + 1]) + intercept * std::log(ratio));
    area += Ratio(gained, std::max(tp[i + 1] + fn[i + 1], 0.0));
  }
  return area;
}

}  // namespace

bool CountsRightSamples(const Model& model) {
  const Metric* const accuracy = model.compile.accuracy();
  const array::Shape& output = model.output_shape();
  if (accuracy == nullptr || output.size() > 1) return false;
  return accuracy->accuracy_rule != AccuracyRule::kBinary || output.empty() || output[0] == 1;
}

std::vector<Figure> FiguresOf(const Model& model) {
  std::vector<Figure> figures;
  if (!model.has_compile) return figures;
  const std::vector<int> trained = model.compile.trained_outputs();
  const Metric* const counted = CountsRightSamples(model) ? model.compile.accuracy() : nullptr;
  const bool several = model.output_layers.size() > 1;
  // A model that Keras saved has the prefix in its metrics' names.
  const auto named = [&](int output, const std::string& name) {
    const std::string prefix = model.output_names[static_cast<std::size_t>(output)] + "_";
    return several && !name.starts_with(prefix) ? prefix + name : name;
  };
  std::size_t sum_count = 0;
  const auto add = [&](Figure figure) {
    figure.first_sum = sum_count;
    sum_count += figure.sum_count;
    figures.push_back(std::move(figure));
  };
  for (const int output : trained) {
    if (!several) break;
    add({.name = named(output, "loss"), .output = output, .is_loss = true, .sum_count = 2});
  }
  for (const int output : trained) {
    for (const Metric& metric : model.compile.outputs[static_cast<std::size_t>(output)].metrics) {
      if (&metric == counted) continue;
      add({.name = named(output, metric.name),
           .output = output,
           .metric = metric,
           .sum_count = SumsOf(metric)});
    }
  }
  return figures;
}

std::size_t SumCountOf(std::span<const Figure> figures) {
  return figures.empty() ? 0 : figures.back().first_sum + figures.back().sum_count;
}

double FigureValue(const Figure& figure, std::span<const double> sums) {
  if (sums.size() < figure.first_sum + figure.sum_count) return 0;
  const std::span<const double> own = sums.subspan(figure.first_sum, figure.sum_count);
  if (figure.is_loss) return Ratio(own[0], own[1]);
  switch (figure.metric.kind) {
    case MetricKind::kRootMeanSquaredError:
      return std::sqrt(Ratio(own[0], own[1]));
    case MetricKind::kAuc:
      return figure.metric.precision_recall ? PrecisionRecallArea(own) : RocArea(own);
    default:
      return own.size() == 1 ? own[0] : Ratio(own[0], own[1]);
  }
}

bool IsBetterLarger(const Figure& figure) {
  if (figure.is_loss) return false;
  switch (figure.metric.kind) {
    case MetricKind::kMeanLoss:
    case MetricKind::kRootMeanSquaredError:
    case MetricKind::kFalsePositives:
    case MetricKind::kFalseNegatives:
      return false;
    default:
      return true;
  }
}

}  // namespace dnc::model
