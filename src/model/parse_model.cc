#include <algorithm>
#include <exception>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/human.h"
#include "model/compile_section.h"
#include "model/graph.h"
#include "model/json_text.h"
#include "model/keras1.h"
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

// How an axis of variable length is filled in.
struct InputLengths {
  std::int64_t stand_in = 64;
  std::vector<array::Shape> bound;  // The shape of each input; empty: not known.
};

// Equal, where an axis of variable length in `given` equals any.
bool Matches(const array::Shape& given, const array::Shape& found) {
  return std::equal(given.begin(), given.end(), found.begin(), found.end(),
                    [](auto a, auto b) { return a == kVariableAxis || a == b; });
}

bool HasModelsWithin(const Graph& graph) {
  return std::any_of(graph.members.begin(), graph.members.end(), [](const GraphMember& member) {
    return member.layers.size() != 1 || member.layers[0] != member.name;
  });
}

// Assembles the model call by call, and beside it Keras's JSON of it.
class ModelBuilder {
 public:
  ModelBuilder(const ModelLimits& limits, const InputLengths& lengths, const Graph& graph)
      : limits_(limits), lengths_(lengths), graph_(graph) {}

  Status AddNodes() {
    for (const GraphNode& node : graph_.nodes) DNC_TRY(AddNode(node));
    for (const JoinedInput& joined : graph_.joined) {
      const Layer& source = LayerAt(joined.node);
      if (Matches(joined.shape, source.output_shape)) continue;
      return Error{ErrorCode::kInvalidArgument,
                   joined.input_layer + ": its shape is " + array::ShapeText(joined.shape) +
                       ", but it is given the output of " + source.name + ", of shape " +
                       array::ShapeText(source.output_shape)};
    }
    return {};
  }

  Model Finish() {
    model_.name = graph_.name;
    model_.sequential = graph_.sequential;
    model_.output_layers = graph_.outputs;
    model_.output_layer = graph_.outputs.front();
    model_.output_names = graph_.output_names;
    model_.input_count = 0;
    for (const Layer& layer : model_.layers) {
      if (layer.kind == LayerKind::kInput) ++model_.input_count;
    }
    for (const GraphMember& member : graph_.members) {
      if (!member.is_input || !graph_.sequential) AddGroup(member);
    }
    model_.model_config_json = ConfigJson();
    return std::move(model_);
  }

 private:
  const Layer& LayerAt(int index) const { return model_.layers[static_cast<std::size_t>(index)]; }

  Status AddNode(const GraphNode& node) {
    LayerDraft draft;
    draft.layer.name = node.name;
    ordered_json record = ordered_json::object();
    if (node.config == nullptr) {
      DNC_TRY(ReadImpliedInput(&draft));
    } else {
      OptionReader options(node.name, node.config);
      DNC_TRY(ReadLayer(*node.layer_class, &options, &draft));
      record = options.TakeRecord();
    }
    if (node.frozen && draft.layer.kind != LayerKind::kInput) {
      draft.layer.trainable = false;
      record["trainable"] = false;
    }
    if (!node.inputs.empty() && draft.given_input_shape &&
        !Matches(*draft.given_input_shape, LayerAt(node.inputs[0]).output_shape)) {
      return Error{ErrorCode::kInvalidArgument,
                   node.name + ": its input shape is given as " +
                       array::ShapeText(*draft.given_input_shape) + ", but the layer before it, " +
                       LayerAt(node.inputs[0]).name + ", gives " +
                       array::ShapeText(LayerAt(node.inputs[0]).output_shape)};
    }
    return AddDraft(node, std::move(record), std::move(draft));
  }

  // A Sequential may begin with any layer that says its input's shape.
  Status ReadImpliedInput(LayerDraft* input) const {
    input->layer.kind = LayerKind::kInput;
    if (graph_.nodes.size() < 2) {
      return Error{ErrorCode::kInvalidArgument, "the model has no layers but its input"};
    }
    const GraphNode& first = graph_.nodes[1];
    LayerDraft draft;
    draft.layer.name = first.name;
    OptionReader options(first.name, first.config);
    DNC_TRY(ReadLayer(*first.layer_class, &options, &draft));
    input->given_input_shape =
        draft.given_input_shape ? draft.given_input_shape : graph_.build_input_shape;
    for (const JoinedInput& joined : graph_.joined) {
      if (joined.node == 0 && !input->given_input_shape) input->given_input_shape = joined.shape;
    }
    if (input->given_input_shape) return {};
    return Error{ErrorCode::kInvalidArgument,
                 first.name +
                     ": the model's input shape is missing; begin with an InputLayer, or give "
                     "this layer a \"batch_input_shape\" such as [null, 28, 28, 1]"};
  }

