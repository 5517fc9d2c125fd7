// References between the layers of a functional model, in the ways of Keras 2 and
// of Keras 3. Here a layer has one input, and a model one input and one output.

#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"

namespace dnc::model {

// The name of the layer whose output `layer` takes, from its "inbound_nodes"; ""
// for none.
// Errors: kInvalidArgument, not Keras's layout; kUnsupported, several inputs, a
// shared layer, arguments of the call.
Result<std::string> InputOfLayer(const nlohmann::json& layer);

// The one layer that `key` ("input_layers" or "output_layers") of a functional
// model's config names.
// Errors: as above.
Result<std::string> SingleEndpoint(const nlohmann::json& config, const char* key);

}  // namespace dnc::model
