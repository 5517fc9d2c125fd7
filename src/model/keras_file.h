// .keras files of Keras 3: a zip of metadata.json, config.json (architecture and
// compile section) and model.weights.h5. docs/formats/models.md says what is in them.
//
// A file may come from a stranger: the archive's sizes are checked before anything is
// inflated, and HDF5 parses the weights within as it does those of an .h5 (h5.h).

#pragma once

#include <string>

#include "base/bytes.h"
#include "base/random_access_source.h"
#include "base/result.h"
#include "model/h5.h"
#include "model/model.h"

namespace dnc::model {

// What an archive holds, before its weights are looked at.
struct KerasArchive {
  TrainedModel trained;  // Without weights.
  Bytes weights_h5;
};

// Errors: kCorrupt, not a zip archive or a damaged one, or one without the three
// members; kTooLarge, members far larger than such a model's; those of ParseModel.
Result<KerasArchive> ReadKerasArchive(const RandomAccessSource& source,
                                      const ModelLimits& limits = {});

// Errors: as above; kNotFound; those of LoadH5 for weights.
Result<TrainedModel> LoadKeras(const std::string& path, const ModelLimits& limits = {});

// Writes atomically; the same model gives the same bytes. Requires: weights.size() ==
// model.weight_count. Errors: kUnsupported, a layer whose place in such a file is not known;
// kCorrupt, an optimizer_state that is not one of this model; kIo, kResourceExhausted. On an error
// `path` is as it was.
Status SaveKeras(const TrainedModel& trained, const std::string& path);

// The architecture as one JSON that Keras 3 reads, and with kKeras2 Keras 2 and, but for
// attention, Keras 3, too; with the compile section as Keras 3 ("compile_config") or
// Keras 2 ("training_config") writes it.
enum class CompileStyle { kKeras2, kKeras3 };
std::string KerasJson(const Model& model, CompileStyle style);

}  // namespace dnc::model
