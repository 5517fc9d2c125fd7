// Reads what Keras 2 and tf.keras wrote, and what h5_write.cc writes. The file
// may be hostile: nothing outside it is opened (no link but hard ones, no
// external or virtual storage, no filter that can blow up), and nothing is
// allocated for a size that the architecture does not ask for.

#include <hdf5.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "base/human.h"
#include "hdf/handle.h"
#include "hdf/open_source.h"
#include "model/h5_objects.h"
#include "model/h5_read.h"
#include "model/h5_state.h"
#include "model/json_text.h"
#include "model/keras1.h"
#include "model/model_text.h"

namespace dnc::model {
namespace {

using hdf::H5Handle;
using hdf::LastH5Failure;
using hdf::QuietH5;

constexpr std::size_t kNameBytesMax = 1u << 12;
constexpr std::size_t kVersionBytesMax = 64;

Error Corrupt(std::string message) { return {ErrorCode::kCorrupt, std::move(message)}; }

// "model/dense/kernel:0" is the weight "dense/kernel:0": what counts is the last
// part, which some versions of Keras write as "kernel" or "kernel_1:0".
bool NamesTheSameWeight(const std::string& saved, const std::string& expected) {
  const auto leaf = [](const std::string& name) { return name.substr(name.rfind('/') + 1); };
  const std::string stem = leaf(expected).substr(0, leaf(expected).find(':'));
  const std::string rest = leaf(saved).substr(0, leaf(saved).find(':'));
  // A DepthwiseConv of Keras 3 calls its depthwise_kernel so.
  if (stem == "depthwise_kernel" && rest == "kernel") return true;
  return rest == stem || rest.starts_with(stem + "_");
}

Status ReadGroupWeights(const H5Handle& root, WeightGroup* saved, TrainedModel* trained) {
  DNC_ASSIGN(const H5Handle group, OpenGroup(root, saved->name));
  DNC_ASSIGN(std::vector<std::string> names, ReadTextList(group, "weight_names"));
  if (names.size() != saved->weights.size()) {
    return Error{ErrorCode::kInvalidArgument, "the file has " + std::to_string(names.size()) +
                                                  " weights for this layer, but the architecture " +
                                                  std::to_string(saved->weights.size())};
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto index = static_cast<std::size_t>(saved->weights[i]);
    const WeightSpec& weight = trained->model.weights[index];
    if (names[i].size() > kNameBytesMax || !NamesTheSameWeight(names[i], weight.name)) {
      return Error{ErrorCode::kInvalidArgument, "the file's weight " + std::to_string(i) + " is " +
                                                    Quoted(names[i]) + ", but the architecture's " +
                                                    Quoted(weight.name)};
    }
    if (std::find(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(i), names[i]) !=
        names.begin() + static_cast<std::ptrdiff_t>(i)) {
      return Corrupt("two of its weights are called " + Quoted(names[i]));
    }
    DNC_ASSIGN(const H5Handle dataset, OpenObject(group, names[i]));
    const Status status = ReadDataset(dataset, weight, trained->weights.data() + weight.offset);
    if (!status.ok()) return status.error().WithContext(names[i]);
  }
  saved->saved_names = std::move(names);
  return {};
}

// One array of Keras 1 in the layout of Keras 2, whose part of a weight has `shape`.
Status ReadKeras1Array(const H5Handle& dataset, const array::Shape& shape, bool channels_last,
                       std::vector<float>* out) {
  WeightSpec saved;
  saved.name = "weight";
  saved.shape = shape;
  saved.count = array::ElementCount(shape).value_or(0);
  out->resize(saved.count);
  const bool is_transposed = shape.size() == 4 && !channels_last;
  if (is_transposed) saved.shape = {shape[3], shape[2], shape[0], shape[1]};
  if (shape.size() == 3) saved.shape.insert(saved.shape.begin() + 1, 1);  // Of a Conv1D.
  DNC_TRY(ReadDataset(dataset, saved, out->data()));
  if (!is_transposed) return {};
  // (out, in, rows, columns) becomes (rows, columns, in, out).
  const std::vector<float> given = *out;
  const auto pixels = static_cast<std::size_t>(shape[0] * shape[1]);
  const auto channels = static_cast<std::size_t>(shape[2] * shape[3]);
  const auto ins = static_cast<std::size_t>(shape[2]);
  const auto outs = static_cast<std::size_t>(shape[3]);
  for (std::size_t pixel = 0; pixel < pixels; ++pixel) {
    for (std::size_t channel = 0; channel < channels; ++channel) {
      const std::size_t from = channel % outs * ins + channel / outs;
      (*out)[pixel * channels + channel] = given[from * pixels + pixel];
    }
  }
  return {};
}

// The file is saved again as Keras 2 does: the names of its weights are not kept.
Status ReadKeras1Weights(const H5Handle& root, const WeightGroup& saved, bool channels_last,
                         TrainedModel* trained) {
  DNC_ASSIGN(const H5Handle group, OpenGroup(root, saved.name));
  DNC_ASSIGN(const std::vector<std::string> names, ReadTextList(group, "weight_names"));
  const auto parts =
      Keras1Parts(static_cast<int>(names.size()), static_cast<int>(saved.weights.size()));
  if (parts.empty()) {
    return Error{ErrorCode::kInvalidArgument, "the file has " + std::to_string(names.size()) +
                                                  " weights for this layer, but the architecture " +
                                                  std::to_string(saved.weights.size())};
  }
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const WeightSpec& weight = trained->model.weights[static_cast<std::size_t>(saved.weights[i])];
    array::Shape shape = weight.shape;
    if (shape.empty()) return Corrupt("a weight without axes");
    const auto part_count = static_cast<std::int64_t>(parts[i].size());
    if (shape.back() % part_count != 0) return Corrupt("gates of different widths");
    shape.back() /= part_count;
    const auto width = static_cast<std::size_t>(shape.back());
    const std::size_t stride = width * parts[i].size();
    float* const elements = trained->weights.data() + weight.offset;
    for (std::size_t part = 0; part < parts[i].size(); ++part) {
      const std::string& name = names[static_cast<std::size_t>(parts[i][part])];
      DNC_ASSIGN(const H5Handle dataset, OpenObject(group, name));
      std::vector<float> columns;
      const Status status = ReadKeras1Array(dataset, shape, channels_last, &columns);
      if (!status.ok()) return status.error().WithContext(name);
      for (std::size_t k = 0; k < columns.size(); ++k) {
        elements[k / width * stride + part * width + k % width] = columns[k];
      }
    }
  }
  return {};
}

bool IsChannelsLast(const Model& model, const WeightGroup& group) {
  for (const Layer& layer : model.layers) {
    if (layer.name == group.name) return layer.channels_last;
  }
  return true;
}

// Orders the groups as the file does, and drops layers without weights that it lacks.
Status OrderGroups(const H5Handle& root, std::vector<WeightGroup>* groups) {
  DNC_ASSIGN(const std::vector<std::string> names, ReadTextList(root, "layer_names"));
  std::map<std::string, std::size_t> position;
  for (std::size_t i = 0; i < names.size(); ++i) position.emplace(names[i], i);
  std::erase_if(*groups, [&](const WeightGroup& group) {
    return group.weights.empty() && !position.contains(group.name);
  });
  for (const WeightGroup& group : *groups) {
    if (position.contains(group.name)) continue;
    return Error{ErrorCode::kInvalidArgument,
                 "the file has no weights of the architecture's layer " + Quoted(group.name)};
  }
  std::stable_sort(groups->begin(), groups->end(), [&](const WeightGroup& a, const WeightGroup& b) {
    return position[a.name] < position[b.name];
  });
  return {};
}

H5Handle AttributeType(const H5Handle& object, const char* name) {
  const H5Handle attribute(H5Aopen(object.id(), name, H5P_DEFAULT), H5Aclose);
  return H5Handle(H5Aget_type(attribute.id()), H5Tclose);
}

// Leaves what is not said, or said in another way, as it is.
void ReadVersions(const H5Handle& file, const H5Handle& root, KerasFile* said) {
  const auto read = [&](const char* name) -> std::string {
    if (!HasAttribute(file, name)) return "";
    const Result<std::string> text = ReadText(file, name, kNameBytesMax);
    return text.ok() ? *text : "";
  };
  const std::string version = read("keras_version");
  if (version.empty()) return;
  said->keras_version = version;
  said->backend = read("backend");
  said->is_ascii = H5Tget_cset(AttributeType(file, "keras_version").id()) == H5T_CSET_ASCII;
  said->has_variable_lists = HasAttribute(root, "layer_names") &&
                             H5Tis_variable_str(AttributeType(root, "layer_names").id()) > 0;
  said->repeats_versions = HasAttribute(root, "keras_version");
  said->has_top_level_group = H5Lexists(root.id(), "top_level_model_weights", H5P_DEFAULT) > 0;
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
  if (!text.ok()) return;
  trained->model.keras_file.training_config = *text;
  trained->model.keras_file.training_config_read = trained->model.training_config_json;
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

Status ReadWeights(const H5Handle& root, const std::string& path, bool of_keras1,
                   TrainedModel* trained) {
  trained->weights.resize(trained->model.weight_count);
  const Status ordered = OrderGroups(root, &trained->model.weight_groups);
  if (!ordered.ok()) return ordered.error().WithContext(path);
  for (WeightGroup& group : trained->model.weight_groups) {
    if (group.weights.empty()) continue;
    const Status status =
        of_keras1 ? ReadKeras1Weights(root, group, IsChannelsLast(trained->model, group), trained)
                  : ReadGroupWeights(root, &group, trained);
    if (!status.ok()) return status.error().WithContext(path + ": layer " + group.name);
  }
  return {};
}

}  // namespace

Result<TrainedModel> ReadH5(std::shared_ptr<const RandomAccessSource> source,
                            const ModelLimits& limits) {
  const QuietH5 quiet;
  // No plug-in is loaded for a filter that a file names.
  H5PLset_loading_state(0);
  const std::string path = source->name();
  DNC_ASSIGN(const H5Handle file, hdf::OpenSource(std::move(source)));
  Result<std::string> architecture = ReadArchitecture(file, limits);
  if (!architecture.ok()) return architecture.error().WithContext(path);
  TrainedModel trained;
  if (HasAttribute(file, "keras_version")) {
    const Result<std::string> version = ReadText(file, "keras_version", kVersionBytesMax);
    if (version.ok()) trained.keras_version = *version;
  }
  // As a member its text is kept to the last byte.
  const bool of_keras1 = trained.keras_version.starts_with("1.");
  const std::string document =
      (of_keras1 ? R"({"keras_version":"1.","model_config":)" : R"({"model_config":)") +
      *architecture + "}";
  DNC_ASSIGN(trained.model, ParseModel(document, path, limits));
  ReadCompile(file, limits, &trained);
  Result<H5Handle> root = OpenGroup(file, "model_weights");
  if (!root.ok()) return root.error().WithContext(path);
  DNC_TRY(CheckFileSize(file, path, trained.model));
  if (!of_keras1) ReadVersions(file, *root, &trained.model.keras_file);
  DNC_TRY(ReadWeights(*root, path, of_keras1, &trained));
  // Without its state a model is still whole: the optimizer begins anew.
  if (trained.model.has_compile && H5Lexists(file.id(), "optimizer_weights", H5P_DEFAULT) > 0) {
    const Status status = ReadOptimizerState(file, &trained);
    if (!status.ok()) {
      trained.optimizer_refusal = "the optimizer's state: " + status.error().message;
    }
  }
  return trained;
}

Status ReadH5Weights(std::shared_ptr<const RandomAccessSource> source, TrainedModel* trained) {
  const QuietH5 quiet;
  H5PLset_loading_state(0);
  const std::string path = source->name();
  DNC_ASSIGN(const H5Handle file, hdf::OpenSource(std::move(source)));
  DNC_TRY(CheckFileSize(file, path, trained->model));
  // save_weights() writes the layers' groups to the root.
  const bool weights_only = HasAttribute(file, "layer_names") || HasAttribute(file, "layer_names0");
  Result<H5Handle> root = OpenGroup(file, "model_weights");
  if (!root.ok() && !weights_only) return root.error().WithContext(path);
  const Result<std::string> version = ReadText(file, "keras_version", kVersionBytesMax);
  const bool of_keras1 = version.ok() && version->starts_with("1.");
  return ReadWeights(weights_only ? file : *root, path, of_keras1, trained);
}

}  // namespace dnc::model
