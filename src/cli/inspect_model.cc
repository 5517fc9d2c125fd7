#include "cli/inspect_model.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/file.h"
#include "base/human.h"
#include "cli/json_output.h"
#include "model/model_files.h"

namespace dnc::cli {
namespace {

constexpr std::uint64_t kJsonBytesMax = 16u << 20;

struct Parameters {
  std::uint64_t all = 0;
  std::uint64_t trainable = 0;
};

Parameters ParametersOf(const model::Model& model, const model::Layer& layer) {
  Parameters parameters;
  for (int i = 0; i < layer.weight_count; ++i) {
    const model::WeightSpec& weight = model.weights[layer.first_weight + i];
    parameters.all += weight.count;
    if (weight.trainable) parameters.trainable += weight.count;
  }
  return parameters;
}

Parameters ParametersOf(const model::Model& model) {
  Parameters parameters;
  for (const model::WeightSpec& weight : model.weights) {
    parameters.all += weight.count;
    if (weight.trainable) parameters.trainable += weight.count;
  }
  return parameters;
}

// With the batch axis, as Keras shows it; an axis of variable length is None, too.
std::string OutputText(const array::Shape& shape) {
  std::string text = "(None";
  for (const std::int64_t axis : shape) {
    text += ", " + (axis < 0 ? std::string("None") : std::to_string(axis));
  }
  return text + (shape.empty() ? ",)" : ")");
}

nlohmann::json OutputJson(const array::Shape& shape) {
  nlohmann::json json = {nullptr};
  for (const std::int64_t axis : shape) {
    json.push_back(axis < 0 ? nlohmann::json() : nlohmann::json(axis));
  }
  return json;
}

// "Adam", of a name, or of an object with a class; "" of anything else.
std::string NameOf(const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_object()) return "";
  for (const char* key : {"class_name", "name"}) {
    if (value.contains(key) && value[key].is_string()) return value[key].get<std::string>();
  }
  return "";
}

// The names in a list, or an object, of losses or metrics.
std::string NamesOf(const nlohmann::json& value) {
  if (!value.is_array() && (!value.is_object() || value.contains("class_name"))) {
    return NameOf(value);
  }
  std::string names;
  for (const nlohmann::json& element : value) {
    const std::string name = NamesOf(element);
    if (!name.empty()) names += (names.empty() ? "" : ", ") + name;
  }
  return names;
}

nlohmann::json CompileJson(const model::Model& model) {
  if (!model.has_compile) return nullptr;
  return nlohmann::json::parse(model.training_config_json, nullptr, false);
}

void PrintModelJson(const model::TrainedModel& trained) {
  const model::Model& model = trained.model;
  nlohmann::json json;
  json["name"] = model.name;
  json["keras_version"] = trained.keras_version;
  for (const model::Layer& layer : model.layers) {
    const Parameters parameters = ParametersOf(model, layer);
    nlohmann::json inputs = nlohmann::json::array();
    for (const int input : layer.inputs) inputs.push_back(model.layers[input].name);
    json["layers"].push_back({{"name", layer.name},
                              {"class_name", layer.class_name},
                              {"inputs", inputs},
                              {"output_shape", OutputJson(layer.output_shape)},
                              {"parameters", parameters.all},
                              {"trainable_parameters", parameters.trainable},
                              {"flops", model::ForwardFlops(model, layer)}});
  }
  const Parameters total = ParametersOf(model);
  json["parameters"] = total.all;
  json["trainable_parameters"] = total.trainable;
  json["bytes"] = total.all * sizeof(float);
  json["flops"] = model::ForwardFlops(model);
  json["compile"] = CompileJson(model);
  if (!trained.compile_refusal.empty()) json["compile_refusal"] = trained.compile_refusal;
  PrintJson(json);
}

void PrintCompile(const model::TrainedModel& trained) {
  if (!trained.compile_refusal.empty()) {
    std::printf("compiled: not usable here: %s\n", trained.compile_refusal.c_str());
    return;
  }
  if (!trained.model.has_compile) {
    std::printf("compiled: no\n");
    return;
  }
  const nlohmann::json compile = CompileJson(trained.model);
  const auto names = [&](const char* key) {
    return compile.is_object() && compile.contains(key) ? NamesOf(compile[key]) : std::string();
  };
  const std::string metrics = names("metrics");
  std::printf("compiled: optimizer %s, loss %s%s%s\n", names("optimizer_config").c_str(),
              names("loss").c_str(), metrics.empty() ? "" : ", metrics ", metrics.c_str());
}

void PrintModelText(const model::TrainedModel& trained) {
  const model::Model& model = trained.model;
  std::vector<std::array<std::string, 5>> rows = {
      {"layer", "class", "output", "parameters", "FLOPs a sample"}};
  for (const model::Layer& layer : model.layers) {
    rows.push_back({layer.name, layer.class_name, OutputText(layer.output_shape),
                    FormatCount(ParametersOf(model, layer).all),
                    FormatCount(model::ForwardFlops(model, layer))});
  }
  std::array<int, 5> widths{};
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], static_cast<int>(row[i].size()));
    }
  }
  for (const auto& row : rows) {
    std::printf("%-*s  %-*s  %-*s  %*s  %*s\n", widths[0], row[0].c_str(), widths[1],
                row[1].c_str(), widths[2], row[2].c_str(), widths[3], row[3].c_str(), widths[4],
                row[4].c_str());
  }
  const Parameters total = ParametersOf(model);
  std::printf("%s: %zu layers, %s parameters (%s trainable), %s, %s FLOPs a sample\n",
              model.name.empty() ? "model" : model.name.c_str(), model.layers.size(),
              FormatCount(total.all).c_str(), FormatCount(total.trainable).c_str(),
              FormatByteCount(total.all * sizeof(float)).c_str(),
              FormatCount(model::ForwardFlops(model)).c_str());
  PrintCompile(trained);
  if (!trained.keras_version.empty()) {
    std::printf("written by Keras %s\n", trained.keras_version.c_str());
  }
}

}  // namespace

bool IsModelFile(const std::string& location) {
  const Result<model::FileKind> kind = model::FileKindOf(location);
  if (!kind.ok() || location.find("://") != std::string::npos) return false;
  if (*kind == model::FileKind::kH5 || *kind == model::FileKind::kKeras) return true;
  if (*kind != model::FileKind::kJson) return false;
  const Result<std::string> text = ReadFile(location, kJsonBytesMax);
  if (!text.ok()) return false;
  // Keys of a model's JSON, and of no manifest's.
  return text->find("\"class_name\"") != std::string::npos &&
         text->find("\"shards\"") == std::string::npos;
}

Status InspectModel(const std::string& path, bool json) {
  DNC_ASSIGN(const model::TrainedModel trained, model::LoadArchitecture(path));
  if (json) {
    PrintModelJson(trained);
  } else {
    PrintModelText(trained);
  }
  return {};
}

}  // namespace dnc::cli
