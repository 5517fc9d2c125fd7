// Keras's losses by name, class or function.

#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/compile_config.h"

namespace dnc::model {

// The loss of this name ("mean_squared_error"), alias ("mse") or class
// ("MeanSquaredError"); nullopt if there is none.
std::optional<LossKind> FindLoss(const std::string& name);
// Of all losses.
std::vector<std::string> LossNames();

// A loss as Keras writes it: a name, a function, or a class with its options.
// Errors: kInvalidArgument, what is none of these; kUnsupported, an unknown loss or option.
Result<LossConfig> ReadLossConfig(const nlohmann::json& value);
// A name where the options are Keras's own, else a class.
nlohmann::ordered_json FormatLossConfig(const LossConfig& loss);

// A function as Keras 2.13 and later write it.
bool IsFunction(const nlohmann::json& value);

}  // namespace dnc::model
