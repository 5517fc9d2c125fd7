#include "model/metric_section.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "model/json_text.h"
#include "model/loss_section.h"
#include "model/option_reader.h"

namespace dnc::model {
namespace {

using nlohmann::json;

// What labels a metric reads.
enum class Labels { kAny, kDense, kClassNumbers };

struct MetricRow {
  const char* class_name;
  const char* name;  // The function's, and what the class calls itself.
  MetricKind kind;
  Labels labels = Labels::kDense;
  AccuracyRule rule = AccuracyRule::kByShape;
};

// Names: keras/metrics of Keras 2.15.
constexpr MetricRow kMetrics[] = {
    {"", "accuracy", MetricKind::kAccuracy, Labels::kAny},
    {"", "acc", MetricKind::kAccuracy, Labels::kAny},
    {"BinaryAccuracy", "binary_accuracy", MetricKind::kAccuracy, Labels::kDense,
     AccuracyRule::kBinary},
    {"CategoricalAccuracy", "categorical_accuracy", MetricKind::kAccuracy, Labels::kDense,
     AccuracyRule::kCategorical},
    {"SparseCategoricalAccuracy", "sparse_categorical_accuracy", MetricKind::kAccuracy,
     Labels::kClassNumbers, AccuracyRule::kCategorical},
    {"TopKCategoricalAccuracy", "top_k_categorical_accuracy", MetricKind::kTopKAccuracy},
    {"SparseTopKCategoricalAccuracy", "sparse_top_k_categorical_accuracy",
     MetricKind::kTopKAccuracy, Labels::kClassNumbers},
    {"RootMeanSquaredError", "root_mean_squared_error", MetricKind::kRootMeanSquaredError},
    {"CosineSimilarity", "cosine_similarity", MetricKind::kCosineSimilarity},
    {"TruePositives", "true_positives", MetricKind::kTruePositives},
    {"FalsePositives", "false_positives", MetricKind::kFalsePositives},
    {"TrueNegatives", "true_negatives", MetricKind::kTrueNegatives},
    {"FalseNegatives", "false_negatives", MetricKind::kFalseNegatives},
    {"Precision", "precision", MetricKind::kPrecision},
    {"Recall", "recall", MetricKind::kRecall},
    {"AUC", "auc", MetricKind::kAuc},
};

// Metrics of Keras that are kept and not computed.
constexpr const char* kOtherMetrics[] = {
    "Accuracy",
    "BinaryIoU",
    "F1Score",
    "FBetaScore",
    "IoU",
    "Mean",
    "MeanIoU",
    "MeanRelativeError",
    "OneHotIoU",
    "OneHotMeanIoU",
    "PrecisionAtRecall",
    "R2Score",
    "RecallAtPrecision",
    "SensitivityAtSpecificity",
    "SpecificityAtSensitivity",
    "Sum",
};

constexpr int kThresholdCountMax = 10'000;

struct FoundMetric {
  Metric metric;
  Labels labels = Labels::kAny;
};

std::optional<FoundMetric> FindMetric(const std::string& name) {
  for (const MetricRow& row : kMetrics) {
    if (name != row.name && name != row.class_name) continue;
    FoundMetric found;
    found.metric.kind = row.kind;
    found.metric.name = row.name;
    found.metric.accuracy_rule = row.rule;
    found.labels = row.labels;
    return found;
  }
  const std::optional<LossKind> loss = FindLoss(name == "LogCoshError" ? "logcosh" : name);
  if (!loss) return std::nullopt;
  FoundMetric found;
  found.metric.kind = MetricKind::kMeanLoss;
  found.metric.loss.kind = *loss;
  // A name stays as it was given ("mae"); a class calls itself by its function's name.
  const bool is_class = name[0] >= 'A' && name[0] <= 'Z';
  found.metric.name = is_class ? LossName(*loss) : name;
  found.labels =
      *loss == LossKind::kSparseCategoricalCrossentropy ? Labels::kClassNumbers : Labels::kDense;
  return found;
}

// The name that a metric is known by: its own, its function's, or its class's.
std::string KnownAs(const json& metric) {
  if (metric.is_string()) return metric.get<std::string>();
  if (IsFunction(metric)) return metric["config"].get<std::string>();
  if (!metric.is_object() || !metric.contains("class_name") || !metric["class_name"].is_string()) {
    return "";
  }
  if (metric.contains("config") && metric["config"].is_object() &&
      metric["config"].contains("fn")) {
    const json& function = metric["config"]["fn"];
    if (function.is_string() || IsFunction(function)) return KnownAs(function);
  }
  return metric["class_name"].get<std::string>();
}

// One number, or a list of one.
std::optional<double> OneNumber(const json& value) {
  if (value.is_number()) return value.get<double>();
  if (value.is_array() && value.size() == 1 && value[0].is_number()) return value[0].get<double>();
  return std::nullopt;
}

// Whether the option is one that `metric` then has.
bool ReadOption(const std::string& key, const json& value, Metric* metric) {
  if (value.is_null() || key == "name" || key == "dtype" || key == "fn") return true;
  if (key == "threshold" || key == "thresholds") {
    const std::optional<double> threshold = OneNumber(value);
    metric->threshold = threshold.value_or(0);
    return threshold.has_value() && metric->kind != MetricKind::kAuc;
  }
  if (key == "axis") return value == -1;
  if (key == "k" && metric->kind == MetricKind::kTopKAccuracy && value.is_number_integer()) {
    metric->top_k = value.get<std::int64_t>();
    return metric->top_k >= 1;
  }
  if (metric->kind == MetricKind::kAuc) {
    if (key == "num_thresholds" && value.is_number_integer()) {
      const auto count = value.get<std::int64_t>();
      metric->threshold_count = static_cast<int>(std::clamp<std::int64_t>(count, 0, INT32_MAX));
      return count >= 2 && count <= kThresholdCountMax;
    }
    if (key == "curve") {
      metric->precision_recall = value == "PR";
      return value == "PR" || value == "ROC";
    }
    if (key == "summation_method") return value == "interpolation";
  }
  if (metric->kind == MetricKind::kMeanLoss) {
    if (key == "from_logits" && value.is_boolean()) {
      metric->loss.from_logits = value.get<bool>();
      return true;
    }
    if (key == "label_smoothing" && value.is_number()) {
      metric->loss.label_smoothing = value.get<double>();
      return true;
    }
    if (key == "delta" && value.is_number()) {
      metric->loss.huber_delta = value.get<double>();
      return true;
    }
  }
  return value == false;
}

bool ReadOptions(const json& given, Metric* metric) {
  if (!given.is_object() || IsFunction(given) || !given.contains("config") ||
      !given["config"].is_object()) {
    return true;
  }
  const json& config = given["config"];
  for (const auto& [key, value] : config.items()) {
    if (!ReadOption(key, value, metric)) return false;
  }
  if (config.contains("name") && config["name"].is_string()) {
    metric->name = config["name"].get<std::string>();
  }
  return true;
}

bool Fits(Labels labels, const OutputConfig& output) {
  if (!output.loss) return false;
  const bool class_numbers = output.loss->kind == LossKind::kSparseCategoricalCrossentropy;
  return labels == Labels::kAny || (labels == Labels::kClassNumbers) == class_numbers;
}

std::vector<std::string> KnownNames() {
  std::vector<std::string> names;
  for (const MetricRow& row : kMetrics) {
    names.push_back(row.name);
    if (row.class_name[0] != '\0') names.push_back(row.class_name);
  }
  for (std::string& name : LossNames()) names.push_back(std::move(name));
  names.insert(names.end(), std::begin(kOtherMetrics), std::end(kOtherMetrics));
  return names;
}

class MetricReader {
 public:
  MetricReader(std::vector<OutputConfig>* outputs, std::vector<std::string>* uncomputed)
      : outputs_(outputs), uncomputed_(uncomputed) {}

