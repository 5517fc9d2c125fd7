#include "model/keras_paths.h"

#include <algorithm>
#include <exception>
#include <map>
#include <nlohmann/json.hpp>

#include "model/json_text.h"

namespace dnc::model {
namespace {

using nlohmann::json;

std::string TextOf(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

std::string NameOf(const json& layer) {
  const std::string name = TextOf(layer, "name");
  return name.empty() && layer.contains("config") ? TextOf(layer["config"], "name") : name;
}

const json& LayersOf(const json& model) {
  const json& config = model["config"];
  return config.is_array() ? config : config["layers"];
}

bool IsModel(const std::string& class_name) {
  return class_name == "Sequential" || class_name == "Functional" || class_name == "Model";
}

// Orders the layers of a functional model as Keras does: by their depth, counted from
// the outputs, and where it is the same by the first visit of a walk from the outputs.
class LayerOrder {
 public:
  explicit LayerOrder(const json& model) : layers_(&LayersOf(model)) {
    for (std::size_t i = 0; i < layers_->size(); ++i) indices_[NameOf((*layers_)[i])] = i;
    visits_.assign(layers_->size(), kNone);
    depths_.assign(layers_->size(), kNone);
    for (const Node& output : References(model["config"]["output_layers"])) Visit(output);
    std::map<Node, int> node_depths;
    for (auto node = finished_.rbegin(); node != finished_.rend(); ++node) {
      int& layer_depth = depths_[node->first];
      const int depth = std::max({node_depths[*node], layer_depth, 0});
      layer_depth = depth;
      for (const Node& parent : ParentsOf(*node)) {
        int& parent_depth = node_depths[parent];
        parent_depth = std::max(parent_depth, depth + 1);
      }
    }
  }

  std::vector<const json*> Sorted() const {
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < layers_->size(); ++i) order.push_back(i);
    // A layer that leads to no output comes last.
    std::stable_sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) {
      if (depths_[a] != depths_[b]) return depths_[a] > depths_[b];
      return visits_[a] < visits_[b];
    });
    std::vector<const json*> sorted;
    for (const std::size_t i : order) sorted.push_back(&(*layers_)[i]);
    return sorted;
  }

 private:
  using Node = std::pair<std::size_t, std::size_t>;  // A layer and its call.
  static constexpr int kNone = -1;

  // Every ["name", call, tensor, ...] within `value`, in order.
  std::vector<Node> References(const json& value) const {
    std::vector<Node> nodes;
    if (value.is_array() && value.size() >= 3 && value[0].is_string() &&
        value[1].is_number_unsigned()) {
      const auto found = indices_.find(value[0].get<std::string>());
      if (found != indices_.end()) {
        nodes.emplace_back(found->second, CallOf(found->second, value[1].get<std::size_t>()));
      }
      // Attention's other inputs.
      for (std::size_t i = 3; i < value.size(); ++i) {
        for (const Node& node : References(value[i])) nodes.push_back(node);
      }
    } else if (value.is_structured()) {
      for (const json& element : value) {
        for (const Node& node : References(element)) nodes.push_back(node);
      }
    }
    return nodes;
  }

  // The calls of a model within the model are counted from 1 by some versions.
  std::size_t CallOf(std::size_t layer, std::size_t call) const {
    const json& object = (*layers_)[layer];
    const std::size_t count =
        object.contains("inbound_nodes") ? object["inbound_nodes"].size() : std::size_t{0};
    return count == 0 ? 0 : std::min(call, count - 1);
  }

  std::vector<Node> ParentsOf(const Node& node) const {
    const json& layer = (*layers_)[node.first];
    if (!layer.contains("inbound_nodes") || layer["inbound_nodes"].size() <= node.second) return {};
    return References(layer["inbound_nodes"][node.second]);
  }

  // Depth first, without recursion: a chain may be thousands of layers long.
  void Visit(const Node& output) {
    struct Step {
      Node node;
      std::vector<Node> parents;
      std::size_t next = 0;
    };
    std::vector<Step> stack;
    const auto enter = [&](const Node& node) {
      bool& seen = seen_[node];
      if (seen) return;
      seen = true;
      if (visits_[node.first] == kNone) visits_[node.first] = visit_count_++;
      stack.push_back({node, ParentsOf(node)});
    };
    enter(output);
    while (!stack.empty()) {
      Step& step = stack.back();
      if (step.next < step.parents.size()) {
        enter(Node(step.parents[step.next++]));
      } else {
        finished_.push_back(step.node);
        stack.pop_back();
      }
    }
  }

  const json* layers_;
  std::map<std::string, std::size_t> indices_;
  std::map<Node, bool> seen_;
  std::vector<Node> finished_;
  std::vector<int> visits_;
  std::vector<int> depths_;
  int visit_count_ = 0;
};

struct Place {
  std::string group;  // "layers/functional/layers/dense"
  std::string class_name;
  std::size_t number = 0;  // In Keras's order of all layers.
};

