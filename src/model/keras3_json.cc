#include "model/keras3_json.h"

#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace dnc::model {
namespace {

using nlohmann::ordered_json;

class Translator {
 public:
  explicit Translator(const Model& model) {
    for (const Layer& layer : model.layers) shapes_.emplace(layer.name, layer.output_shape);
  }

  // `prefix` is what the names of the layers within begin with: "encoder/".
  void TranslateModel(ordered_json* architecture, const std::string& prefix) const {
    ordered_json& config = (*architecture)["config"];
    ordered_json& layers = config.is_array() ? config : config["layers"];
    for (ordered_json& layer : layers) TranslateLayer(&layer, prefix);
  }

 private:
  static bool HasText(const ordered_json& object, const char* key) {
    return object.contains(key) && object[key].is_string();
  }

  static void TranslateOptions(const std::string& class_name, ordered_json* config) {
    if (class_name == "LeakyReLU" && config->contains("alpha")) {
      (*config)["negative_slope"] = ordered_json((*config)["alpha"]);
      config->erase("alpha");
    }
    if (class_name == "MultiHeadAttention") {
      for (const char* key : {"query_shape", "key_shape", "value_shape"}) config->erase(key);
    }
  }

  void TranslateLayer(ordered_json* layer, const std::string& prefix) const {
    if (!layer->is_object() || !HasText(*layer, "class_name")) return;
    const std::string class_name = (*layer)["class_name"];
    const auto config = layer->find("config");
    if (config == layer->end()) return;
    std::string name = HasText(*layer, "name") ? (*layer)["name"].get<std::string>() : "";
    if (name.empty() && config->is_object() && HasText(*config, "name")) name = (*config)["name"];
    const bool is_model = config->is_array() || (config->is_object() && config->contains("layers"));
    if (is_model) {
      TranslateModel(layer, prefix + name + "/");
    } else if (config->is_object()) {
      TranslateOptions(class_name, &*config);
      for (const char* key : {"layer", "backward_layer"}) {  // Of a wrapper.
        if (config->contains(key)) TranslateLayer(&(*config)[key], prefix + name + "/");
      }
    }
    if (!layer->contains("inbound_nodes") || !(*layer)["inbound_nodes"].is_array()) return;
    for (ordered_json& node : (*layer)["inbound_nodes"]) TranslateCall(prefix, &node);
  }

  // Keras 3 reads Keras 2's calls, but for tensors that stand among the arguments.
  void TranslateCall(const std::string& prefix, ordered_json* node) const {
    const bool has_arguments = node->is_array() && node->size() == 1 && (*node)[0].is_array() &&
                               (*node)[0].size() == 4 && (*node)[0][3].is_object() &&
                               !(*node)[0][3].empty();
    if (!has_arguments) return;
    const ordered_json& reference = (*node)[0];
    ordered_json call;
    call["args"] = ordered_json::array({Tensor(prefix, reference)});
    call["kwargs"] = ordered_json::object();
    for (const auto& [key, value] : reference[3].items()) {
      const bool is_tensor = value.is_array() && value.size() >= 3 && value[0].is_string();
      call["kwargs"][key] = is_tensor ? Tensor(prefix, value) : value;
    }
    *node = std::move(call);
  }

  ordered_json Tensor(const std::string& prefix, const ordered_json& reference) const {
    ordered_json shape = ordered_json::array({nullptr});
    const auto found = shapes_.find(prefix + reference[0].get<std::string>());
    if (found != shapes_.end()) {
      for (const std::int64_t length : found->second) shape.push_back(length);
    }
    ordered_json tensor;
    tensor["class_name"] = "__keras_tensor__";
    tensor["config"]["shape"] = std::move(shape);
    tensor["config"]["dtype"] = "float32";
    tensor["config"]["keras_history"] =
        ordered_json::array({reference[0], reference[1], reference[2]});
    return tensor;
  }

  std::map<std::string, array::Shape> shapes_;
};

}  // namespace

void TranslateToKeras3(const Model& model, ordered_json* architecture) {
  Translator(model).TranslateModel(architecture, "");
}

}  // namespace dnc::model
