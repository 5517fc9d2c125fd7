// The architecture as one list of calls of layers, each behind those that it takes
// from. Models within the model are taken apart: their layers are called by their path,
// such as "encoder/dense". Options and shapes of layers are not looked at yet.

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
  // An object within the document; null for the input that a Sequential implies.
  const nlohmann::json* config = nullptr;
  std::string name;
  std::vector<int> inputs;  // Indices of nodes, all before this one.
  int first_call = -1;      // The node that called this layer first; -1: this one.
  bool frozen = false;      // Within a model that is not trained.
  bool causal = false;      // Called with use_causal_mask=True.
};

// A node's output that becomes the input of a model within the model, whose InputLayer
// says its shape.
struct JoinedInput {
  int node = 0;
  std::string input_layer;
  array::Shape shape;
};

// A layer of the model itself, or a model among its layers.
struct GraphMember {
  std::string name;
  std::vector<std::string> layers;  // The names of the nodes within it.
  bool is_input = false;
};

struct Graph {
  bool sequential = true;
  bool all_named = true;
  std::string name;
  std::vector<GraphNode> nodes;  // The inputs first, in the model's order.
  std::vector<int> outputs;
  std::vector<std::string> output_names;  // As Keras calls them; all different.
  std::vector<JoinedInput> joined;
  std::vector<GraphMember> members;
  std::optional<array::Shape> build_input_shape;  // Of a Sequential.
};

// `architecture` is {"class_name": ..., "config": ...} and must outlive the graph.
// Errors: kInvalidArgument, not Keras's layout, a dangling reference, a cycle;
// kUnsupported, an unknown layer; kTooLarge, more than limits.layer_count_max calls.
Result<Graph> ReadGraph(const nlohmann::json& architecture, const ModelLimits& limits);

}  // namespace dnc::model
