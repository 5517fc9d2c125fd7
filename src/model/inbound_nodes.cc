#include "model/inbound_nodes.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "model/json_text.h"

namespace dnc::model {
namespace {

using nlohmann::json;

Error NotKeras(const json& value) {
  return {ErrorCode::kInvalidArgument, "\a reference is " + ShortJson(value) +
                                           "; expected a reference such as [\"dense\", 0, 0, {}]"};
}

Error Unsupported(std::string message) { return {ErrorCode::kUnsupported, std::move(message)}; }

// ["name", node, tensor] or ["name", node, tensor, arguments].
Result<std::string> NameInReference(const json& reference) {
  if (!reference.is_array() || reference.size() < 3 || !reference[0].is_string() ||
      !reference[1].is_number_integer() || !reference[2].is_number_integer()) {
    return NotKeras(reference);
  }
  const std::string name = reference[0].get<std::string>();
  if (reference[1] != 0) {
    return Unsupported("takes the output of a later call of the layer " + Quoted(name) +
                       "; layers that are called more than once (shared layers) are not supported");
  }
  if (reference[2] != 0) {
    return Unsupported("takes output number " + ShortJson(reference[2]) + " of the layer " +
                       Quoted(name) + "; layers with several outputs are not supported");
  }
  if (name.empty()) return NotKeras(reference);
  return name;
}

// Arguments that a layer is called with, beside its input.
Status CheckNoArguments(const json& arguments) {
  if (!arguments.is_object()) return NotKeras(arguments);
  for (const auto& [key, value] : arguments.items()) {
    if (value.is_null()) continue;
    return Unsupported("is called with the argument " + Quoted(key) + " = " + ShortJson(value) +
                       "; arguments of calls are not supported");
  }
  return {};
}

Error SeveralInputs(std::size_t count) {
  return Unsupported("takes " + std::to_string(count) +
                     " inputs; only layers with one input are supported");
}

// Keras 3: {"args": [{"class_name": "__keras_tensor__", "config": {..., "keras_history":
// ["dense", 0, 0]}}], "kwargs": {}}.
Result<std::string> InputOfKeras3Node(const json& node) {
  const auto args = node.find("args");
  if (args == node.end() || !args->is_array()) return NotKeras(node);
  if (args->size() != 1) return SeveralInputs(args->size());
  const json& tensor = (*args)[0];
  if (tensor.is_array()) return SeveralInputs(tensor.size());
  if (!tensor.is_object() || !tensor.contains("config") || !tensor["config"].is_object() ||
      !tensor["config"].contains("keras_history")) {
    return NotKeras(tensor);
  }
  if (const auto kwargs = node.find("kwargs"); kwargs != node.end()) {
    DNC_TRY(CheckNoArguments(*kwargs));
  }
  return NameInReference(tensor["config"]["keras_history"]);
}

// Keras 2: [["dense", 0, 0, {}]], or the reference without a list around it.
Result<std::string> InputOfKeras2Node(const json& node) {
  const json* reference = &node;
  if (!node.empty() && node[0].is_array()) {
    if (node.size() != 1) return SeveralInputs(node.size());
    reference = &node[0];
  }
  if (reference->is_array() && reference->size() > 3) {
    DNC_TRY(CheckNoArguments((*reference)[3]));
  }
  return NameInReference(*reference);
}

}  // namespace

Result<std::string> InputOfLayer(const json& layer) {
  const auto nodes = layer.find("inbound_nodes");
  if (nodes == layer.end() || nodes->is_null()) return std::string();
  if (!nodes->is_array()) return NotKeras(*nodes);
  if (nodes->empty()) return std::string();
  if (nodes->size() > 1) {
    return Unsupported("is called " + std::to_string(nodes->size()) +
                       " times; shared layers are not supported");
  }
  const json& node = (*nodes)[0];
  if (node.is_object()) return InputOfKeras3Node(node);
  if (!node.is_array()) return NotKeras(node);
  return InputOfKeras2Node(node);
}

Result<std::string> SingleEndpoint(const json& config, const char* key) {
  const std::string quoted = "\"" + std::string(key) + "\"";
  const auto found = config.find(key);
  if (found == config.end() || !found->is_array() || found->empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 "the model has no " + quoted + "; expected [[\"name\", 0, 0]]"};
  }
  const json* reference = &*found;
  if ((*found)[0].is_array()) {
    if (found->size() > 1) {
      return Unsupported("the model has " + std::to_string(found->size()) + " " + quoted +
                         "; only one input and one output are supported");
    }
    reference = &(*found)[0];
  }
  Result<std::string> name = NameInReference(*reference);
  if (!name.ok()) return name.error().WithContext(quoted);
  return name;
}

}  // namespace dnc::model
