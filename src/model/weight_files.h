// Weights alone, without an architecture: safetensors (docs/formats/models.md)
// and npz. Tensors are called as Keras calls the weights, "dense/kernel:0"; a reader
// takes them without the ":0", too, and in any order. All of the model's weights
// must be there, and nothing else.
//
// A file may come from a stranger: its sizes are checked against the file and the
// architecture before anything is allocated.

#pragma once

#include <string>
#include <vector>

#include "base/random_access_source.h"
#include "base/result.h"
#include "model/h5.h"
#include "model/model.h"

namespace dnc::model {

// Each writes atomically, float32; the same weights give the same bytes.
// Requires: weights.size() == model.weight_count.
// Errors: kIo, kResourceExhausted. On an error `path` is as it was.
Status SaveSafetensors(const TrainedModel& trained, const std::string& path);
Status SaveNpz(const TrainedModel& trained, const std::string& path);

// Each gives model.weight_count elements.
// Errors: kCorrupt, not such a file, or one that lies about its sizes; kTooLarge;
// kUnsupported, elements that are no floats; kInvalidArgument, a weight that is
// missing, unknown, or of another shape than the architecture's, both named.
Result<std::vector<float>> ReadSafetensors(const RandomAccessSource& source, const Model& model);
Result<std::vector<float>> ReadNpz(const RandomAccessSource& source, const Model& model);

}  // namespace dnc::model
