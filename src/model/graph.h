// The architecture as a chain of layers: Keras's Sequential or functional JSON,
// with names resolved, references followed and cycles found. Options and shapes
// of layers are not looked at yet.

#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "array/shape.h"
#include "base/result.h"
#include "model/layer_registry.h"
#include "model/model.h"

namespace dnc::model {

struct GraphNode {
  const LayerClass* layer_class = nullptr;
  const nlohmann::json* config = nullptr;  // An object within the document.
  std::string name;
};

struct Graph {
  bool sequential = true;
  std::string name;
  // In order: each node's input is the one before it. The first is the InputLayer,
  // but for a Sequential that begins with another layer.
  std::vector<GraphNode> nodes;
  std::optional<array::Shape> build_input_shape;  // Of a Sequential.
};

// `architecture` is {"class_name": ..., "config": ...} and must outlive the graph.
// Errors: kInvalidArgument, not Keras's layout, a dangling reference, a cycle;
// kUnsupported, an unknown layer, several inputs or outputs, a shared layer.
Result<Graph> ReadGraph(const nlohmann::json& architecture, const ModelLimits& limits);

}  // namespace dnc::model
