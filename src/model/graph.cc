#include "model/graph.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "model/model_scope.h"

namespace dnc::model {
namespace {

Error Invalid(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

// What a scope's layers are called outside of it: "encoder/" and so on.
struct Place {
  std::string prefix;
  bool frozen = false;
};

class Flattener {
 public:
  explicit Flattener(const ModelLimits& limits) : limits_(limits) {}

  Status AddInputs(const ModelScope& scope) {
    for (const ScopeTensor& input : scope.inputs) {
      const ScopeLayer& layer = scope.layers[static_cast<std::size_t>(input.layer)];
      GraphNode node;
      node.layer_class = layer.layer_class;
      node.config = layer.config;
      node.name = layer.name;
      graph_.nodes.push_back(std::move(node));
    }
    return CountCalls(scope.inputs.size());
  }

  // Adds the calls of a scope, whose inputs are the nodes `inputs`; gives the nodes of
  // its outputs.
  Result<std::vector<int>> Add(const ModelScope& scope, const std::vector<int>& inputs,
                               const Place& place) {
    // By layer, by call: the nodes of the outputs.
    std::vector<std::vector<std::vector<int>>> outputs(scope.layers.size());
    for (std::size_t i = 0; i < scope.layers.size(); ++i) {
      outputs[i].resize(std::max<std::size_t>(1, scope.layers[i].calls.size()));
    }
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      outputs[static_cast<std::size_t>(scope.inputs[i].layer)][0] = {inputs[i]};
    }
    const auto node_of = [&](const ScopeTensor& tensor) {
      return outputs[static_cast<std::size_t>(tensor.layer)][static_cast<std::size_t>(tensor.call)]
                    [static_cast<std::size_t>(tensor.output)];
    };
    for (const ScopeCall& call : scope.order) {
      const ScopeLayer& layer = scope.layers[static_cast<std::size_t>(call.layer)];
      const auto call_index = static_cast<std::size_t>(call.call);
      std::vector<int> sources;
      for (const ScopeTensor& input : layer.calls[call_index]) sources.push_back(node_of(input));
      DNC_TRY(CountCalls(1));
      const bool causal = call_index < layer.causal.size() && layer.causal[call_index];
      if (causal && (layer.layer_class == nullptr ||
                     layer.layer_class->kind != LayerKind::kMultiHeadAttention)) {
        return Error{ErrorCode::kUnsupported,
                     place.prefix + layer.name +
                         ": is called with the argument \"use_causal_mask\" = true; only a "
                         "MultiHeadAttention takes it"};
      }
      std::vector<int>& results = outputs[static_cast<std::size_t>(call.layer)][call_index];
      if (layer.model != nullptr) {
        DNC_ASSIGN(results, AddModel(layer, std::move(sources), place));
      } else {
        results = {AddLayer(layer, std::move(sources), place)};
        graph_.nodes.back().causal = causal;
      }
    }
    std::vector<int> nodes;
    for (const ScopeTensor& output : scope.outputs) nodes.push_back(node_of(output));
    return nodes;
  }

  Graph Take() { return std::move(graph_); }

 private:
  // A model that is called several times, within one that is, multiplies.
  Status CountCalls(std::size_t count) {
    call_count_ += count;
    if (call_count_ <= limits_.layer_count_max) return {};
    return Error{ErrorCode::kTooLarge,
                 "the model has more than " + std::to_string(limits_.layer_count_max) +
                     " layers, counting each call of a shared one; no more are read"};
  }

  Result<std::vector<int>> AddModel(const ScopeLayer& layer, std::vector<int> sources,
                                    const Place& place) {
    const ModelScope& model = *layer.model;
    const std::string path = place.prefix + layer.name;
    if (sources.size() != model.inputs.size()) {
      return Invalid(path + ": is called with " + std::to_string(sources.size()) +
                     " inputs; the model has " + std::to_string(model.inputs.size()));
    }
    for (std::size_t i = 0; i < sources.size(); ++i) {
      const ScopeLayer& input = model.layers[static_cast<std::size_t>(model.inputs[i].layer)];
      if (input.config == nullptr) continue;
      LayerDraft draft;
      draft.layer.name = path + "/" + input.name;
      OptionReader options(draft.layer.name, input.config);
      DNC_TRY(ReadLayer(*input.layer_class, &options, &draft));
      graph_.joined.push_back({sources[i], draft.layer.name, *draft.given_input_shape});
    }
    return Add(model, sources, {path + "/", place.frozen || model.frozen});
  }

  int AddLayer(const ScopeLayer& layer, std::vector<int> sources, const Place& place) {
    GraphNode node;
    node.layer_class = layer.layer_class;
    node.config = layer.config;
    node.name = place.prefix + layer.name;
    node.inputs = std::move(sources);
    node.frozen = place.frozen;
    const int index = static_cast<int>(graph_.nodes.size());
    const auto [first, is_first] = first_calls_.emplace(node.name, index);
    if (!is_first) node.first_call = first->second;
    graph_.nodes.push_back(std::move(node));
    return index;
  }

  ModelLimits limits_;
  Graph graph_;
  std::size_t call_count_ = 0;
  std::map<std::string, int> first_calls_;
};

void AddLayerNames(const ModelScope& scope, const std::string& prefix,
                   std::vector<std::string>* names) {
  for (const ScopeLayer& layer : scope.layers) {
    if (layer.model != nullptr) {
      AddLayerNames(*layer.model, prefix + layer.name + "/", names);
    } else {
      names->push_back(prefix + layer.name);
    }
  }
}

// Keras's names of the outputs: those of the layers, with a number where one has several.
std::vector<std::string> OutputNames(const ModelScope& scope) {
  std::vector<std::string> names;
  for (const ScopeTensor& output : scope.outputs) {
    const std::string& layer = scope.layers[static_cast<std::size_t>(output.layer)].name;
    std::string name = layer;
    for (int i = 1; std::find(names.begin(), names.end(), name) != names.end(); ++i) {
      name = layer + "_" + std::to_string(i);
    }
    names.push_back(std::move(name));
  }
  return names;
}

}  // namespace

Result<Graph> ReadGraph(const nlohmann::json& architecture, const ModelLimits& limits) {
  DNC_ASSIGN(const ModelScope scope, ReadModelScope(architecture, limits));
  Flattener flattener(limits);
  DNC_TRY(flattener.AddInputs(scope));
  std::vector<int> inputs;
  for (std::size_t i = 0; i < scope.inputs.size(); ++i) inputs.push_back(static_cast<int>(i));
  DNC_ASSIGN(std::vector<int> outputs, flattener.Add(scope, inputs, {"", scope.frozen}));
  Graph graph = flattener.Take();
  graph.outputs = std::move(outputs);
  graph.output_names = OutputNames(scope);
  graph.sequential = scope.sequential;
  graph.all_named = scope.all_named;
  graph.name = scope.name;
  graph.build_input_shape = scope.build_input_shape;
  for (const ScopeLayer& layer : scope.layers) {
    GraphMember member;
    member.name = layer.name;
    member.is_input = layer.layer_class != nullptr && layer.layer_class->kind == LayerKind::kInput;
    if (layer.model != nullptr) {
      AddLayerNames(*layer.model, layer.name + "/", &member.layers);
    } else {
      member.layers.push_back(layer.name);
    }
    graph.members.push_back(std::move(member));
  }
  return graph;
}

}  // namespace dnc::model
