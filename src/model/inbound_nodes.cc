#include "model/inbound_nodes.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "model/json_text.h"

namespace dnc::model {
namespace {

using nlohmann::json;

// Of calls of a layer and of outputs of a call.
constexpr std::int64_t kIndexMax = 1 << 20;

using Inputs = std::vector<TensorReference>;

Error NotKeras(const json& value) {
  return {ErrorCode::kInvalidArgument, "a reference is " + ShortJson(value) +
                                           "; expected a reference such as [\"dense\", 0, 0, {}]"};
}

std::optional<int> Index(const json& value) {
  if (!value.is_number_integer()) return std::nullopt;
  const auto number = value.get<std::int64_t>();
  if (number < 0 || number > kIndexMax) return std::nullopt;
  return static_cast<int>(number);
}

bool IsReference(const json& value) {
  return value.is_array() && value.size() >= 3 && value[0].is_string() && value[0] != "" &&
         Index(value[1]) && Index(value[2]);
}

// ["name", call, output] or ["name", call, output, arguments].
Result<TensorReference> ReadReference(const json& value) {
  if (!IsReference(value)) return NotKeras(value);
  return TensorReference{value[0].get<std::string>(), *Index(value[1]), *Index(value[2])};
}

bool IsKeras3Tensor(const json& value) {
  return value.is_object() && value.contains("config") && value["config"].is_object() &&
         value["config"].contains("keras_history");
}

Status ReadTensor(const json& value, Inputs* inputs) {
  const json& reference = IsKeras3Tensor(value) ? value["config"]["keras_history"] : value;
  DNC_ASSIGN(TensorReference tensor, ReadReference(reference));
  inputs->push_back(std::move(tensor));
  return {};
}

// Arguments of attention that are what they are by default.
bool IsDefaultArgument(const std::string& key, const json& value) {
  return value.is_null() ||
         ((key == "return_attention_scores" || key == "use_causal_mask") && value == false);
}

// Arguments that a layer is called with by name. Tensors are inputs of attention.
Status ReadArguments(const json& arguments, CallReferences* call) {
  if (!arguments.is_object()) return NotKeras(arguments);
  const auto is_tensor = [](const json& value) {
    return IsReference(value) || IsKeras3Tensor(value);
  };
  std::size_t tensors = 0;
  for (const char* key : {"query", "value", "key"}) {
    const auto found = arguments.find(key);
    if (found == arguments.end() || !is_tensor(*found)) continue;
    DNC_TRY(ReadTensor(*found, &call->inputs));
    ++tensors;
  }
  for (const auto& [key, value] : arguments.items()) {
    if (IsDefaultArgument(key, value)) continue;
    if (key == "use_causal_mask" && value == true) {
      call->causal = true;
      continue;
    }
    if (is_tensor(value) && (key == "query" || key == "value" || key == "key")) continue;
    return Error{ErrorCode::kUnsupported, "is called with the argument " + Quoted(key) + " = " +
                                              ShortJson(value) +
                                              "; this argument of a call is not supported"};
  }
  // Else a value without a query, or a key without a value, would take another's place.
  if (tensors > 0 && call->inputs.size() < 2) {
    return Error{ErrorCode::kInvalidArgument,
                 "is called with " + ShortJson(arguments) + "; expected a query and a value"};
  }
  return {};
}

// Keras 3: {"args": [{"class_name": "__keras_tensor__", "config": {..., "keras_history":
// ["dense", 0, 0]}}], "kwargs": {}}; an argument may be a list of tensors.
Result<CallReferences> InputsOfKeras3Node(const json& node) {
  const auto arguments = node.find("args");
  if (arguments == node.end() || !arguments->is_array()) return NotKeras(node);
  CallReferences call;
  for (const json& argument : *arguments) {
    if (argument.is_null()) continue;
    if (!argument.is_array()) {
      DNC_TRY(ReadTensor(argument, &call.inputs));
      continue;
    }
    for (const json& tensor : argument) DNC_TRY(ReadTensor(tensor, &call.inputs));
  }
  if (const auto named = node.find("kwargs"); named != node.end()) {
    DNC_TRY(ReadArguments(*named, &call));
  }
  return call;
}

// Keras 2: [["dense", 0, 0, {}], ...], or the one reference without a list around it.
Result<CallReferences> InputsOfKeras2Node(const json& node) {
  CallReferences call;
  std::vector<const json*> references;
  if (!node.empty() && node[0].is_array()) {
    for (const json& reference : node) references.push_back(&reference);
  } else {
    references.push_back(&node);
  }
  for (const json* reference : references) DNC_TRY(ReadTensor(*reference, &call.inputs));
  // The arguments of the call stand behind each of its inputs or the first.
  for (const json* reference : references) {
    if (reference->size() <= 3) continue;
    CallReferences repeated = call;
    DNC_TRY(ReadArguments((*reference)[3], reference == references.front() ? &call : &repeated));
  }
  return call;
}

}  // namespace

Result<std::vector<CallReferences>> CallsOfLayer(const json& layer) {
  std::vector<CallReferences> calls;
  const auto nodes = layer.find("inbound_nodes");
  if (nodes == layer.end() || nodes->is_null()) return calls;
  if (!nodes->is_array()) return NotKeras(*nodes);
  for (const json& node : *nodes) {
    if (!node.is_object() && !node.is_array()) return NotKeras(node);
    DNC_ASSIGN(CallReferences call,
               node.is_object() ? InputsOfKeras3Node(node) : InputsOfKeras2Node(node));
    if (call.inputs.empty()) return NotKeras(node);
    calls.push_back(std::move(call));
  }
  return calls;
}

Result<Inputs> Endpoints(const json& config, const char* key) {
  const std::string quoted = "\"" + std::string(key) + "\"";
  const auto found = config.find(key);
  if (found == config.end() || !found->is_array() || found->empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 "the model has no " + quoted + "; expected [[\"name\", 0, 0]]"};
  }
  Inputs endpoints;
  if (IsReference(*found)) {
    DNC_TRY(ReadTensor(*found, &endpoints));
    return endpoints;
  }
  for (const json& reference : *found) {
    const Status status = ReadTensor(reference, &endpoints);
    if (!status.ok()) return status.error().WithContext(quoted);
  }
  return endpoints;
}

}  // namespace dnc::model
