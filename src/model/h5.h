// Legacy Keras .h5 files: architecture, compile section and weights, laid out as
// Keras 2 writes them (root attributes keras_version, backend, model_config,
// training_config; group model_weights with layer_names, and a group a layer with
// weight_names). HDF5 stays inside the .cc.

#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "model/model.h"

namespace dnc::model {

struct TrainedModel {
  Model model;
  std::vector<float> weights;  // model.weight_count elements.
};

// Writes atomically. Requires: weights.size() == model.weight_count.
// Errors: kIo, kResourceExhausted. On an error `path` is as it was.
Status SaveH5(const TrainedModel& trained, const std::string& path);

// Errors: kNotFound; kCorrupt, not HDF5 or not Keras's layout; those of ParseModel;
// kInvalidArgument, a weight of another shape than the architecture's, both named.
Result<TrainedModel> LoadH5(const std::string& path, const ModelLimits& limits = {});

}  // namespace dnc::model
