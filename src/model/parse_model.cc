#include <algorithm>
#include <exception>
#include <nlohmann/json.hpp>

#include "base/human.h"
#include "model/compile_section.h"
#include "model/graph.h"
#include "model/json_text.h"
#include "model/layer_registry.h"
#include "model/model.h"
#include "model/model_text.h"

namespace dnc::model {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

// Floating-point operations that building one orthogonal matrix may take: minutes.
constexpr std::uint64_t kOrthogonalWorkMax = std::uint64_t{1} << 37;

struct Sections {
  const json* architecture = nullptr;
  const json* compile = nullptr;  // null: none.
};

Result<Sections> FindSections(const json& document) {
  if (!document.is_object()) {
    return Error{ErrorCode::kInvalidArgument,
                 "not a model of Keras: the JSON is " + ShortJson(document) +
                     "; expected an object as model.to_json() writes it"};
  }
  OptionReader options("model", &document);
  options.Ignore({"class_name", "config", "keras_version", "backend", "module", "registered_name",
                  "build_config", "model_config"});
  Sections sections;
  for (const char* key : {"compile", "training_config", "compile_config"}) {
    const json* value = options.Find(key);
    if (value == nullptr || value->is_null()) continue;
    if (sections.compile != nullptr) {
      options.Fail(ErrorCode::kInvalidArgument,
                   "has two compile sections; expected one of \"compile\" and \"training_config\"");
    }
    sections.compile = value;
  }
  DNC_TRY(options.Finish());
  sections.architecture = &document;
  if (document.contains("model_config")) {
    sections.architecture = &document["model_config"];
    if (!sections.architecture->is_object() || document.contains("config")) {
      return Error{ErrorCode::kInvalidArgument,
                   "\"model_config\" is " + ShortJson(*sections.architecture) +
                       "; expected an object {\"class_name\": ..., \"config\": ...}, and no other"};
    }
  }
  return sections;
}

// Assembles the model layer by layer, and beside it Keras's JSON of it.
class ModelBuilder {
 public:
  explicit ModelBuilder(const ModelLimits& limits) : limits_(limits) {}

  Status AddNode(const GraphNode& node, const Graph& graph) {
    LayerDraft draft;
    draft.layer.name = node.name;
    OptionReader options(node.name, node.config);
    DNC_TRY(ReadLayer(*node.layer_class, &options, &draft));
    if (model_.layers.empty() && draft.layer.kind != LayerKind::kInput) {
      DNC_TRY(AddImpliedInput(draft, graph));
    }
    if (!model_.layers.empty() && draft.given_input_shape &&
        *draft.given_input_shape != model_.layers.back().output_shape) {
      return Error{ErrorCode::kInvalidArgument,
                   node.name + ": its input shape is given as " +
                       array::ShapeText(*draft.given_input_shape) + ", but the layer before it, " +
                       model_.layers.back().name + ", gives " +
                       array::ShapeText(model_.layers.back().output_shape)};
    }
    return AddDraft(*node.layer_class, options.TakeRecord(), std::move(draft));
  }

  Model Finish(const Graph& graph) {
    model_.name = graph.name;
    model_.output_layer = static_cast<int>(model_.layers.size()) - 1;
    model_.model_config_json = ConfigJson(graph);
    return std::move(model_);
  }

 private:
  // A Sequential may begin with any layer that says its input's shape.
  Status AddImpliedInput(const LayerDraft& first, const Graph& graph) {
    LayerDraft input;
    input.given_input_shape =
        first.given_input_shape ? first.given_input_shape : graph.build_input_shape;
    if (!input.given_input_shape) {
      return Error{ErrorCode::kInvalidArgument,
                   first.layer.name +
                       ": the model's input shape is missing; begin with an InputLayer, or give "
                       "this layer a \"batch_input_shape\" such as [null, 28, 28, 1]"};
    }
    input.layer.name = first.layer.name + "_input";
    const auto is_taken = [&](const GraphNode& node) { return node.name == input.layer.name; };
    while (std::any_of(graph.nodes.begin(), graph.nodes.end(), is_taken)) {
      input.layer.name += "_1";
    }
    const LayerClass& layer_class = *FindLayerClass("InputLayer");
    return AddDraft(layer_class, ordered_json::object(), std::move(input));
  }

  Status AddDraft(const LayerClass& layer_class, ordered_json config, LayerDraft draft) {
    Layer& layer = draft.layer;
    layer.kind = layer_class.kind;
    layer.class_name = layer_class.class_name;
    const bool first = model_.layers.empty();
    DNC_TRY(layer_class.infer(first ? array::Shape() : model_.layers.back().output_shape, &draft));
    const auto element_count = array::ElementCount(layer.output_shape);
    if (!element_count || *element_count > limits_.activation_count_max) {
      return Error{ErrorCode::kTooLarge,
                   layer.name + ": its output " + array::ShapeText(layer.output_shape) +
                       " has more than " + FormatCount(limits_.activation_count_max) +
                       " elements a sample"};
    }
    if (!first) layer.inputs = {static_cast<int>(model_.layers.size()) - 1};
    layer.first_weight = static_cast<int>(model_.weights.size());
    layer.weight_count = static_cast<int>(draft.weights.size());
    for (WeightSpec& weight : draft.weights) DNC_TRY(AddWeight(std::move(weight)));
    if (layer.kind == LayerKind::kInput) config = InputConfig(layer);
    class_names_.push_back(layer_class.class_name);
    configs_.push_back(std::move(config));
    model_.layers.push_back(std::move(layer));
    return {};
  }

