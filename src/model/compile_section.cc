#include "model/compile_section.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/json_text.h"
#include "model/option_reader.h"

namespace dnc::model {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

struct LossRow {
  const char* name;  // As it is written.
  const char* class_name;
  const char* short_name;
  LossKind kind;
  const char* accuracy;  // The accuracy that Keras derives from this loss.
};

constexpr LossRow kLosses[] = {
    {"categorical_crossentropy", "CategoricalCrossentropy", "", LossKind::kCategoricalCrossentropy,
     "categorical_accuracy"},
    {"sparse_categorical_crossentropy", "SparseCategoricalCrossentropy", "",
     LossKind::kSparseCategoricalCrossentropy, "sparse_categorical_accuracy"},
    {"binary_crossentropy", "BinaryCrossentropy", "", LossKind::kBinaryCrossentropy,
     "binary_accuracy"},
    {"mean_squared_error", "MeanSquaredError", "mse", LossKind::kMeanSquaredError, ""},
    {"hinge", "Hinge", "", LossKind::kHinge, ""},
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

Status ReadOptimizerOptions(OptionReader* options, Optimizer* optimizer) {
  const json* rate = options->Find("learning_rate");
  const bool old_name = rate == nullptr && options->Find("lr") != nullptr;
  const char* rate_key = old_name ? "lr" : "learning_rate";
  if (options->Find("lr") != nullptr && rate != nullptr) {
    options->Fail(ErrorCode::kInvalidArgument, "has both \"learning_rate\" and \"lr\"");
  }
  if (const json* value = options->Find(rate_key); value != nullptr && value->is_object()) {
    options->Fail(ErrorCode::kUnsupported, "the learning rate is the schedule " +
                                               ShortJson(*value) +
                                               "; schedules are not supported, only a number is");
  }
  const bool sgd = optimizer->kind == OptimizerKind::kSgd;
  optimizer->learning_rate = options->Number(rate_key, sgd ? 0.01 : 0.001, 0, 1e6);
  if (sgd) {
    optimizer->momentum = options->Number("momentum", 0, 0, 1);
    optimizer->nesterov = options->Bool("nesterov", false);
  } else {
    optimizer->beta_1 = options->Number("beta_1", 0.9, 0, 1);
    optimizer->beta_2 = options->Number("beta_2", 0.999, 0, 1);
    const json* epsilon = options->Find("epsilon");
    if (epsilon == nullptr || !epsilon->is_null()) {
      optimizer->epsilon = options->Number("epsilon", 1e-7, 0, 1);
    }
    optimizer->amsgrad = options->Bool("amsgrad", false);
  }
  for (const char* key : {"decay", "weight_decay"}) {
    const json* value = options->Find(key);
    if (value == nullptr || value->is_null() || (value->is_number() && *value == 0)) continue;
    options->Fail(ErrorCode::kUnsupported, "option \"" + std::string(key) + "\" is " +
                                               ShortJson(*value) +
                                               "; it is not supported, only 0 or null is");
  }
  options->RefuseUnlessNull({"clipnorm", "clipvalue", "global_clipnorm", "loss_scale_factor",
                             "gradient_accumulation_steps"});
  options->OnlyBool("use_ema", false);
  options->Ignore(
      {"name", "ema_momentum", "ema_overwrite_frequency", "jit_compile", "is_legacy_optimizer"});
  return options->Finish();
}

Result<Optimizer> ReadOptimizer(const json& value) {
  json options = json::object();
  std::string name;
  if (value.is_string()) {
    name = value.get<std::string>();
  } else if (value.is_object()) {
    const char* name_key = value.contains("class_name") ? "class_name" : "name";
    if (value.contains(name_key) && value[name_key].is_string()) {
      name = value[name_key].get<std::string>();
    }
    if (value.contains("config") && value["config"].is_object()) {
      OptionReader outer("optimizer", &value);
      outer.Ignore({"class_name", "config", "module", "registered_name"});
      DNC_TRY(outer.Finish());
      options = value["config"];
    } else {
      options = value;
      options.erase("class_name");
    }
  }
  if (name.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 "compile: the optimizer is " + ShortJson(value) +
                     "; expected a name such as \"adam\", or an object with \"name\" and options"};
  }
  Optimizer optimizer;
  std::string plain = Lower(name);
  // Keras 2.11 wrote its own optimizers as "Custom>SGD".
  if (plain.starts_with("custom>")) plain.erase(0, 7);
  if (plain == "adam") {
    optimizer.kind = OptimizerKind::kAdam;
  } else if (plain != "sgd") {
    return Error{ErrorCode::kUnsupported,
                 "compile: " + UnknownNameText("optimizer", name, {"SGD", "Adam"})};
  }
  OptionReader reader("optimizer " + std::string(plain == "adam" ? "Adam" : "SGD"), &options);
  DNC_TRY(ReadOptimizerOptions(&reader, &optimizer));
  return optimizer;
}

Status ReadLossOptions(const json& config, CompileConfig* compile) {
  OptionReader options("loss " + std::string(RowOf(compile->loss).name), &config);
  const bool has_logits =
      compile->loss != LossKind::kMeanSquaredError && compile->loss != LossKind::kHinge;
  if (has_logits) {
    compile->from_logits = options.Bool("from_logits", false);
    options.RefuseUnlessNull({"ignore_class"});
    const json* smoothing = options.Find("label_smoothing");
    if (smoothing != nullptr && !(smoothing->is_number() && *smoothing == 0)) {
      options.Fail(ErrorCode::kUnsupported,
                   "option \"label_smoothing\" is " + ShortJson(*smoothing) + "; only 0 is");
    }
    const json* axis = options.Find("axis");
    if (axis != nullptr && WholeNumber(*axis) != -1) {
      options.Fail(ErrorCode::kUnsupported,
                   "option \"axis\" is " + ShortJson(*axis) + "; only -1 is supported");
    }
  }
  options.Choice("reduction", "auto", {"auto", "sum_over_batch_size", "mean"});
  if (config.contains("dtype")) options.OnlyFloat32("dtype");
  options.Ignore({"name", "fn"});
  return options.Finish();
}

Status ReadLoss(const json& given, CompileConfig* compile) {
  const json& value = given.is_array() && given.size() == 1 ? given[0] : given;
  std::string name;
  json config = json::object();
  if (value.is_string()) {
    name = value.get<std::string>();
  } else if (value.is_object() && value.contains("class_name") && value["class_name"].is_string()) {
    name = value["class_name"].get<std::string>();
    if (value.contains("config") && value["config"].is_object()) config = value["config"];
  } else {
    return Error{ErrorCode::kInvalidArgument,
                 "compile: the loss is " + ShortJson(value) +
                     "; expected a name such as \"sparse_categorical_crossentropy\""};
  }
  std::vector<std::string> known;
  for (const LossRow& row : kLosses) {
    known.push_back(row.name);
    const std::string short_name = Lower(name);
    if (name != row.name && name != row.class_name && short_name != row.short_name) continue;
    compile->loss = row.kind;
    return ReadLossOptions(config, compile);
  }
  return Error{ErrorCode::kUnsupported, "compile: " + UnknownNameText("loss", name, known)};
}

// The name that a metric is known by: its own, its function's, or its class's.
std::string MetricName(const json& metric) {
  if (metric.is_string()) return metric.get<std::string>();
  if (!metric.is_object()) return "";
  if (metric.contains("config") && metric["config"].is_object()) {
    const json& config = metric["config"];
    for (const char* key : {"fn", "name"}) {
      if (config.contains(key) && config[key].is_string()) return config[key].get<std::string>();
    }
  }
  if (metric.contains("class_name") && metric["class_name"].is_string()) {
    return metric["class_name"].get<std::string>();
  }
  return "";
}

Status ReadMetrics(const json& metrics, CompileConfig* compile) {
  if (metrics.is_null()) return {};
  if (metrics.is_array()) {
    for (const json& metric : metrics) DNC_TRY(ReadMetrics(metric, compile));
    return {};
  }
  const std::string name = MetricName(metrics);
  const std::string expected = RowOf(compile->loss).accuracy;
  std::vector<std::string> known = {"accuracy", "acc"};
  if (!expected.empty()) known.push_back(expected);
  std::string squeezed;
  for (const char c : expected) {
    if (c != '_') squeezed += c;
  }
  if (name == "accuracy" || name == "acc" ||
      (!expected.empty() && (name == expected || Lower(name) == squeezed))) {
    compile->accuracy = true;
    return {};
  }
  if (name.empty()) {
    return Error{ErrorCode::kInvalidArgument, "compile: a metric is " + ShortJson(metrics) +
                                                  "; expected a name such as \"accuracy\""};
  }
  return Error{ErrorCode::kUnsupported, "compile: " + UnknownNameText("metric", name, known) +
                                            " (with the loss " + RowOf(compile->loss).name + ")"};
}

}  // namespace

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
  options.RefuseUnlessNull({"loss_weights", "weighted_metrics", "sample_weight_mode"});
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
  if (metrics != nullptr) DNC_TRY(ReadMetrics(*metrics, &compile));
  return compile;
}

