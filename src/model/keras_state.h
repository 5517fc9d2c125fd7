// The optimizer's variables within a .keras archive's model.weights.h5, read and
// written: the group "optimizer/vars" of datasets "0", "1" and so on, which are the
// number of steps, since Keras 3 the learning rate unless it follows a schedule, and
// the slots of each trained weight; last, since Keras 3, Nadam's momentum product.
// Private to this room.

#pragma once

#include "hdf/handle.h"
#include "model/h5.h"
#include "model/h5_writer.h"
#include "model/optimizer_state.h"

namespace dnc::model {

// Reads what there is into trained->optimizer_state. On an error nothing is changed.
// Errors: kUnsupported, the variables of another optimizer; kInvalidArgument, another
// shape than a weight's; kCorrupt.
Status ReadKerasState(const hdf::H5Handle& file, TrainedModel* trained);

// As Keras 3 does.
// Errors: kCorrupt, an optimizer_state that is not one of this model; those of
// KerasPaths. Failures of HDF5 are the writer's.
Status WriteKerasState(const TrainedModel& trained, const hdf::H5Handle& file, H5Writer* writer);

}  // namespace dnc::model
