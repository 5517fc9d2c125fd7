// The architecture of a model as only Keras 3 reads it, where Keras 2's way is not
// enough: calls of attention, and options that have other names there.

#pragma once

#include <nlohmann/json_fwd.hpp>

#include "model/model.h"

namespace dnc::model {

// `architecture` is that of `model`, {"class_name": ..., "config": ...}, as this room
// writes it or as Keras 2 or 3 did; what Keras 3 reads already stays.
void TranslateToKeras3(const Model& model, nlohmann::ordered_json* architecture);

}  // namespace dnc::model