  Status FillVariableAxes(LayerDraft* input) const {
    if (!input->given_input_shape) return {};
    const array::Shape given = *input->given_input_shape;
    // The inputs are the first layers.
    const bool is_bound = !lengths_.bound.empty();
    const array::Shape found = is_bound ? lengths_.bound[model_.layers.size()] : array::Shape();
    if (is_bound && !Matches(given, found)) {
      return Error{ErrorCode::kInvalidArgument,
                   input->layer.name + ": the input has shape " + array::ShapeText(given) +
                       " (-1 is any length), but the samples have shape " +
                       array::ShapeText(found)};
    }
    for (std::size_t i = 0; i < given.size(); ++i) {
      if (given[i] != kVariableAxis) continue;
      if (is_bound) {
        (*input->given_input_shape)[i] = found[i];
        continue;
      }
      input->layer.variable_axes.resize(given.size(), false);
      input->layer.variable_axes[i] = true;
      (*input->given_input_shape)[i] = lengths_.stand_in;
    }
    return {};
  }

  Status Infer(const GraphNode& node, LayerDraft* draft) const {
    std::vector<array::Shape> inputs;
    for (const int input : node.inputs) inputs.push_back(LayerAt(input).output_shape);
    if (node.layer_class->join != nullptr) return node.layer_class->join(inputs, draft);
    if (inputs.size() > 1) {
      return Error{ErrorCode::kUnsupported, node.name + ": takes " + std::to_string(inputs.size()) +
                                                " inputs; a layer of class " +
                                                node.layer_class->class_name + " takes one"};
    }
    return node.layer_class->infer(inputs.empty() ? array::Shape() : inputs[0], draft);
  }

  Status AddDraft(const GraphNode& node, ordered_json config, LayerDraft draft) {
    Layer& layer = draft.layer;
    layer.kind = node.layer_class->kind;
    layer.class_name = node.layer_class->class_name;
    if (layer.kind == LayerKind::kInput) DNC_TRY(FillVariableAxes(&draft));
    DNC_TRY(Infer(node, &draft));
    const auto element_count = array::ElementCount(layer.output_shape);
    if (!element_count || *element_count > limits_.activation_count_max) {
      return Error{ErrorCode::kTooLarge,
                   layer.name + ": its output " + array::ShapeText(layer.output_shape) +
                       " has more than " + FormatCount(limits_.activation_count_max) +
                       " elements a sample"};
    }
    layer.inputs = node.inputs;
    layer.attention.causal = node.causal;
    if (layer.kind == LayerKind::kMultiHeadAttention) RecordAttentionShapes(node.inputs, &config);
    layer.first_call = node.first_call;
    if (node.first_call >= 0) {
      DNC_TRY(ShareWeights(&draft));
    } else {
      layer.first_weight = static_cast<int>(model_.weights.size());
      layer.weight_count = static_cast<int>(draft.weights.size());
      for (WeightSpec& weight : draft.weights) DNC_TRY(AddWeight(std::move(weight)));
      if (layer.kind == LayerKind::kInput) config = InputConfig(layer);
    }
    configs_.push_back(std::move(config));
    if (node.first_call < 0) index_of_[node.name] = static_cast<int>(model_.layers.size());
    model_.layers.push_back(std::move(layer));
    return {};
  }

  // Keras 2 makes the weights of attention from these; only the last axes count.
  void RecordAttentionShapes(const std::vector<int>& inputs, ordered_json* config) const {
    const auto shape = [&](std::size_t input) {
      ordered_json axes = ordered_json::array({nullptr, nullptr});
      axes.push_back(LayerAt(inputs[input]).output_shape.back());
      return axes;
    };
    (*config)["query_shape"] = shape(0);
    (*config)["key_shape"] = shape(inputs.size() - 1);
    (*config)["value_shape"] = shape(1);
  }

