#include "model/model_files.h"

#include <algorithm>

#include "base/file.h"
#include "base/random_access_source.h"
#include "model/keras_file.h"
#include "model/named_weights.h"
#include "model/onnx_export.h"
#include "model/weight_files.h"

namespace dnc::model {
namespace {

Error Invalid(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

struct Ending {
  const char* text;
  FileKind kind;
};

constexpr Ending kEndings[] = {
    {".h5", FileKind::kH5},
    {".hdf5", FileKind::kH5},
    {".keras", FileKind::kKeras},
    {".json", FileKind::kJson},
    {".safetensors", FileKind::kSafetensors},
    {".npz", FileKind::kNpz},
    {".onnx", FileKind::kOnnx},
};

Result<TrainedModel> LoadJson(const std::string& path, const ModelLimits& limits) {
  DNC_ASSIGN(const std::string text, ReadFile(path, limits.json_bytes_max));
  TrainedModel trained;
  DNC_ASSIGN(trained.model, ParseModel(text, path, limits));
  return trained;
}

// The weights of a model of its own, which must be the same layers'.
Status TakeWeights(const std::string& path, const TrainedModel& other, TrainedModel* trained) {
  NamedWeights names(&trained->model);
  trained->weights.resize(trained->model.weight_count);
  for (const WeightSpec& from : other.model.weights) {
    const Result<const WeightSpec*> to = names.Claim(from.name, from.shape);
    if (!to.ok()) return to.error().WithContext(path);
    std::copy_n(other.weights.begin() + static_cast<std::ptrdiff_t>(from.offset), from.count,
                trained->weights.begin() + static_cast<std::ptrdiff_t>((*to)->offset));
  }
  const Status status = names.CheckAllClaimed();
  if (!status.ok()) return status.error().WithContext(path);
  return {};
}

// The weights of `*trained`, from a file that may have an architecture of its own.
Status LoadWeights(const std::string& path, const ModelLimits& limits, TrainedModel* trained) {
  DNC_ASSIGN(const FileKind kind, FileKindOf(path));
  if (kind == FileKind::kH5) return LoadH5Weights(path, trained);
  if (kind == FileKind::kKeras) {
    DNC_ASSIGN(TrainedModel other, LoadKeras(path, limits));
    return TakeWeights(path, other, trained);
  }
  DNC_ASSIGN(const auto source, FileSource::Open(path));
  if (kind == FileKind::kSafetensors) {
    DNC_ASSIGN(trained->weights, ReadSafetensors(*source, trained->model));
    return {};
  }
  if (kind == FileKind::kNpz) {
    DNC_ASSIGN(trained->weights, ReadNpz(*source, trained->model));
    return {};
  }
  return Invalid(path + " holds no weights; expected a .h5, .keras, .safetensors or .npz");
}

}  // namespace

Result<FileKind> FileKindOf(const std::string& path) {
  std::string known;
  for (const Ending& ending : kEndings) {
    if (path.ends_with(ending.text)) return ending.kind;
    known += std::string(known.empty() ? "" : ", ") + ending.text;
  }
  return Invalid(path + ": its name does not say what it holds; known endings are " + known);
}

Result<TrainedModel> LoadArchitecture(const std::string& path, const ModelLimits& limits) {
  DNC_ASSIGN(const FileKind kind, FileKindOf(path));
  if (kind == FileKind::kJson) return LoadJson(path, limits);
  if (kind == FileKind::kH5) return LoadH5(path, limits);
  if (kind == FileKind::kKeras) return LoadKeras(path, limits);
  return Invalid(path + " holds no architecture; expected a .json, .h5 or .keras");
}

Result<TrainedModel> LoadModel(const std::string& path, const LoadOptions& options) {
  DNC_ASSIGN(const FileKind kind, FileKindOf(path));
  if (kind == FileKind::kOnnx) return Invalid(path + ": .onnx files are written, not read");
  if (!options.architecture.empty()) {
    if (kind != FileKind::kSafetensors && kind != FileKind::kNpz && kind != FileKind::kH5) {
      return Invalid("--architecture is for files of weights alone, but " + path +
                     " has an architecture of its own; leave it away");
    }
    if (!options.weights.empty() || options.seed) {
      return Invalid("the weights are those of " + path + "; leave --weights and --seed away");
    }
    DNC_ASSIGN(TrainedModel trained, LoadArchitecture(options.architecture, options.limits));
    DNC_TRY(LoadWeights(path, options.limits, &trained));
    return trained;
  }
  if (kind == FileKind::kSafetensors || kind == FileKind::kNpz) {
    return Invalid(path + " holds weights alone; say with --architecture for which .json, .h5 or " +
                   ".keras they are");
  }
  if (kind != FileKind::kJson && (!options.weights.empty() || options.seed)) {
    return Invalid("--weights and --seed are for a .json, but " + path +
                   " has weights of its own; leave them away");
  }
  if (kind == FileKind::kH5) return LoadH5(path, options.limits);
  if (kind == FileKind::kKeras) return LoadKeras(path, options.limits);
  if (!options.weights.empty() && options.seed) {
    return Invalid("--weights and --seed exclude each other; give one of them");
  }
  DNC_ASSIGN(TrainedModel trained, LoadJson(path, options.limits));
  if (!options.weights.empty()) {
    DNC_TRY(LoadWeights(options.weights, options.limits, &trained));
  } else {
    trained.weights = InitialWeights(trained.model, options.seed.value_or(0));
  }
  return trained;
}

Status SaveModel(const TrainedModel& trained, const std::string& path) {
  DNC_ASSIGN(const FileKind kind, FileKindOf(path));
  switch (kind) {
    case FileKind::kH5:
      return SaveH5(trained, path);
    case FileKind::kJson:
      return WriteFileAtomically(path,
                                 AsBytes(KerasJson(trained.model, CompileStyle::kKeras2) + "\n"));
    case FileKind::kSafetensors:
      return SaveSafetensors(trained, path);
    case FileKind::kNpz:
      return SaveNpz(trained, path);
    case FileKind::kKeras:
      return SaveKeras(trained, path);
    case FileKind::kOnnx:
      return SaveOnnx(trained, path);
  }
  return Invalid(path + " cannot be written");
}

}  // namespace dnc::model
