// A model in any of the files that are read and written, told apart by the ending
// of the name: .h5 (also .hdf5), .keras, .json (the architecture), .safetensors and
// .npz (weights alone), .onnx (only written).

#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "model/h5.h"
#include "model/model.h"

namespace dnc::model {

enum class FileKind : std::uint8_t { kH5, kKeras, kJson, kSafetensors, kNpz, kOnnx };

// Errors: kInvalidArgument, another ending, with the known ones.
Result<FileKind> FileKindOf(const std::string& path);

struct LoadOptions {
  std::string architecture;           // A .json, .h5 or .keras; for files of weights alone.
  std::string weights;                // For a .json: where its weights are; empty: fresh ones...
  std::optional<std::uint64_t> seed;  // ...drawn from this; 0 if not given.
  ModelLimits limits;
};

// Errors: kInvalidArgument, options that do not go together with the file; kNotFound;
// those of ParseModel, LoadH5, LoadKeras, ReadSafetensors and ReadNpz.
Result<TrainedModel> LoadModel(const std::string& path, const LoadOptions& options = {});

// The model of a file that has an architecture. A .json's weights are empty.
// Errors: kInvalidArgument, a file of weights alone; those of LoadModel.
Result<TrainedModel> LoadArchitecture(const std::string& path, const ModelLimits& limits = {});

// Writes atomically; the same model gives the same bytes.
// Requires: weights.size() == model.weight_count.
// Errors: kIo, kResourceExhausted; kUnsupported, the format lacks something, by name.
// On an error `path` is as it was.
Status SaveModel(const TrainedModel& trained, const std::string& path);

}  // namespace dnc::model