  // A metric, or a list of them, of one output.
  Status ReadOf(const json& metrics, OutputConfig* output) {
    if (metrics.is_null()) return {};
    if (metrics.is_array()) {
      for (const json& metric : metrics) DNC_TRY(ReadOf(metric, output));
      return {};
    }
    const std::string name = KnownAs(metrics);
    if (name.empty()) {
      return Error{ErrorCode::kInvalidArgument, "compile: a metric is " + ShortJson(metrics) +
                                                    "; expected a name such as \"accuracy\""};
    }
    std::optional<FoundMetric> found = FindMetric(name);
    if (found && Fits(found->labels, *output) && ReadOptions(metrics, &found->metric)) {
      output->metrics.push_back(std::move(found->metric));
      return {};
    }
    const bool known = found || std::find(std::begin(kOtherMetrics), std::end(kOtherMetrics),
                                          name) != std::end(kOtherMetrics);
    if (!known) {
      return Error{ErrorCode::kUnsupported,
                   "compile: " + UnknownNameText("metric", name, KnownNames())};
    }
    if (std::find(uncomputed_->begin(), uncomputed_->end(), name) == uncomputed_->end()) {
      uncomputed_->push_back(name);
    }
    return {};
  }

  Status ReadOfAll(const json& metrics) {
    for (OutputConfig& output : *outputs_) DNC_TRY(ReadOf(metrics, &output));
    return {};
  }

 private:
  std::vector<OutputConfig>* outputs_;
  std::vector<std::string>* uncomputed_;
};

}  // namespace

Result<std::size_t> OutputOfName(const std::string& name,
                                 const std::vector<std::string>& output_names, const char* what) {
  if (output_names.size() == 1) return std::size_t{0};
  const auto found = std::find(output_names.begin(), output_names.end(), name);
  if (found != output_names.end()) return static_cast<std::size_t>(found - output_names.begin());
  return Error{ErrorCode::kInvalidArgument,
               std::string("compile: there are ") + what + " of the output " + Quoted(name) +
                   ", but the model's outputs are " + ShortJson(json(output_names))};
}

Status ReadMetrics(const json& metrics, const std::vector<std::string>& output_names,
                   std::vector<OutputConfig>* outputs, std::vector<std::string>* uncomputed) {
  MetricReader reader(outputs, uncomputed);
  if (metrics.is_object() && !metrics.contains("class_name")) {
    for (const auto& [name, value] : metrics.items()) {
      DNC_ASSIGN(const std::size_t index, OutputOfName(name, output_names, "metrics"));
      DNC_TRY(reader.ReadOf(value, &(*outputs)[index]));
    }
    return {};
  }
  const bool by_output =
      metrics.is_array() && metrics.size() == outputs->size() &&
      std::any_of(metrics.begin(), metrics.end(), [](const json& each) { return each.is_array(); });
  if (!by_output) return reader.ReadOfAll(metrics);
  for (std::size_t i = 0; i < outputs->size(); ++i) {
    DNC_TRY(reader.ReadOf(metrics[i], &(*outputs)[i]));
  }
  return {};
}

}  // namespace dnc::model
