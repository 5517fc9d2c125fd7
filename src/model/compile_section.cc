#include "model/compile_section.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "model/json_text.h"
#include "model/optimizer_section.h"
#include "model/option_reader.h"

namespace dnc::model {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

struct LossRow {
  LossKind kind;
  const char* name;        // As it is written.
  const char* class_name;  // Where Keras has a class of it.
  std::array<const char*, 3> aliases{};
};

// Names and aliases: keras/losses.py of Keras 2.15, and of Keras 1.2 and 2.2.
constexpr LossRow kLosses[] = {
    {LossKind::kCategoricalCrossentropy, "categorical_crossentropy", "CategoricalCrossentropy"},
    {LossKind::kSparseCategoricalCrossentropy, "sparse_categorical_crossentropy",
     "SparseCategoricalCrossentropy"},
    {LossKind::kBinaryCrossentropy, "binary_crossentropy", "BinaryCrossentropy", {"bce"}},
    {LossKind::kMeanSquaredError, "mean_squared_error", "MeanSquaredError", {"mse"}},
    {LossKind::kMeanAbsoluteError, "mean_absolute_error", "MeanAbsoluteError", {"mae"}},
    {LossKind::kMeanAbsolutePercentageError,
     "mean_absolute_percentage_error",
     "MeanAbsolutePercentageError",
     {"mape"}},
    {LossKind::kMeanSquaredLogarithmicError,
     "mean_squared_logarithmic_error",
     "MeanSquaredLogarithmicError",
     {"msle"}},
    {LossKind::kHinge, "hinge", "Hinge"},
    {LossKind::kSquaredHinge, "squared_hinge", "SquaredHinge"},
    {LossKind::kCategoricalHinge, "categorical_hinge", "CategoricalHinge"},
    {LossKind::kHuber, "huber", "Huber", {"huber_loss"}},
    {LossKind::kLogCosh, "log_cosh", "LogCosh", {"logcosh"}},
    {LossKind::kPoisson, "poisson", "Poisson"},
    {LossKind::kKullbackLeiblerDivergence,
     "kullback_leibler_divergence",
     "KLDivergence",
     {"kld", "kl_divergence"}},
    {LossKind::kCosineSimilarity, "cosine_similarity", "CosineSimilarity", {"cosine_proximity"}},
};

// Metrics of Keras that are neither losses nor accuracies.
constexpr const char* kOtherMetrics[] = {
    "AUC",
    "Accuracy",
    "BinaryIoU",
    "F1Score",
    "FBetaScore",
    "FalseNegatives",
    "FalsePositives",
    "IoU",
    "Mean",
    "MeanIoU",
    "MeanRelativeError",
    "OneHotIoU",
    "OneHotMeanIoU",
    "Precision",
    "PrecisionAtRecall",
    "R2Score",
    "Recall",
    "RecallAtPrecision",
    "RootMeanSquaredError",
    "SensitivityAtSpecificity",
    "SparseTopKCategoricalAccuracy",
    "SpecificityAtSensitivity",
    "Sum",
    "TopKCategoricalAccuracy",
    "TrueNegatives",
    "TruePositives",
    "sparse_top_k_categorical_accuracy",
    "top_k_categorical_accuracy",
};

const LossRow& RowOf(LossKind kind) {
  return *std::find_if(std::begin(kLosses), std::end(kLosses),
                       [kind](const LossRow& row) { return row.kind == kind; });
}

std::string Lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

const LossRow* FindLoss(const std::string& name) {
  const std::string lower = Lower(name);
  for (const LossRow& row : kLosses) {
    if (name == row.name || name == row.class_name) return &row;
    for (const char* alias : row.aliases) {
      if (alias != nullptr && lower == alias) return &row;
    }
  }
  return nullptr;
}

bool IsCrossentropy(LossKind loss) {
  return loss == LossKind::kCategoricalCrossentropy ||
         loss == LossKind::kSparseCategoricalCrossentropy || loss == LossKind::kBinaryCrossentropy;
}

Status ReadLossOptions(const json& config, CompileConfig* compile) {
  OptionReader options("loss " + std::string(LossName(compile->loss)), &config);
  if (IsCrossentropy(compile->loss)) {
    compile->from_logits = options.Bool("from_logits", false);
    options.RefuseUnlessNull({"ignore_class"});
    if (compile->loss != LossKind::kSparseCategoricalCrossentropy) {
      compile->label_smoothing = options.Number("label_smoothing", 0, 0, 1);
    }
  }
  const json* axis = options.Find("axis");
  if (axis != nullptr && WholeNumber(*axis) != -1) {
    options.Fail(ErrorCode::kUnsupported,
                 "option \"axis\" is " + ShortJson(*axis) + "; only -1 is supported");
  }
  if (compile->loss == LossKind::kHuber) {
    compile->huber_delta = options.Number("delta", 1, 0, 1e30);
  }
  compile->sum_reduction =
      options.Choice("reduction", "auto", {"auto", "sum_over_batch_size", "mean", "sum"}) == "sum";
  if (config.contains("dtype")) options.OnlyFloat32("dtype");
  options.Ignore({"name", "fn"});
  return options.Finish();
}

// A function as Keras 2.13 and later write it.
bool IsFunction(const json& value) {
  return value.is_object() && value.contains("class_name") && value["class_name"] == "function" &&
         value.contains("config") && value["config"].is_string();
}

// The loss of the one output, out of a list or an object of one.
const json& OnlyLoss(const json& given) {
  if (given.is_array() && given.size() == 1) return given[0];
  if (given.is_object() && given.size() == 1 && !given.contains("class_name")) {
    return *given.begin();
  }
  return given;
}

Status ReadLoss(const json& given, CompileConfig* compile) {
  const json& value = OnlyLoss(given);
  std::string name;
  json config = json::object();
  if (value.is_string()) {
    name = value.get<std::string>();
  } else if (IsFunction(value)) {
    name = value["config"].get<std::string>();
  } else if (value.is_object() && value.contains("class_name") && value["class_name"].is_string()) {
    name = value["class_name"].get<std::string>();
    if (value.contains("config") && value["config"].is_object()) config = value["config"];
  } else if (value.is_array() || (value.is_object() && !value.empty())) {
    return Error{ErrorCode::kUnsupported,
                 "compile: there are several losses, " + ShortJson(value) +
                     "; only one loss is supported, the same for every output"};
  } else {
    return Error{ErrorCode::kInvalidArgument,
                 "compile: the loss is " + ShortJson(value) +
                     "; expected a name such as \"sparse_categorical_crossentropy\""};
  }
  const LossRow* row = FindLoss(name);
  if (row != nullptr) {
    compile->loss = row->kind;
    return ReadLossOptions(config, compile);
  }
  std::vector<std::string> known;
  for (const LossRow& each : kLosses) known.push_back(each.name);
  return Error{ErrorCode::kUnsupported, "compile: " + UnknownNameText("loss", name, known)};
}

// The name that a metric is known by: its own, its function's, or its class's.
std::string MetricName(const json& metric) {
  if (metric.is_string()) return metric.get<std::string>();
  if (IsFunction(metric)) return metric["config"].get<std::string>();
  if (!metric.is_object() || !metric.contains("class_name") || !metric["class_name"].is_string()) {
    return "";
  }
  if (metric.contains("config") && metric["config"].is_object() &&
      metric["config"].contains("fn")) {
    const json& function = metric["config"]["fn"];
    if (function.is_string() || IsFunction(function)) return MetricName(function);
  }
  return metric["class_name"].get<std::string>();
}

// An accuracy of Keras, without case and underscores; nullopt for others.
std::optional<AccuracyRule> AccuracyRuleOf(const std::string& name, LossKind loss) {
  if (name == "accuracy" || name == "acc") return AccuracyRule::kByShape;
  const bool sparse = loss == LossKind::kSparseCategoricalCrossentropy;
  if (!sparse && (name == "binary_accuracy" || name == "BinaryAccuracy")) {
    return AccuracyRule::kBinary;
  }
  if (!sparse && (name == "categorical_accuracy" || name == "CategoricalAccuracy")) {
    return AccuracyRule::kCategorical;
  }
  if (sparse && (name == "sparse_categorical_accuracy" || name == "SparseCategoricalAccuracy")) {
    return AccuracyRule::kCategorical;
  }
  return std::nullopt;
}

// BinaryAccuracy may have a threshold of its own.
bool HasOtherThreshold(const json& metric) {
  if (!metric.is_object() || !metric.contains("config") || !metric["config"].is_object()) {
    return false;
  }
  const json& config = metric["config"];
  return config.contains("threshold") && config["threshold"] != 0.5;
}

const std::vector<std::string>& KnownMetrics() {
  static const std::vector<std::string> known = [] {
    std::vector<std::string> names = {"accuracy",
                                      "acc",
                                      "binary_accuracy",
                                      "categorical_accuracy",
                                      "sparse_categorical_accuracy",
                                      "BinaryAccuracy",
                                      "CategoricalAccuracy",
                                      "SparseCategoricalAccuracy"};
    for (const LossRow& row : kLosses) names.push_back(row.name);
    names.insert(names.end(), std::begin(kOtherMetrics), std::end(kOtherMetrics));
    return names;
  }();
  return known;
}

Status ReadMetrics(const json& metrics, CompileConfig* compile) {
  if (metrics.is_null()) return {};
  const bool by_output = metrics.is_object() && !metrics.contains("class_name");
  if (metrics.is_array() || by_output) {
    for (const json& metric : metrics) DNC_TRY(ReadMetrics(metric, compile));
    return {};
  }
  const std::string name = MetricName(metrics);
  if (name.empty()) {
    return Error{ErrorCode::kInvalidArgument, "compile: a metric is " + ShortJson(metrics) +
                                                  "; expected a name such as \"accuracy\""};
  }
  const std::optional<AccuracyRule> rule = AccuracyRuleOf(name, compile->loss);
  if (rule && !compile->accuracy && !HasOtherThreshold(metrics)) {
    compile->accuracy = true;
    compile->accuracy_rule = *rule;
    return {};
  }
  const std::vector<std::string>& known = KnownMetrics();
  if (std::find(known.begin(), known.end(), name) == known.end() && FindLoss(name) == nullptr) {
    return Error{ErrorCode::kUnsupported, "compile: " + UnknownNameText("metric", name, known)};
  }
  compile->uncomputed_metrics.push_back(name);
  return {};
}

ordered_json FormatLoss(const CompileConfig& compile) {
  const LossRow& row = RowOf(compile.loss);
  ordered_json config;
  if (compile.from_logits) config["from_logits"] = true;
  if (compile.label_smoothing != 0) config["label_smoothing"] = compile.label_smoothing;
  if (compile.huber_delta != 1) config["delta"] = compile.huber_delta;
  if (config.empty() && !compile.sum_reduction) return row.name;
  config["reduction"] = compile.sum_reduction ? "sum" : "sum_over_batch_size";
  config["name"] = row.name;
  ordered_json loss;
  loss["class_name"] = row.class_name;
  loss["config"] = std::move(config);
  return loss;
}

}  // namespace

