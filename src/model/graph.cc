#include "model/graph.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/human.h"
#include "model/inbound_nodes.h"
#include "model/json_text.h"

namespace dnc::model {
namespace {

using nlohmann::json;

Error Invalid(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }
Error Unsupported(std::string message) { return {ErrorCode::kUnsupported, std::move(message)}; }

// "", if `key` is absent or null; nullopt, if it is no text.
std::optional<std::string> TextOf(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return "";
  if (!found->is_string()) return std::nullopt;
  return found->get<std::string>();
}

// Names become groups of an .h5 and parts of messages.
Status CheckName(const std::string& name) {
  const Error wrong = Invalid("a layer is called " + Quoted(name) +
                              "; expected 1 to 256 bytes of printable text, not a path");
  if (name.empty() || name.size() > 256 || name == "top_level_model_weights") return wrong;
  std::size_t part_begin = 0;
  for (std::size_t i = 0; i <= name.size(); ++i) {
    if (i < name.size() && (static_cast<unsigned char>(name[i]) < 0x20 || name[i] == 0x7f)) {
      return wrong;
    }
    if (i < name.size() && name[i] != '/') continue;
    const std::string_view part = std::string_view(name).substr(part_begin, i - part_begin);
    if (part.empty() || part == "." || part == "..") return wrong;
    part_begin = i + 1;
  }
  return {};
}

Result<const LayerClass*> LayerClassOf(const json& layer) {
  const std::optional<std::string> class_name = TextOf(layer, "class_name");
  if (!class_name || class_name->empty()) {
    return Invalid("a layer has no \"class_name\"; expected Keras's JSON");
  }
  const std::optional<std::string> registered = TextOf(layer, "registered_name");
  if (class_name->find('>') != std::string::npos || !registered || !registered->empty()) {
    return Unsupported("layer " + Quoted(*class_name) +
                       " is a custom object; a model is data here, and code is not run");
  }
  if (*class_name == "Lambda") {
    return Unsupported(
        "layer \"Lambda\" holds code; a model is data here, and code is not run: use layers");
  }
  if (*class_name == "Sequential" || *class_name == "Functional" || *class_name == "Model") {
    return Unsupported("a model within the model (" + *class_name +
                       ") is not supported; put its layers directly into the model");
  }
  const LayerClass* row = FindLayerClass(*class_name);
  if (row == nullptr)
    return Unsupported(UnknownNameText("layer", *class_name, KnownLayerClasses()));
  return row;
}

// A layer's node, its name still as given ("" for none).
Result<GraphNode> ReadNode(const json& layer) {
  if (!layer.is_object()) return Invalid("a layer is " + ShortJson(layer) + "; expected an object");
  GraphNode node;
  DNC_ASSIGN(node.layer_class, LayerClassOf(layer));
  const auto config = layer.find("config");
  if (config == layer.end() || !config->is_object()) {
    return Invalid("a layer of class " + std::string(node.layer_class->class_name) +
                   " has no \"config\"; expected an object with its options");
  }
  node.config = &*config;
  const std::optional<std::string> outer = TextOf(layer, "name");
  const std::optional<std::string> inner = TextOf(*config, "name");
  if (!outer || !inner || (!outer->empty() && !inner->empty() && *outer != *inner)) {
    return Invalid("a layer of class " + std::string(node.layer_class->class_name) +
                   " has two names or one that is no text");
  }
  node.name = outer->empty() ? *inner : *outer;
  static const std::vector<std::string> kKeys = {
      "class_name", "config", "name", "inbound_nodes", "module", "registered_name", "build_config"};
  for (const auto& [key, value] : layer.items()) {
    if (std::find(kKeys.begin(), kKeys.end(), key) == kKeys.end()) {
      return Unsupported(Quoted(node.name) + ": " + UnknownNameText("key", key, kKeys));
    }
  }
  return node;
}

// Keras's automatic names: conv2d, conv2d_1, conv2d_2.
Status NameNodes(std::vector<GraphNode>* nodes) {
  std::set<std::string> taken;
  for (const GraphNode& node : *nodes) {
    if (node.name.empty()) continue;
    DNC_TRY(CheckName(node.name));
    if (!taken.insert(node.name).second) {
      return Invalid("two layers are called " + Quoted(node.name) + "; expected distinct names");
    }
  }
  std::map<const LayerClass*, int> next_number;
  for (GraphNode& node : *nodes) {
    while (node.name.empty()) {
      int& number = next_number[node.layer_class];
      std::string name = node.layer_class->default_name;
      if (number > 0) name += "_" + std::to_string(number);
      ++number;
      if (taken.insert(name).second) node.name = std::move(name);
    }
  }
  // "a" and "a/b" could claim the same path in an .h5.
  for (auto name = taken.begin(); name != taken.end(); ++name) {
    const auto below = taken.lower_bound(*name + "/");
    if (below != taken.end() && below->compare(0, name->size() + 1, *name + "/") == 0) {
      return Invalid("the layer names " + Quoted(*name) + " and " + Quoted(*below) +
                     " overlap as paths; rename one");
    }
  }
  return {};
}

Result<const json*> LayersOf(const json& config, const ModelLimits& limits) {
  const json* layers = &config;
  if (config.is_object()) {
    const auto found = config.find("layers");
    if (found == config.end()) return Invalid("the model's \"config\" has no \"layers\"");
    layers = &*found;
  }
  if (!layers->is_array() || layers->empty()) {
    return Invalid("the model's layers are " + ShortJson(*layers) + "; expected a list of layers");
  }
  if (layers->size() > limits.layer_count_max) {
    return Error{ErrorCode::kTooLarge, "the model has " + std::to_string(layers->size()) +
                                           " layers; at most " +
                                           std::to_string(limits.layer_count_max) + " are read"};
  }
  return layers;
}

// The keys of a model's config beside its layers.
Status ReadModelConfig(const json& config, Graph* graph) {
  graph->name = graph->sequential ? "sequential" : "model";
  if (!config.is_object()) return {};
  OptionReader options("model", &config);
  options.Ignore({"layers", "input_layers", "output_layers"});
  options.OnlyBool("trainable", true);
  if (config.contains("dtype")) options.OnlyFloat32("dtype");
  if (const json* name = options.Find("name"); name != nullptr && !name->is_null()) {
    if (!name->is_string() || !CheckName(name->get<std::string>()).ok()) {
      options.Fail(ErrorCode::kInvalidArgument,
                   "its name is " + ShortJson(*name) + "; expected printable text, not a path");
    } else {
      graph->name = name->get<std::string>();
    }
  }
  const json* shape = graph->sequential ? options.Find("build_input_shape") : nullptr;
  if (shape != nullptr && !shape->is_null()) {
    Result<array::Shape> parsed = ShapeFromJson(*shape, true);
    if (parsed.ok()) {
      graph->build_input_shape = *parsed;
    } else {
      options.Fail(parsed.error().code, parsed.error().message);
    }
  }
  return options.Finish();
}

Status CheckInputLayerIsFirst(const Graph& graph) {
  for (std::size_t i = 1; i < graph.nodes.size(); ++i) {
    if (graph.nodes[i].layer_class->kind == LayerKind::kInput) {
      return Invalid(graph.nodes[i].name + ": an InputLayer after " + graph.nodes[i - 1].name +
                     "; expected only one, as the first layer");
    }
  }
  return {};
}

// Orders the nodes from the input to the output by each one's single input.
Status OrderChain(const std::vector<std::string>& inputs, const std::string& input_layer,
                  const std::string& output_layer, std::vector<GraphNode>* nodes) {
  std::map<std::string, std::size_t> index_of;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < nodes->size(); ++i) {
    index_of[(*nodes)[i].name] = i;
    names.push_back((*nodes)[i].name);
  }
  const auto check_known = [&](const std::string& name, const std::string& where) -> Status {
    if (index_of.contains(name)) return {};
    const std::string nearest = NearestName(name.substr(0, 64), names);
    return Invalid(where + " refers to the layer " + Quoted(name) + ", which is not there" +
                   (nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?"));
  };
  DNC_TRY(check_known(input_layer, "\"input_layers\""));
  DNC_TRY(check_known(output_layer, "\"output_layers\""));
  for (std::size_t i = 0; i < nodes->size(); ++i) {
    if (!inputs[i].empty()) DNC_TRY(check_known(inputs[i], names[i]));
  }
  std::vector<std::size_t> chain;
  std::vector<bool> visited(nodes->size(), false);
  for (std::size_t i = index_of[output_layer];; i = index_of[inputs[i]]) {
    if (visited[i]) {
      return Invalid("the layers form a cycle: " + names[i] + " depends on its own output");
    }
    visited[i] = true;
    chain.push_back(i);
    if (inputs[i].empty()) break;
  }
  if (names[chain.back()] != input_layer) {
    return Invalid("the output does not come from the input layer " + Quoted(input_layer) +
                   " but from " + Quoted(names[chain.back()]));
  }
  for (std::size_t i = 0; i < nodes->size(); ++i) {
    if (!visited[i]) {
      return Invalid(names[i] + ": is not on the way from the input " + Quoted(input_layer) +
                     " to the output " + Quoted(output_layer) + "; remove it or connect it");
    }
  }
  std::vector<GraphNode> ordered;
  for (auto i = chain.rbegin(); i != chain.rend(); ++i) ordered.push_back((*nodes)[*i]);
  *nodes = std::move(ordered);
  return {};
}

Status ReadFunctional(const json& config, const json& layers, Graph* graph) {
  std::vector<std::string> inputs;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const GraphNode& node = graph->nodes[i];
    Result<std::string> input = InputOfLayer(layers[i]);
    if (!input.ok()) return input.error().WithContext(node.name);
    const bool is_input = node.layer_class->kind == LayerKind::kInput;
    if (is_input != input->empty()) {
      return Invalid(node.name + (is_input
                                      ? ": an InputLayer that takes the output of another layer"
                                      : ": has no input; expected \"inbound_nodes\" with one"));
    }
    inputs.push_back(*std::move(input));
  }
  DNC_ASSIGN(const std::string input_layer, SingleEndpoint(config, "input_layers"));
  DNC_ASSIGN(const std::string output_layer, SingleEndpoint(config, "output_layers"));
  return OrderChain(inputs, input_layer, output_layer, &graph->nodes);
}

}  // namespace

Result<Graph> ReadGraph(const json& architecture, const ModelLimits& limits) {
  const std::optional<std::string> class_name = TextOf(architecture, "class_name");
  const auto config = architecture.find("config");
  if (!class_name || config == architecture.end() ||
      !(config->is_object() || (config->is_array() && *class_name == "Sequential"))) {
    return Invalid("not a model of Keras: expected {\"class_name\": ..., \"config\": {...}}");
  }
  Graph graph;
  graph.sequential = *class_name == "Sequential";
  if (!graph.sequential && *class_name != "Functional" && *class_name != "Model") {
    return Unsupported(
        UnknownNameText("kind of model", *class_name, {"Sequential", "Functional", "Model"}));
  }
  DNC_TRY(ReadModelConfig(*config, &graph));
  DNC_ASSIGN(const json* layers, LayersOf(*config, limits));
  for (const json& layer : *layers) {
    DNC_ASSIGN(GraphNode node, ReadNode(layer));
    graph.nodes.push_back(std::move(node));
  }
  DNC_TRY(NameNodes(&graph.nodes));
  if (!graph.sequential) DNC_TRY(ReadFunctional(*config, *layers, &graph));
  DNC_TRY(CheckInputLayerIsFirst(graph));
  return graph;
}

}  // namespace dnc::model
