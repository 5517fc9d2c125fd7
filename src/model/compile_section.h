// How a model is compiled: optimizer, loss and metrics. Read from Keras's
// "training_config", from Keras 3's "compile_config", or from the short form that
// people write by hand under "compile"; written as Keras 2's "training_config".
//
// Of the metrics one accuracy is computed while training. All others that Keras
// knows (a second accuracy, losses as metrics, AUC, Precision, Recall and so on) are
// kept and written as they were given, and named in uncomputed_metrics.

#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"
#include "model/model.h"

namespace dnc::model {

// Errors: kInvalidArgument, a missing or wrong value; kUnsupported, an optimizer,
// loss, metric or option that is not known, with the known ones.
Result<CompileConfig> ReadCompileSection(const nlohmann::json& section);

// The section with the name of the loss "log_loss", scikit-learn's of linear models,
// replaced by that of the cross-entropy which fits the model's output: binary for one
// output, else of class numbers; from logits if the output has no activation.
nlohmann::json ResolveLogLoss(nlohmann::json section, const Model& model);

// Options are written where they differ from what every Keras from 2.0 to 3 takes for
// granted, so that a plain section is read by all of them.
std::string FormatTrainingConfig(const CompileConfig& compile);

}  // namespace dnc::model
