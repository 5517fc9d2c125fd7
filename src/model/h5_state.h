// The optimizer's state in an .h5, read and written. Private to this room.

#pragma once

#include "hdf/handle.h"
#include "model/h5.h"
#include "model/h5_writer.h"
#include "model/optimizer_state.h"

namespace dnc::model {

// Reads the group "optimizer_weights" of `file` into trained->optimizer_state; the
// model's weight groups are in the order of the file. On an error nothing is changed.
// Errors: kUnsupported, the state of another optimizer; kInvalidArgument, another shape
// than a weight's; kCorrupt.
Status ReadOptimizerState(const hdf::H5Handle& file, TrainedModel* trained);

void WriteOptimizerState(const Model& model, const OptimizerSlots& state, const hdf::H5Handle& file,
                         H5Writer* writer);

}  // namespace dnc::model
