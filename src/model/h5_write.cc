// The layout is that of save_model_to_hdf5 and save_weights_to_hdf5_group in
// keras/saving/legacy/hdf5_format.py (2.11), with the string types that h5py
// gives them.

#include <algorithm>

#include "base/file.h"
#include "hdf/handle.h"
#include "model/h5.h"
#include "model/h5_state.h"
#include "model/h5_writer.h"

namespace dnc::model {
namespace {

using hdf::H5Handle;
using hdf::QuietH5;

void WriteVersions(const KerasFile& said, const H5Handle& object, TextEncoding encoding,
                   H5Writer* writer) {
  writer->WriteText(object, "keras_version", said.keras_version, encoding);
  if (!said.backend.empty()) writer->WriteText(object, "backend", said.backend, encoding);
}

void WriteWeights(const TrainedModel& trained, const H5Handle& file, H5Writer* writer) {
  const Model& model = trained.model;
  H5Handle root = writer->CreateGroup(file, "model_weights");
  if (!root.ok()) return;
  std::vector<std::string> layer_names;
  std::vector<const WeightGroup*> groups;
  for (const WeightGroup& group : model.weight_groups) {
    layer_names.push_back(group.name);
    groups.push_back(&group);
  }
  const bool variable_lists = model.keras_file.has_variable_lists;
  writer->WriteTextList(root, "layer_names", layer_names, variable_lists);
  if (model.keras_file.repeats_versions) {
    WriteVersions(model.keras_file, root, TextEncoding::kAscii, writer);
  }
  // Keras creates the groups in the order of their names.
  std::sort(groups.begin(), groups.end(),
            [](const WeightGroup* a, const WeightGroup* b) { return a->name < b->name; });
  for (const WeightGroup* saved : groups) {
    const H5Handle group = writer->CreateGroup(root, saved->name);
    if (!group.ok()) return;
    writer->WriteTextList(group, "weight_names", saved->saved_names, variable_lists);
    for (std::size_t i = 0; i < saved->weights.size() && writer->status().ok(); ++i) {
      const WeightSpec& weight = model.weights[static_cast<std::size_t>(saved->weights[i])];
      writer->WriteDataset(group, saved->saved_names[i], weight.shape,
                           trained.weights.data() + weight.offset);
    }
  }
  if (!model.keras_file.has_top_level_group) return;
  const H5Handle top_level = writer->CreateGroup(root, "top_level_model_weights");
  if (top_level.ok()) writer->WriteTextList(top_level, "weight_names", {});
}

TextEncoding EncodingOf(const std::string& text) {
  const bool ascii = std::all_of(text.begin(), text.end(),
                                 [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  return ascii ? TextEncoding::kAscii : TextEncoding::kUtf8;
}

}  // namespace

Status SaveH5(const TrainedModel& trained, const std::string& path) {
  DNC_ASSERT(trained.weights.size() == trained.model.weight_count);
  const Model& model = trained.model;
  const bool has_state = model.has_compile && !trained.optimizer_state.empty();
  OptimizerSlots state;
  if (has_state) {
    state = InitialSlots(model.compile.optimizer, model.weight_count);
    DNC_TRY(DecodeOptimizerState(model.compile.optimizer, model.weight_count,
                                 trained.optimizer_state, &state));
  }
  const QuietH5 quiet;
  H5Writer writer(path);
  H5Handle file =
      writer.CreateFile(4 * trained.weights.size() * (1 + state.slots.size()) + (1u << 20));
  DNC_TRY(writer.status());
  WriteVersions(model.keras_file, file,
                model.keras_file.is_ascii ? TextEncoding::kAscii : TextEncoding::kUtf8, &writer);
  writer.WriteText(file, "model_config", model.model_config_json,
                   EncodingOf(model.model_config_json));
  const KerasFile& said = model.keras_file;
  const bool is_as_read = said.training_config_read == model.training_config_json;
  const std::string& training = is_as_read && !said.training_config.empty()
                                    ? said.training_config
                                    : model.training_config_json;
  if (!training.empty()) {
    writer.WriteText(file, "training_config", training, EncodingOf(training));
  }
  WriteWeights(trained, file, &writer);
  if (has_state) WriteOptimizerState(model, state, file, &writer);
  const Bytes image = writer.TakeImage(file);
  file = {};
  DNC_TRY(writer.status());
  return WriteFileAtomically(path, image);
}

}  // namespace dnc::model
