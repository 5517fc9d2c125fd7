// References between the layers of a functional model, in the ways of Keras 1 and 2
// and of Keras 3.

#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/result.h"

namespace dnc::model {

// What one call of a layer gave: ["dense", 0, 0].
struct TensorReference {
  std::string layer;
  int call = 0;    // A shared layer has several.
  int output = 0;  // A model within the model may have several.
};

struct CallReferences {
  std::vector<TensorReference> inputs;
  bool causal = false;  // use_causal_mask=True
};

// The calls of a layer, from its "inbound_nodes", each with its inputs: those of the
// list, then those given by the names "query", "value" and "key" (attention). None for
// an InputLayer, or for a layer that no one calls.
// Errors: kInvalidArgument, not Keras's layout; kUnsupported, other arguments of a call.
Result<std::vector<CallReferences>> CallsOfLayer(const nlohmann::json& layer);

// What `key` ("input_layers" or "output_layers") of a functional model's config names.
// Errors: as above.
Result<std::vector<TensorReference>> Endpoints(const nlohmann::json& config, const char* key);

}  // namespace dnc::model