  Status AddWeight(WeightSpec weight) {
    const auto count = array::ElementCount(weight.shape);
    if (!count || *count > limits_.weight_count_max - model_.weight_count) {
      return Error{ErrorCode::kTooLarge, weight.name + " of shape " +
                                             array::ShapeText(weight.shape) +
                                             " brings the model above " +
                                             FormatCount(limits_.weight_count_max) + " weights"};
    }
    weight.count = *count;
    weight.offset = model_.weight_count;
    if (weight.initializer.kind == InitializerKind::kOrthogonal) {
      DNC_TRY(CheckOrthogonal(weight));
    }
    model_.weight_count += *count;
    model_.weights.push_back(std::move(weight));
    return {};
  }

  static Status CheckOrthogonal(const WeightSpec& weight) {
    if (weight.shape.size() < 2) {
      return Error{ErrorCode::kInvalidArgument,
                   weight.name + " has shape " + array::ShapeText(weight.shape) +
                       "; an Orthogonal initializer needs at least two axes"};
    }
    const auto columns = static_cast<std::uint64_t>(weight.shape.back());
    const std::uint64_t shorter = std::min(columns, weight.count / columns);
    if (weight.count > kOrthogonalWorkMax / shorter) {
      return Error{ErrorCode::kTooLarge, weight.name + " of shape " +
                                             array::ShapeText(weight.shape) +
                                             " is too large for an Orthogonal initializer"};
    }
    return {};
  }

  static ordered_json InputConfig(const Layer& layer) {
    ordered_json shape = ordered_json::array({nullptr});
    for (const std::int64_t axis : layer.output_shape) shape.push_back(axis);
    ordered_json config;
    config["batch_input_shape"] = std::move(shape);
    config["dtype"] = "float32";
    config["sparse"] = false;
    config["ragged"] = false;
    config["name"] = layer.name;
    return config;
  }

  static ordered_json Endpoint(const Layer& layer) {
    return ordered_json::array({ordered_json::array({layer.name, 0, 0})});
  }

  std::string ConfigJson(const Graph& graph) {
    ordered_json layers = ordered_json::array();
    for (std::size_t i = 0; i < model_.layers.size(); ++i) {
      ordered_json layer;
      layer["class_name"] = class_names_[i];
      layer["config"] = std::move(configs_[i]);
      if (!graph.sequential) {
        layer["name"] = model_.layers[i].name;
        layer["inbound_nodes"] = ordered_json::array();
        if (i > 0) {
          layer["inbound_nodes"] = ordered_json::array({ordered_json::array(
              {ordered_json::array({model_.layers[i - 1].name, 0, 0, ordered_json::object()})})});
        }
      }
      layers.push_back(std::move(layer));
    }
    ordered_json document;
    document["class_name"] = graph.sequential ? "Sequential" : "Functional";
    document["config"]["name"] = graph.name;
    document["config"]["layers"] = std::move(layers);
    if (!graph.sequential) {
      document["config"]["input_layers"] = Endpoint(model_.layers.front());
      document["config"]["output_layers"] = Endpoint(model_.layers.back());
    }
    return DumpJson(document);
  }

  ModelLimits limits_;
  Model model_;
  std::vector<const char*> class_names_;
  std::vector<ordered_json> configs_;
};

Result<Model> BuildModel(std::string_view text, const ModelLimits& limits) {
  json document;
  DNC_TRY(ParseJsonText(text, limits.json_bytes_max, &document));
  DNC_ASSIGN(const Sections sections, FindSections(document));
  DNC_ASSIGN(const Graph graph, ReadGraph(*sections.architecture, limits));
  ModelBuilder builder(limits);
  for (const GraphNode& node : graph.nodes) DNC_TRY(builder.AddNode(node, graph));
  Model model = builder.Finish(graph);
  if (sections.compile != nullptr) {
    DNC_ASSIGN(model.compile, ReadCompileSection(*sections.compile));
    model.has_compile = true;
    model.training_config_json = FormatTrainingConfig(model.compile);
  }
  return model;
}

}  // namespace

Result<Model> ParseModel(std::string_view json_text, const std::string& name,
                         const ModelLimits& limits) {
  try {
    Result<Model> model = BuildModel(json_text, limits);
    if (!model.ok()) return model.error().WithContext(name);
    return model;
  } catch (const std::exception& error) {  // Of the JSON library: no case of it is known.
    return Error{ErrorCode::kInternal, name + ": " + error.what()};
  }
}

std::string FormatModel(const Model& model) {
  std::string text = "{\"model_config\":" + model.model_config_json;
  if (model.has_compile) text += ",\"training_config\":" + model.training_config_json;
  return text + "}";
}

Status ReadTrainingConfig(std::string_view text, const ModelLimits& limits, Model* model) {
  try {
    json document;
    DNC_TRY(ParseJsonText(text, limits.json_bytes_max, &document));
    DNC_ASSIGN(model->compile, ReadCompileSection(document));
    model->has_compile = true;
    model->training_config_json = FormatTrainingConfig(model->compile);
    return {};
  } catch (const std::exception& error) {
    return Error{ErrorCode::kInternal, error.what()};
  }
}

bool IsSequential(const Model& model) {
  return model.model_config_json.starts_with("{\"class_name\":\"Sequential\"");
}

}  // namespace dnc::model
