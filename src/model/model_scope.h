// Keras's JSON of a model, Sequential or functional, as layers with names, calls and
// references that are known to lead somewhere, in an order that can be computed. A model
// among the layers is a scope of its own. Options and shapes are not looked at yet.

#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "array/shape.h"
#include "base/result.h"
#include "model/layer_registry.h"
#include "model/model.h"

namespace dnc::model {

// Indices of a layer of the scope, of its call and of that call's output.
struct ScopeTensor {
  int layer = 0;
  int call = 0;
  int output = 0;
};

struct ModelScope;

struct ScopeLayer {
  std::string name;
  const LayerClass* layer_class = nullptr;  // null: a model.
  std::unique_ptr<ModelScope> model;
  // Within the document; null for the InputLayer that a Sequential implies.
  const nlohmann::json* config = nullptr;
  std::vector<std::vector<ScopeTensor>> calls;  // The inputs of each; none of an InputLayer.
  std::vector<bool> causal;                     // Of each call, or empty: use_causal_mask.
};

struct ScopeCall {
  int layer = 0;
  int call = 0;
};

struct ModelScope {
  bool sequential = true;
  bool all_named = true;  // No name was made up.
  bool frozen = false;    // "trainable": false.
  std::string name;
  std::vector<ScopeLayer> layers;  // As the JSON has them, behind an implied InputLayer.
  std::vector<ScopeTensor> inputs;
  std::vector<ScopeTensor> outputs;
  // Every call but those of InputLayers, each behind those that it takes from; equals
  // keep the order of `layers`.
  std::vector<ScopeCall> order;
  std::optional<array::Shape> build_input_shape;  // Of a Sequential.
};

// `architecture` is {"class_name": ..., "config": ...} and must outlive the scope.
// Errors: kInvalidArgument, not Keras's layout, a dangling reference, a cycle;
// kUnsupported, an unknown layer; kTooLarge.
Result<ModelScope> ReadModelScope(const nlohmann::json& architecture, const ModelLimits& limits);

}  // namespace dnc::model
