// How a model is compiled: optimizer, loss and metrics. Read from Keras's
// "training_config", from Keras 3's "compile_config", or from the short form that
// people write by hand under "compile"; written as Keras 2's "training_config".

#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"
#include "model/model.h"

namespace dnc::model {

// Errors: kInvalidArgument, a missing or wrong value; kUnsupported, an optimizer,
// loss, metric or option that is not known, with the known ones.
Result<CompileConfig> ReadCompileSection(const nlohmann::json& section);

// Only options that every Keras from 2.0 to 3 accepts are written.
std::string FormatTrainingConfig(const CompileConfig& compile);

}  // namespace dnc::model
