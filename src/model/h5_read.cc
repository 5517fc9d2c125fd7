// Reads what Keras 2 and tf.keras wrote, and what h5_write.cc writes. The file
// may be hostile: nothing outside it is opened (no link but hard ones, no
// external or virtual storage, no filter that can blow up), and nothing is
// allocated for a size that the architecture does not ask for.

#include <hdf5.h>

#include <cstring>

#include "base/human.h"
#include "base/random_access_source.h"
#include "hdf/handle.h"
#include "model/h5.h"
#include "model/h5_objects.h"
#include "model/json_text.h"
#include "model/model_text.h"

namespace dnc::model {
namespace {

using hdf::H5Handle;
using hdf::LastH5Failure;
using hdf::QuietH5;

constexpr std::size_t kNameBytesMax = 1u << 12;
constexpr std::size_t kVersionBytesMax = 64;

Error Corrupt(std::string message) { return {ErrorCode::kCorrupt, std::move(message)}; }
Error Unsupported(std::string message) { return {ErrorCode::kUnsupported, std::move(message)}; }

// "model/dense/kernel:0" is the weight "dense/kernel:0": what counts is the last
// part, which some versions of Keras write as "kernel" or "kernel_1:0".
bool NamesTheSameWeight(const std::string& saved, const std::string& expected) {
  const auto leaf = [](const std::string& name) { return name.substr(name.rfind('/') + 1); };
  const std::string stem = leaf(expected).substr(0, leaf(expected).find(':'));
  const std::string rest = leaf(saved).substr(0, leaf(saved).find(':'));
  return rest == stem || rest.starts_with(stem + "_");
}

Status ReadLayerWeights(const H5Handle& root, const Layer& layer, TrainedModel* trained) {
  DNC_ASSIGN(const H5Handle group, OpenGroup(root, layer.name));
  DNC_ASSIGN(const std::vector<std::string> names, ReadTextList(group, "weight_names"));
  if (names.size() != static_cast<std::size_t>(layer.weight_count)) {
    return Error{ErrorCode::kInvalidArgument, "the file has " + std::to_string(names.size()) +
                                                  " weights for this layer, but the architecture " +
                                                  std::to_string(layer.weight_count)};
  }
  for (int i = 0; i < layer.weight_count; ++i) {
    const WeightSpec& weight = trained->model.weights[layer.first_weight + i];
    if (names[i].size() > kNameBytesMax || !NamesTheSameWeight(names[i], weight.name)) {
      return Error{ErrorCode::kInvalidArgument, "the file's weight " + std::to_string(i) + " is " +
                                                    Quoted(names[i]) + ", but the architecture's " +
                                                    Quoted(weight.name)};
    }
    DNC_ASSIGN(const H5Handle dataset, OpenObject(group, names[i]));
    const Status status = ReadDataset(dataset, weight, trained->weights.data() + weight.offset);
    if (!status.ok()) return status.error().WithContext(names[i]);
  }
  return {};
}

Result<H5Handle> OpenH5(const std::string& path) {
  DNC_ASSIGN(const auto source, FileSource::Open(path));
  std::array<std::byte, 4> magic{};
  if (source->size() >= magic.size()) DNC_TRY(source->ReadAt(0, magic));
  if (std::memcmp(magic.data(), "PK\x03\x04", 4) == 0) {
    return Unsupported(path + ": is a .keras or zip archive; save the model as .h5");
  }
  const H5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  if (!access.ok() || H5Pset_file_locking(access.id(), false, true) < 0 ||
      H5Pset_fclose_degree(access.id(), H5F_CLOSE_STRONG) < 0) {
    return Error{ErrorCode::kInternal, "HDF5: " + LastH5Failure()};
  }
  if (H5Fis_hdf5(path.c_str()) <= 0) {
    return Corrupt(path +
                   ": is not an HDF5 file; expected a model as Keras's "
                   "model.save(\"m.h5\") writes it");
  }
  H5Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.id()), H5Fclose);
  if (!file.ok()) return Corrupt(path + ": cannot be opened: HDF5: " + LastH5Failure());
  return file;
}

