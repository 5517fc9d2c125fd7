// What the .h5 reader and writer need of a model's JSON.

#pragma once

#include <string_view>

#include "base/result.h"
#include "model/model.h"

namespace dnc::model {

// Parses a "training_config" into `*model`, which is unchanged on an error.
Status ReadTrainingConfig(std::string_view text, const ModelLimits& limits, Model* model);

}  // namespace dnc::model
