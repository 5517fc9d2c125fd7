// Legacy Keras .h5 files: architecture, compile section and weights, laid out as
// Keras 2 writes them (root attributes keras_version, backend, model_config,
// training_config; group model_weights with layer_names, and a group a layer with
// weight_names; group optimizer_weights with weight_names). HDF5 stays inside the .cc.
//
// A file may come from a stranger: its sizes are checked and nothing outside it is
// opened. HDF5 itself parses it, and is no harder than it is: strangers' files
// belong into a box.

#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "model/model.h"

namespace dnc::model {

struct TrainedModel {
  Model model;
  std::vector<float> weights;  // model.weight_count elements.
  // Of a loaded file: why its training_config could not be used, so that the model
  // has no compile section; empty otherwise. Such a model can predict.
  std::string compile_refusal;
  std::string keras_version;  // That wrote a loaded file, as it says; may be empty.
  // What the optimizer keeps between steps (model/optimizer_state.h), for training to
  // go on where it ended; empty for none.
  Bytes optimizer_state;
  // Of a loaded file: why the state in it was left out; empty otherwise.
  std::string optimizer_refusal;
};

// Writes atomically; the same model gives the same bytes.
// Requires: weights.size() == model.weight_count.
// Errors: kIo, kResourceExhausted; kCorrupt, an optimizer_state that is not one of
// this model. On an error `path` is as it was.
Status SaveH5(const TrainedModel& trained, const std::string& path);

// Errors: kNotFound; kCorrupt, not HDF5 or not Keras's layout; those of ParseModel;
// kInvalidArgument, a weight of another shape than the architecture's, both named, or
// a file of weights only; kUnsupported, storage outside the file, or compressed.
Result<TrainedModel> LoadH5(const std::string& path, const ModelLimits& limits = {});

// The weights of `trained->model` from a whole model's file or one of weights only
// (Keras's save_weights). On an error they are unspecified.
// Errors: as above.
Status LoadH5Weights(const std::string& path, TrainedModel* trained);

}  // namespace dnc::model