  // The weights of a layer that is called again must fit its other inputs, too.
  Status ShareWeights(LayerDraft* draft) const {
    const Layer& first = LayerAt(draft->layer.first_call);
    draft->layer.first_weight = first.first_weight;
    draft->layer.weight_count = first.weight_count;
    for (std::size_t i = 0; i < draft->weights.size(); ++i) {
      const WeightSpec& shared = model_.weights[static_cast<std::size_t>(first.first_weight) + i];
      if (draft->weights[i].shape == shared.shape) continue;
      return Error{ErrorCode::kInvalidArgument,
                   draft->layer.name + ": is called again with another input, for which its " +
                       shared.name + " would have shape " +
                       array::ShapeText(draft->weights[i].shape) + " and not " +
                       array::ShapeText(shared.shape)};
    }
    return {};
  }

  // The weights of a member in the order of Keras's files: the trained ones first.
  void AddGroup(const GraphMember& member) {
    WeightGroup group;
    group.name = member.name;
    for (const std::string& name : member.layers) {
      const auto found = index_of_.find(name);
      if (found == index_of_.end()) continue;  // An InputLayer within a model.
      const Layer& layer = LayerAt(found->second);
      for (int i = 0; i < layer.weight_count; ++i) group.weights.push_back(layer.first_weight + i);
    }
    const auto spec = [&](int index) -> const WeightSpec& {
      return model_.weights[static_cast<std::size_t>(index)];
    };
    std::stable_partition(group.weights.begin(), group.weights.end(),
                          [&](int index) { return spec(index).trainable; });
    // Keras says "dense/kernel:0" for the weight "encoder/dense/kernel:0" in "encoder".
    const bool is_model = member.layers.size() != 1 || member.layers[0] != member.name;
    std::set<std::string> taken;
    for (const int index : group.weights) {
      std::string name = spec(index).name;
      if (is_model) name.erase(0, member.name.size() + 1);
      const std::size_t leaf = name.rfind('/', name.rfind('/') - 1);
      if (is_model && name.rfind('/') != std::string::npos && leaf != std::string::npos &&
          !taken.contains(name.substr(leaf + 1))) {
        name.erase(0, leaf + 1);
      }
      taken.insert(name);
      group.saved_names.push_back(std::move(name));
    }
    model_.weight_groups.push_back(std::move(group));
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
    for (std::size_t i = 0; i < layer.output_shape.size(); ++i) {
      const bool variable = !layer.variable_axes.empty() && layer.variable_axes[i];
      shape.push_back(variable ? ordered_json() : ordered_json(layer.output_shape[i]));
    }
    ordered_json config;
    config["batch_input_shape"] = std::move(shape);
    config["dtype"] = "float32";
    config["sparse"] = false;
    config["ragged"] = false;
    config["name"] = layer.name;
    return config;
  }

  // A call as Keras 2 writes it: attention takes all but its query by name.
  ordered_json CallJson(const Layer& layer) const {
    ordered_json inputs = ordered_json::array();
    if (layer.kind != LayerKind::kMultiHeadAttention) {
      for (const int input : layer.inputs) inputs.push_back(Reference(input, true));
      return inputs;
    }
    ordered_json query = Reference(layer.inputs[0], true);
    query[3]["value"] = Reference(layer.inputs[1], false);
    if (layer.inputs.size() > 2) query[3]["key"] = Reference(layer.inputs[2], false);
    if (layer.attention.causal) query[3]["use_causal_mask"] = true;
    inputs.push_back(std::move(query));
    return inputs;
  }

  // ["dense", 0, 0], or with the arguments of a call behind it.
  ordered_json Reference(int index, bool of_call) const {
    ordered_json reference = ordered_json::array({LayerAt(index).name, call_numbers_[index], 0});
    if (of_call) reference.push_back(ordered_json::object());
    return reference;
  }

