// Keras's initializers as options of a layer: by name ("glorot_uniform") or as
// an object {"class_name": "GlorotUniform", "config": {...}}.

#pragma once

#include "model/model.h"
#include "model/option_reader.h"

namespace dnc::model {

// Reads and records the initializer in `key` of `options`; without one it is
// `fallback_class`, such as "Zeros". Failures stick to `options`.
Initializer ReadInitializer(OptionReader* options, const char* key, const char* fallback_class);

}  // namespace dnc::model
