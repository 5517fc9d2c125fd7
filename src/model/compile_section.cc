#include "model/compile_section.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/json_text.h"
#include "model/loss_section.h"
#include "model/metric_section.h"
#include "model/optimizer_section.h"
#include "model/option_reader.h"

namespace dnc::model {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

Error Invalid(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

// The cross-entropy that "log_loss" means for this layer's output.
LossConfig LogLossOf(const Layer& layer) {
  const bool one_output = !layer.output_shape.empty() && layer.output_shape.back() == 1;
  const bool is_probability =
      layer.activation == Activation::kSigmoid || layer.activation == Activation::kSoftmax;
  LossConfig loss;
  loss.kind = one_output ? LossKind::kBinaryCrossentropy : LossKind::kSparseCategoricalCrossentropy;
  loss.from_logits = !is_probability;
  return loss;
}

// What is given for each output: a list, or an object with the outputs' names.
bool IsByName(const json& value) { return value.is_object() && !value.contains("class_name"); }

// Reads `loss` into `outputs`, of which there is one for each of the model's.
Status ReadLosses(const json& loss, const Model& model, std::vector<OutputConfig>* outputs) {
  const auto read_one = [&](const json& value, std::size_t index) -> Status {
    OutputConfig& output = (*outputs)[index];
    if (value.is_null()) return {};
    if (value == "log_loss") {
      output.loss = LogLossOf(model.output(static_cast<int>(index)));
      return {};
    }
    DNC_ASSIGN(output.loss, ReadLossConfig(value));
    return {};
  };
  if (IsByName(loss)) {
    for (const auto& [name, value] : loss.items()) {
      DNC_ASSIGN(const std::size_t index, OutputOfName(name, model.output_names, "losses"));
      DNC_TRY(read_one(value, index));
    }
  } else if (loss.is_array()) {
    if (loss.size() != outputs->size()) {
      return Invalid("compile: there are " + std::to_string(loss.size()) + " losses, " +
                     ShortJson(loss) + ", but the model has " + std::to_string(outputs->size()) +
                     " outputs; give one for each, or one for all");
    }
    for (std::size_t i = 0; i < loss.size(); ++i) DNC_TRY(read_one(loss[i], i));
  } else {
    for (std::size_t i = 0; i < outputs->size(); ++i) DNC_TRY(read_one(loss, i));
  }
  const bool any = std::any_of(outputs->begin(), outputs->end(),
                               [](const OutputConfig& output) { return output.loss.has_value(); });
  if (any) return {};
  return Invalid("compile: the loss is " + ShortJson(loss) +
                 "; expected a name such as \"sparse_categorical_crossentropy\"");
}

Status ReadLossWeights(const json& weights, const Model& model,
                       std::vector<OutputConfig>* outputs) {
  const auto read_one = [&](const json& value, std::size_t index) -> Status {
    if (value.is_null()) return {};
    if (!value.is_number() || !(value.get<double>() >= 0)) {
      return Invalid("compile: a weight of a loss is " + ShortJson(value) +
                     "; expected a number not below 0");
    }
    (*outputs)[index].loss_weight = value.get<double>();
    return {};
  };
  if (IsByName(weights)) {
    for (const auto& [name, value] : weights.items()) {
      DNC_ASSIGN(const std::size_t index, OutputOfName(name, model.output_names, "loss_weights"));
      DNC_TRY(read_one(value, index));
    }
    return {};
  }
  if (!weights.is_array() || weights.size() != outputs->size()) {
    return Invalid("compile: loss_weights is " + ShortJson(weights) +
                   "; expected a number for each of the model's " +
                   std::to_string(outputs->size()) + " outputs");
  }
  for (std::size_t i = 0; i < weights.size(); ++i) DNC_TRY(read_one(weights[i], i));
  return {};
}

// The losses as one where all are the same, else one for each output.
ordered_json FormatLosses(const CompileConfig& compile) {
  const OutputConfig& first = compile.outputs.front();
  const bool same =
      std::all_of(compile.outputs.begin(), compile.outputs.end(),
                  [&](const OutputConfig& output) { return output.loss == first.loss; });
  if (same) return FormatLossConfig(*first.loss);
  ordered_json losses = ordered_json::array();
  for (const OutputConfig& output : compile.outputs) {
    losses.push_back(output.loss ? FormatLossConfig(*output.loss) : ordered_json());
  }
  return losses;
}

}  // namespace

std::vector<int> CompileConfig::trained_outputs() const {
  std::vector<int> trained;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i].loss) trained.push_back(static_cast<int>(i));
  }
  return trained;
}