// The places of all layers of a model, those of models within it as "inner/dense".
void FindPlaces(const json& model, const std::string& name_prefix, const std::string& group_prefix,
                std::map<std::string, Place>* places) {
  std::vector<const json*> layers;
  if (TextOf(model, "class_name") == "Sequential") {
    for (const json& layer : LayersOf(model)) layers.push_back(&layer);
  } else {
    layers = LayerOrder(model).Sorted();
  }
  std::map<std::string, int> counts;
  for (const json* layer : layers) {
    const std::string class_name = TextOf(*layer, "class_name");
    // Keras 3 calls them all Functional.
    std::string group = SnakeCase(class_name == "Model" ? "Functional" : class_name);
    const int number = counts[group]++;
    if (number > 0) group += "_" + std::to_string(number);
    const std::string name = name_prefix + NameOf(*layer);
    const std::string path = group_prefix + "layers/" + group;
    if (IsModel(class_name)) {
      FindPlaces(*layer, name + "/", path + "/", places);
    } else {
      const std::size_t layer_number = places->size();
      (*places)[name] = {path, class_name, layer_number};
    }
  }
}

// The groups below a layer's own in which its weights lie; `weight` is "lstm/lstm_cell/kernel:0"
// without what every layer's weights begin with.
std::string InnerGroup(const std::string& class_name, const std::string& weight) {
  static const char* const kCells[] = {"SimpleRNN",  "LSTM",       "GRU",
                                       "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"};
  const auto is = [&](const char* name) { return class_name == name; };
  if (std::any_of(std::begin(kCells), std::end(kCells), is)) return "cell/";
  if (class_name == "TimeDistributed") return "layer/";
  if (class_name == "Bidirectional") {
    return weight.find("backward_") == std::string::npos ? "forward_layer/cell/"
                                                         : "backward_layer/cell/";
  }
  if (class_name == "MultiHeadAttention") {
    for (const char* part : {"query", "key", "value"}) {
      if (weight.find("/" + std::string(part) + "/") != std::string::npos) {
        return std::string(part) + "_dense/";
      }
    }
    return "output_dense/";
  }
  return "";
}

// Of each layer that has weights, its place.
Result<std::vector<std::pair<const Layer*, Place>>> PlacesOf(const Model& model) {
  json document;
  DNC_TRY(ParseJsonText(model.full_config_json, UINT64_MAX, &document));
  std::map<std::string, Place> places;
  FindPlaces(document, "", "", &places);
  std::vector<std::pair<const Layer*, Place>> found;
  for (const Layer& layer : model.layers) {
    if (layer.weight_count == 0) continue;
    const auto place = places.find(layer.name);
    if (place == places.end()) {
      return Error{ErrorCode::kUnsupported, "layer " + Quoted(layer.name) +
                                                ": its place in a .keras file is not known; "
                                                "use .h5"};
    }
    found.emplace_back(&layer, place->second);
  }
  return found;
}

Result<std::vector<std::string>> Paths(const Model& model) {
  DNC_ASSIGN(const auto places, PlacesOf(model));
  std::vector<std::string> paths(model.weights.size());
  for (const auto& [layer, place] : places) {
    std::map<std::string, int> counts;  // Of each inner group.
    for (int i = layer->first_weight; i < layer->first_weight + layer->weight_count; ++i) {
      const std::string inner = InnerGroup(place.class_name, model.weights[i].name);
      paths[i] = place.group + "/" + inner + "vars/" + std::to_string(counts[inner]++);
    }
  }
  return paths;
}

Result<std::vector<int>> WeightOrder(const Model& model) {
  DNC_ASSIGN(auto places, PlacesOf(model));
  std::stable_sort(places.begin(), places.end(),
                   [](const auto& a, const auto& b) { return a.second.number < b.second.number; });
  std::vector<int> order;
  for (const auto& [layer, place] : places) {
    if (layer->first_call >= 0) continue;  // Its weights are those of the first.
    for (int i = 0; i < layer->weight_count; ++i) order.push_back(layer->first_weight + i);
  }
  return order;
}

}  // namespace

std::string SnakeCase(const std::string& class_name) {
  const auto is_upper = [](char c) { return c >= 'A' && c <= 'Z'; };
  const auto is_lower = [](char c) { return c >= 'a' && c <= 'z'; };
  std::string text;
  for (std::size_t i = 0; i < class_name.size(); ++i) {
    const char c = class_name[i];
    const bool begins_word =
        is_upper(c) && i > 0 &&
        (is_lower(class_name[i - 1]) || (i + 1 < class_name.size() && is_lower(class_name[i + 1])));
    if (begins_word) text += '_';
    text += is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return text;
}

Result<std::vector<std::string>> KerasPaths(const Model& model) {
  try {
    return Paths(model);
  } catch (const std::exception& error) {  // Of the JSON library: the model was checked.
    return Error{ErrorCode::kInternal, error.what()};
  }
}

Result<std::vector<int>> KerasWeightOrder(const Model& model) {
  try {
    return WeightOrder(model);
  } catch (const std::exception& error) {
    return Error{ErrorCode::kInternal, error.what()};
  }
}

}  // namespace dnc::model