  // In full, as Keras 2 writes it. Models within the model are written as their layers.
  std::string ConfigJson() {
    const bool chain = graph_.sequential && !HasModelsWithin(graph_);
    std::map<int, std::size_t> position;  // Of a layer's first call, in `layers`.
    ordered_json layers = ordered_json::array();
    for (std::size_t i = 0; i < model_.layers.size(); ++i) {
      const Layer& layer = model_.layers[i];
      const int index = static_cast<int>(i);
      const int first = layer.first_call < 0 ? index : layer.first_call;
      if (layer.first_call < 0) {
        position[index] = layers.size();
        ordered_json written;
        written["class_name"] = graph_.nodes[i].layer_class->class_name;
        written["config"] = std::move(configs_[i]);
        if (!chain) {
          written["name"] = layer.name;
          written["inbound_nodes"] = ordered_json::array();
        }
        layers.push_back(std::move(written));
      }
      if (chain || layer.kind == LayerKind::kInput) {
        call_numbers_.push_back(0);
        continue;
      }
      ordered_json& calls = layers[position[first]]["inbound_nodes"];
      ordered_json inputs = CallJson(layer);
      call_numbers_.push_back(static_cast<int>(calls.size()));
      calls.push_back(std::move(inputs));
    }
    ordered_json document;
    document["class_name"] = chain ? "Sequential" : "Functional";
    document["config"]["name"] = graph_.name;
    document["config"]["layers"] = std::move(layers);
    if (!chain) {
      ordered_json inputs = ordered_json::array();
      for (int i = 0; i < model_.input_count; ++i) inputs.push_back(Reference(i, false));
      ordered_json outputs = ordered_json::array();
      for (const int output : model_.output_layers) outputs.push_back(Reference(output, false));
      document["config"]["input_layers"] = std::move(inputs);
      document["config"]["output_layers"] = std::move(outputs);
    }
    return DumpJson(document);
  }

  ModelLimits limits_;
  InputLengths lengths_;
  const Graph& graph_;
  Model model_;
  std::map<std::string, int> index_of_;  // The first call of each layer.
  std::vector<ordered_json> configs_;
  std::vector<int> call_numbers_;  // Of each of model_.layers, among those of its layer.
};

// The text of the architecture, to be kept; "" if it cannot be.
std::string ArchitectureText(std::string_view text, const json& document) {
  if (document.contains("model_config")) return std::string(MemberText(text, "model_config"));
  const std::string_view class_name = MemberText(text, "class_name");
  const std::string_view config = MemberText(text, "config");
  if (class_name.empty() || config.empty()) return "";
  return "{\"class_name\": " + std::string(class_name) + ", \"config\": " + std::string(config) +
         "}";
}

Result<Model> BuildGraph(const Graph& graph, const ModelLimits& limits,
                         const InputLengths& lengths) {
  ModelBuilder builder(limits, lengths, graph);
  DNC_TRY(builder.AddNodes());
  return builder.Finish();
}

// Whether the weights are the same for another length of the variable axes.
Status CheckVariableAxes(const Graph& graph, const ModelLimits& limits, const Model& model) {
  DNC_ASSIGN(const Model other, BuildGraph(graph, limits, {.stand_in = 96, .bound = {}}));
  for (std::size_t i = 0; i < model.weights.size(); ++i) {
    if (model.weights[i].shape == other.weights[i].shape) continue;
    return Error{ErrorCode::kInvalidArgument,
                 model.weights[i].name +
                     ": its shape depends on the length of an axis of the input that has none (" +
                     array::ShapeText(model.weights[i].shape) + " for 64, " +
                     array::ShapeText(other.weights[i].shape) +
                     " for 96); give the input's axis a length"};
  }
  return {};
}

// "" if it is not said.
std::string KerasVersion(const json& document) {
  if (!document.is_object() || !document.contains("keras_version")) return "";
  const json& version = document["keras_version"];
  return version.is_string() && version.get<std::string>().size() <= 32 ? version.get<std::string>()
                                                                        : "";
}

// Keras 2 cannot read what only Keras 3 writes, such as the module of a layer.
bool HasModules(const json& architecture) {
  if (architecture.contains("module")) return true;
  const json& config = architecture["config"];
  if (!config.is_object() || !config.contains("layers") || !config["layers"].is_array()) {
    return false;
  }
  return std::any_of(config["layers"].begin(), config["layers"].end(),
                     [](const json& layer) { return layer.contains("module"); });
}

