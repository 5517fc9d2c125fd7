// A trained model as an ONNX file, for prediction: opset 17, float32, the batch axis
// free, inputs and outputs laid out as Keras has them. docs/decisions/0006 says why it
// is written without a library.

#pragma once

#include <string>

#include "base/result.h"
#include "model/h5.h"

namespace dnc::model {

// Writes atomically; the same model gives the same bytes.
// Requires: weights.size() == model.weight_count.
// Errors: kUnsupported, a layer that has no form in ONNX here, by name; kTooLarge, 2 GiB
// or more, which protobuf cannot hold; kIo, kResourceExhausted. On an error `path` is as
// it was.
Status SaveOnnx(const TrainedModel& trained, const std::string& path);

}  // namespace dnc::model
