// How a model is compiled: optimizer, losses and metrics. Read from Keras's
// "training_config", from Keras 3's "compile_config", or from the short form that
// people write by hand under "compile"; written as Keras 2's "training_config".
//
// Of the metrics those of metric_section.h are computed. All others that Keras knows
// are kept and written as they were given, and named in uncomputed_metrics.

#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"
#include "model/model.h"

namespace dnc::model {

// Losses, weights of losses and metrics may be given for all outputs of `model`, as a
// list of one for each, or by the outputs' names. "log_loss", scikit-learn's name of a
// linear model's loss, is the cross-entropy that fits the output: binary for one output,
// else of class numbers; from logits if the output has no activation.
// Errors: kInvalidArgument, a missing or wrong value; kUnsupported, an optimizer,
// loss, metric or option that is not known, with the known ones.
Result<CompileConfig> ReadCompileSection(const nlohmann::json& section, const Model& model);

// Options are written where they differ from what every Keras from 2.0 to 3 takes for
// granted, so that a plain section is read by all of them.
std::string FormatTrainingConfig(const CompileConfig& compile);

}  // namespace dnc::model