Result<Model> BuildModel(std::string_view text, const ModelLimits& limits,
                         const InputLengths& lengths) {
  json document;
  DNC_TRY(ParseJsonText(text, limits.json_bytes_max, &document));
  const std::string version = KerasVersion(document);
  const bool of_keras1 = version.starts_with("1.");
  if (of_keras1) {
    TranslateKeras1(document.contains("model_config") ? &document["model_config"] : &document);
  }
  DNC_ASSIGN(const Sections sections, FindSections(document));
  DNC_ASSIGN(const Graph graph, ReadGraph(*sections.architecture, limits));
  DNC_ASSIGN(Model model, BuildGraph(graph, limits, lengths));
  if (model.has_variable_axes()) DNC_TRY(CheckVariableAxes(graph, limits, model));
  const std::string kept = ArchitectureText(text, document);
  const bool nested = HasModelsWithin(graph);
  const bool of_keras3 = HasModules(*sections.architecture);
  // What only Keras 3 reads is kept where it is that of a file, and where it must be.
  const bool keep = !of_keras3 || nested || document.contains("model_config");
  if (graph.all_named && !kept.empty() && !of_keras1 && keep) {
    model.full_config_json = nested ? kept : model.model_config_json;
    model.model_config_json = kept;
    if (of_keras3) model.keras_file.keras_version = "3.0.0";
    if (!version.empty()) model.keras_file.keras_version = version;
  } else {
    // What was written out in full says all that is known, and the names of files.
    DNC_ASSIGN(model,
               BuildModel(R"({"model_config":)" + model.model_config_json + "}", limits, lengths));
  }
  if (sections.compile != nullptr) {
    DNC_ASSIGN(model.compile, ReadCompileSection(*sections.compile, model));
    model.has_compile = true;
    model.training_config_json = FormatTrainingConfig(model.compile);
  }
  return model;
}

// Catches what the JSON library throws: no case of it is known.
Result<Model> Build(std::string_view text, const std::string& name, const ModelLimits& limits,
                    const InputLengths& lengths) {
  try {
    Result<Model> model = BuildModel(text, limits, lengths);
    if (!model.ok()) return model.error().WithContext(name);
    return model;
  } catch (const std::exception& error) {
    return Error{ErrorCode::kInternal, name + ": " + error.what()};
  }
}

}  // namespace

Result<Model> ParseModel(std::string_view json_text, const std::string& name,
                         const ModelLimits& limits) {
  return Build(json_text, name, limits, {});
}

Result<Model> BindInputShapes(const Model& model, std::span<const array::ColumnSpec> x) {
  if (!model.has_variable_axes()) return model;
  if (x.size() != static_cast<std::size_t>(model.input_count)) {
    return Error{ErrorCode::kUnsupported,
                 "the model has " + std::to_string(model.input_count) +
                     " inputs, and some of their axes have no fixed length: expected a column of "
                     "samples for each input, found " +
                     std::to_string(x.size()) + "; or give the axes a length"};
  }
  InputLengths lengths;
  for (std::size_t i = 0; i < x.size(); ++i) {
    array::Shape shape = x[i].shape;
    const std::size_t rank = model.layers[i].output_shape.size();
    while (shape.size() < rank) shape.push_back(1);
    while (shape.size() > rank && shape.back() == 1) shape.pop_back();
    lengths.bound.push_back(std::move(shape));
  }
  DNC_ASSIGN(Model bound, Build(FormatModel(model), model.name, {}, lengths));
  bound.weight_groups = model.weight_groups;
  bound.keras_file = model.keras_file;
  return bound;
}

std::uint64_t Model::input_elements() const {
  std::uint64_t count = 0;
  for (int i = 0; i < input_count; ++i) {
    count += array::ElementCount(layers[static_cast<std::size_t>(i)].output_shape).value_or(0);
  }
  return count;
}

std::uint64_t Model::output_elements() const {
  std::uint64_t count = 0;
  for (const int output : output_layers) {
    count += array::ElementCount(layers[static_cast<std::size_t>(output)].output_shape).value_or(0);
  }
  return count;
}

bool Model::has_variable_axes() const {
  for (int i = 0; i < input_count; ++i) {
    if (!layers[static_cast<std::size_t>(i)].variable_axes.empty()) return true;
  }
  return false;
}

std::string FormatModel(const Model& model) {
  std::string text = "{\"model_config\":" + model.model_config_json;
  if (model.has_compile) text += ",\"training_config\":" + model.training_config_json;
  const std::string& version = model.keras_file.keras_version;
  if (version != KerasFile().keras_version) {
    text += ",\"keras_version\":" + DumpJson(ordered_json(version));
  }
  return text + "}";
}

Status ReadTrainingConfig(std::string_view text, const ModelLimits& limits, Model* model) {
  try {
    json document;
    DNC_TRY(ParseJsonText(text, limits.json_bytes_max, &document));
    DNC_ASSIGN(model->compile, ReadCompileSection(document, *model));
    model->has_compile = true;
    model->training_config_json = FormatTrainingConfig(model->compile);
    return {};
  } catch (const std::exception& error) {
    return Error{ErrorCode::kInternal, error.what()};
  }
}

}  // namespace dnc::model
