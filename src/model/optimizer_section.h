// The optimizer of a compile section, in all forms that Keras 1 to 3 write: its
// class and options, with a learning-rate schedule and gradient clipping.

#pragma once

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"
#include "model/model.h"

namespace dnc::model {

// One is taken for an optimizer of Keras before 2.11 where "is_legacy_optimizer" says
// so, or where it has an option that only those have ("decay", "lr",
// "schedule_decay"); and where there is no difference, since every Keras reads it.
// Errors: kInvalidArgument, kUnsupported, as ReadCompileSection.
Result<Optimizer> ReadOptimizer(const nlohmann::json& value);

// As the "optimizer_config" of a training_config.
nlohmann::ordered_json FormatOptimizer(const Optimizer& optimizer);

}  // namespace dnc::model