std::string FormatTrainingConfig(const CompileConfig& compile) {
  const Optimizer& optimizer = compile.optimizer;
  const bool sgd = optimizer.kind == OptimizerKind::kSgd;
  const LossRow& row = RowOf(compile.loss);
  ordered_json options;
  options["name"] = sgd ? "SGD" : "Adam";
  options["learning_rate"] = optimizer.learning_rate;
  if (sgd) {
    options["momentum"] = optimizer.momentum;
    options["nesterov"] = optimizer.nesterov;
  } else {
    options["beta_1"] = optimizer.beta_1;
    options["beta_2"] = optimizer.beta_2;
    options["epsilon"] = optimizer.epsilon;
    options["amsgrad"] = optimizer.amsgrad;
  }
  ordered_json training;
  if (compile.from_logits) {
    training["loss"]["class_name"] = row.class_name;
    training["loss"]["config"]["reduction"] = "sum_over_batch_size";
    training["loss"]["config"]["name"] = row.name;
    training["loss"]["config"]["from_logits"] = true;
  } else {
    training["loss"] = row.name;
  }
  training["metrics"] = ordered_json::array();
  if (compile.accuracy) training["metrics"].push_back("accuracy");
  training["weighted_metrics"] = nullptr;
  training["loss_weights"] = nullptr;
  training["optimizer_config"]["class_name"] = sgd ? "SGD" : "Adam";
  training["optimizer_config"]["config"] = std::move(options);
  return DumpJson(training);
}

}  // namespace dnc::model
