// The reader of Keras's .h5, in this process: HDF5 is not made for hostile files, so that
// h5.h has it called in a box (box/box.h). Private to this room and its fuzzing.

#pragma once

#include <memory>

#include "base/random_access_source.h"
#include "model/h5.h"

namespace dnc::model {

// Errors: those of LoadH5; the source's name stands for the path.
Result<TrainedModel> ReadH5(std::shared_ptr<const RandomAccessSource> source,
                            const ModelLimits& limits);
Status ReadH5Weights(std::shared_ptr<const RandomAccessSource> source, TrainedModel* trained);

}  // namespace dnc::model