const Metric* CompileConfig::accuracy() const {
  if (outputs.size() != 1) return nullptr;
  for (const Metric& metric : outputs[0].metrics) {
    if (metric.kind == MetricKind::kAccuracy && metric.threshold == 0.5) return &metric;
  }
  return nullptr;
}

Result<CompileConfig> ReadCompileSection(const json& section, const Model& model) {
  if (!section.is_object()) {
    return Invalid("compile: is " + ShortJson(section) +
                   "; expected an object with optimizer and loss");
  }
  OptionReader options("compile", &section);
  const json* optimizer = options.Find("optimizer");
  const json* loss = options.Find("loss");
  const json* metrics = options.Find("metrics");
  if (section.contains("optimizer_config")) optimizer = options.Find("optimizer_config");
  const json* weighted_metrics = options.Find("weighted_metrics");
  const json* loss_weights = options.Find("loss_weights");
  options.RefuseUnlessNull({"sample_weight_mode"});
  options.OnlyBool("run_eagerly", false);
  options.OnlyBool("auto_scale_loss", true);
  options.Ignore({"jit_compile", "steps_per_execution"});  // How to run it, not what it is.
  DNC_TRY(options.Finish());
  if (optimizer == nullptr || loss == nullptr || loss->is_null()) {
    return Invalid(std::string("compile: ") + (optimizer == nullptr ? "optimizer" : "loss") +
                   " is missing; expected \"optimizer\" and \"loss\"");
  }
  CompileConfig compile;
  DNC_ASSIGN(compile.optimizer, ReadOptimizer(*optimizer));
  compile.outputs.resize(model.output_layers.size());
  DNC_TRY(ReadLosses(*loss, model, &compile.outputs));
  if (loss_weights != nullptr && !loss_weights->is_null()) {
    DNC_TRY(ReadLossWeights(*loss_weights, model, &compile.outputs));
    compile.loss_weights_json = DumpJson(*loss_weights);
  }
  if (metrics != nullptr && !metrics->is_null()) {
    DNC_TRY(
        ReadMetrics(*metrics, model.output_names, &compile.outputs, &compile.uncomputed_metrics));
    compile.metrics_json = DumpJson(*metrics);
  }
  if (weighted_metrics != nullptr && !weighted_metrics->is_null()) {
    // Only samples with weights make a difference, and those are of the training alone.
    std::vector<OutputConfig> kept = compile.outputs;
    DNC_TRY(ReadMetrics(*weighted_metrics, model.output_names, &kept, &compile.uncomputed_metrics));
    for (std::size_t i = 0; i < kept.size(); ++i) {
      for (std::size_t k = compile.outputs[i].metrics.size(); k < kept[i].metrics.size(); ++k) {
        compile.uncomputed_metrics.push_back(kept[i].metrics[k].name);
      }
    }
    compile.weighted_metrics_json = DumpJson(*weighted_metrics);
  }
  return compile;
}

std::string FormatTrainingConfig(const CompileConfig& compile) {
  ordered_json training;
  training["loss"] = FormatLosses(compile);
  training["metrics"] = ordered_json::parse(compile.metrics_json);
  training["weighted_metrics"] = ordered_json::parse(compile.weighted_metrics_json);
  training["loss_weights"] = ordered_json::parse(compile.loss_weights_json);
  training["optimizer_config"] = FormatOptimizer(compile.optimizer);
  return DumpJson(training);
}

}  // namespace dnc::model