Result<std::string> ReadArchitecture(const H5Handle& file, const ModelLimits& limits) {
  if (!HasAttribute(file, "model_config")) {
    if (HasAttribute(file, "layer_names") || HasAttribute(file, "layer_names0")) {
      return Error{ErrorCode::kInvalidArgument,
                   "holds weights only, without the architecture (Keras's save_weights); save the "
                   "whole model with model.save(\"m.h5\")"};
    }
    return Corrupt(
        "has no attribute model_config; expected a model as Keras's "
        "model.save(\"m.h5\") writes it");
  }
  return ReadText(file, "model_config", limits.json_bytes_max);
}

// A compile section that cannot be used does not make the weights useless.
void ReadCompile(const H5Handle& file, const ModelLimits& limits, TrainedModel* trained) {
  if (!HasAttribute(file, "training_config")) return;
  const Result<std::string> text = ReadText(file, "training_config", limits.json_bytes_max);
  const Status status =
      text.ok() ? ReadTrainingConfig(*text, limits, &trained->model) : text.status();
  if (!status.ok()) trained->compile_refusal = status.error().message;
}

// Every weight takes two bytes or more, so that a small file cannot ask for much.
Status CheckFileSize(const H5Handle& file, const std::string& path, const Model& model) {
  hsize_t file_bytes = 0;
  if (H5Fget_filesize(file.id(), &file_bytes) >= 0 && file_bytes >= 2 * model.weight_count) {
    return {};
  }
  return Corrupt(path + ": has " + FormatByteCount(file_bytes) + ", too few for the " +
                 FormatCount(model.weight_count) + " weights of its architecture");
}

Status ReadWeights(const H5Handle& root, const std::string& path, TrainedModel* trained) {
  trained->weights.resize(trained->model.weight_count);
  for (const Layer& layer : trained->model.layers) {
    if (layer.weight_count == 0) continue;
    const Status status = ReadLayerWeights(root, layer, trained);
    if (!status.ok()) return status.error().WithContext(path + ": layer " + layer.name);
  }
  return {};
}

}  // namespace

Result<TrainedModel> LoadH5(const std::string& path, const ModelLimits& limits) {
  const QuietH5 quiet;
  // No plug-in is loaded for a filter that a file names.
  H5PLset_loading_state(0);
  DNC_ASSIGN(const H5Handle file, OpenH5(path));
  Result<std::string> architecture = ReadArchitecture(file, limits);
  if (!architecture.ok()) return architecture.error().WithContext(path);
  TrainedModel trained;
  if (HasAttribute(file, "keras_version")) {
    const Result<std::string> version = ReadText(file, "keras_version", kVersionBytesMax);
    if (version.ok()) trained.keras_version = *version;
  }
  DNC_ASSIGN(trained.model, ParseModel(*architecture, path, limits));
  ReadCompile(file, limits, &trained);
  Result<H5Handle> root = OpenGroup(file, "model_weights");
  if (!root.ok()) return root.error().WithContext(path);
  DNC_TRY(CheckFileSize(file, path, trained.model));
  DNC_TRY(ReadWeights(*root, path, &trained));
  return trained;
}

Status LoadH5Weights(const std::string& path, TrainedModel* trained) {
  const QuietH5 quiet;
  H5PLset_loading_state(0);
  DNC_ASSIGN(const H5Handle file, OpenH5(path));
  DNC_TRY(CheckFileSize(file, path, trained->model));
  // save_weights() writes the layers' groups to the root.
  const bool weights_only = HasAttribute(file, "layer_names") || HasAttribute(file, "layer_names0");
  Result<H5Handle> root = OpenGroup(file, "model_weights");
  if (!root.ok() && !weights_only) return root.error().WithContext(path);
  return ReadWeights(weights_only ? file : *root, path, trained);
}

}  // namespace dnc::model
