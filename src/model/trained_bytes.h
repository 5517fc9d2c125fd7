// A trained model as bytes, from a boxed reader of files to the process that asked for
// it; not a format of files. Private to this room.

#pragma once

#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "model/h5.h"

namespace dnc::model {

Bytes EncodeTrained(const TrainedModel& trained);

// The bytes are foreign: the model is parsed and checked anew, and all that refers to it.
// `name` is used in messages. Errors: kCorrupt; those of ParseModel.
Result<TrainedModel> DecodeTrained(ByteSpan bytes, const std::string& name,
                                   const ModelLimits& limits);

}  // namespace dnc::model
