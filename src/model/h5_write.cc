// The layout is that of save_model_to_hdf5 and save_weights_to_hdf5_group in
// keras/saving/legacy/hdf5_format.py (2.11), with the string types that h5py
// gives them.

#include <algorithm>

#include "base/file.h"
#include "hdf/handle.h"
#include "model/h5.h"
#include "model/h5_writer.h"
#include "model/model_text.h"

namespace dnc::model {
namespace {

using hdf::H5Handle;
using hdf::QuietH5;

constexpr const char* kKerasVersion = "2.11.0";
constexpr const char* kBackend = "tensorflow";

// The layers as Keras's model.layers has them, in order.
std::vector<const Layer*> SavedLayers(const Model& model) {
  std::vector<const Layer*> layers;
  for (const Layer& layer : model.layers) {
    if (layer.kind == LayerKind::kInput && IsSequential(model)) continue;
    layers.push_back(&layer);
  }
  return layers;
}

void WriteWeights(const TrainedModel& trained, const H5Handle& file, H5Writer* writer) {
  const Model& model = trained.model;
  std::vector<const Layer*> layers = SavedLayers(model);
  H5Handle root = writer->CreateGroup(file, "model_weights");
  if (!root.ok()) return;
  std::vector<std::string> layer_names;
  for (const Layer* layer : layers) layer_names.push_back(layer->name);
  writer->WriteTextList(root, "layer_names", layer_names);
  writer->WriteText(root, "backend", kBackend, TextEncoding::kAscii);
  writer->WriteText(root, "keras_version", kKerasVersion, TextEncoding::kAscii);
  // Keras creates the groups in the order of their names.
  std::sort(layers.begin(), layers.end(),
            [](const Layer* a, const Layer* b) { return a->name < b->name; });
  for (const Layer* layer : layers) {
    const H5Handle group = writer->CreateGroup(root, layer->name);
    if (!group.ok()) return;
    std::vector<std::string> weight_names;
    for (int i = 0; i < layer->weight_count; ++i) {
      weight_names.push_back(model.weights[layer->first_weight + i].name);
    }
    writer->WriteTextList(group, "weight_names", weight_names);
    for (int i = 0; i < layer->weight_count && writer->status().ok(); ++i) {
      const WeightSpec& weight = model.weights[layer->first_weight + i];
      writer->WriteDataset(group, weight.name, weight.shape,
                           trained.weights.data() + weight.offset);
    }
  }
  const H5Handle top_level = writer->CreateGroup(root, "top_level_model_weights");
  if (top_level.ok()) writer->WriteTextList(top_level, "weight_names", {});
}

}  // namespace

Status SaveH5(const TrainedModel& trained, const std::string& path) {
  DNC_ASSERT(trained.weights.size() == trained.model.weight_count);
  const QuietH5 quiet;
  H5Writer writer(path);
  H5Handle file = writer.CreateFile(4 * trained.weights.size() + (1u << 20));
  DNC_TRY(writer.status());
  writer.WriteText(file, "keras_version", kKerasVersion, TextEncoding::kUtf8);
  writer.WriteText(file, "backend", kBackend, TextEncoding::kUtf8);
  writer.WriteText(file, "model_config", trained.model.model_config_json, TextEncoding::kAscii);
  if (trained.model.has_compile) {
    writer.WriteText(file, "training_config", trained.model.training_config_json,
                     TextEncoding::kAscii);
  }
  WriteWeights(trained, file, &writer);
  const Bytes image = writer.TakeImage(file);
  file = {};
  DNC_TRY(writer.status());
  return WriteFileAtomically(path, image);
}

}  // namespace dnc::model