json ResolveLogLoss(json section, const Model& model) {
  if (!section.is_object() || section.value("loss", json()) != "log_loss") return section;
  const Layer& last = model.layers[static_cast<std::size_t>(model.output_layer)];
  const bool one_output = !last.output_shape.empty() && last.output_shape.back() == 1;
  const bool is_probability =
      last.activation == Activation::kSigmoid || last.activation == Activation::kSoftmax;
  section["loss"] = {
      {"class_name", one_output ? "BinaryCrossentropy" : "SparseCategoricalCrossentropy"},
      {"config", {{"from_logits", !is_probability}}}};
  return section;
}

const char* LossName(LossKind loss) { return RowOf(loss).name; }

Result<CompileConfig> ReadCompileSection(const json& section) {
  if (!section.is_object()) {
    return Error{ErrorCode::kInvalidArgument, "compile: is " + ShortJson(section) +
                                                  "; expected an object with optimizer and loss"};
  }
  OptionReader options("compile", &section);
  const json* optimizer = options.Find("optimizer");
  const json* loss = options.Find("loss");
  const json* metrics = options.Find("metrics");
  if (section.contains("optimizer_config")) optimizer = options.Find("optimizer_config");
  const json* weighted_metrics = options.Find("weighted_metrics");
  if (weighted_metrics == nullptr || !weighted_metrics->empty()) {
    options.RefuseUnlessNull({"weighted_metrics"});
  }
  options.RefuseUnlessNull({"loss_weights", "sample_weight_mode"});
  options.OnlyBool("run_eagerly", false);
  options.OnlyBool("auto_scale_loss", true);
  options.Ignore({"jit_compile", "steps_per_execution"});  // How to run it, not what it is.
  DNC_TRY(options.Finish());
  if (optimizer == nullptr || loss == nullptr || loss->is_null()) {
    return Error{ErrorCode::kInvalidArgument,
                 std::string("compile: ") + (optimizer == nullptr ? "optimizer" : "loss") +
                     " is missing; expected \"optimizer\" and \"loss\""};
  }
  CompileConfig compile;
  DNC_ASSIGN(compile.optimizer, ReadOptimizer(*optimizer));
  DNC_TRY(ReadLoss(*loss, &compile));
  if (metrics != nullptr && !metrics->is_null()) {
    DNC_TRY(ReadMetrics(*metrics, &compile));
    compile.metrics_json = DumpJson(*metrics);
  }
  return compile;
}

std::string FormatTrainingConfig(const CompileConfig& compile) {
  ordered_json training;
  training["loss"] = FormatLoss(compile);
  training["metrics"] = ordered_json::parse(compile.metrics_json);
  training["weighted_metrics"] = nullptr;
  training["loss_weights"] = nullptr;
  training["optimizer_config"] = FormatOptimizer(compile.optimizer);
  return DumpJson(training);
}

}  // namespace dnc::model
