// The layout is that of save_model_to_hdf5 and save_weights_to_hdf5_group in
// keras/saving/legacy/hdf5_format.py (2.11), with the string types that h5py
// gives them. HDF5 builds the file in memory: where its own writing fails, as on
// a full disk, it can neither close the file nor leave it (1.10.8 then crashes as
// the process exits), so that the bytes are written without it.

#include <hdf5.h>

#include <algorithm>
#include <atomic>

#include "base/file.h"
#include "hdf/handle.h"
#include "model/h5.h"
#include "model/model_text.h"

namespace dnc::model {
namespace {

using hdf::H5Handle;
using hdf::LastH5Failure;
using hdf::QuietH5;

constexpr const char* kKerasVersion = "2.11.0";
constexpr const char* kBackend = "tensorflow";
// An attribute must fit an object header of 64 KiB: Keras splits longer lists.
constexpr std::size_t kListBytesMax = 64512;

// In memory only the lack of it makes HDF5 fail.
Error WriteError(const std::string& path) {
  return {ErrorCode::kResourceExhausted, "cannot write " + path + ": HDF5: " + LastH5Failure()};
}

// All writing of one file; the first failure sticks, and later calls do nothing.
class H5Writer {
 public:
  explicit H5Writer(std::string path) : path_(std::move(path)) {}

  // A file of about `bytes` in memory.
  H5Handle CreateFile(std::size_t bytes) {
    const H5Handle access = Own(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    if (!access.ok()) return {};
    Check(H5Pset_fapl_core(access.id(), bytes, false));
    Check(H5Pset_fclose_degree(access.id(), H5F_CLOSE_STRONG));
    // HDF5 tells files apart by name, also those in memory.
    static std::atomic<unsigned> counter = 0;
    const std::string name = "/dnc model in memory/" + std::to_string(counter++);
    return Own(H5Fcreate(name.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.id()), H5Fclose);
  }

  // All bytes of a file in memory.
  Bytes TakeImage(const H5Handle& file) {
    Check(H5Fflush(file.id(), H5F_SCOPE_GLOBAL));
    const ssize_t size = H5Fget_file_image(file.id(), nullptr, 0);
    Check(size < 0 ? -1 : 0);
    if (!status_.ok()) return {};
    Bytes image(static_cast<std::size_t>(size));
    Check(H5Fget_file_image(file.id(), image.data(), image.size()) < 0 ? -1 : 0);
    return image;
  }

  // Intermediate groups of a name with slashes are created, too.
  H5Handle CreateGroup(const H5Handle& parent, const std::string& name) {
    const H5Handle links = IntermediateGroups();
    if (!links.ok()) return {};
    return Own(H5Gcreate2(parent.id(), name.c_str(), links.id(), H5P_DEFAULT, H5P_DEFAULT),
               H5Gclose);
  }

  // A variable-length scalar, as h5py stores bytes (ASCII) and str (UTF-8).
  void WriteText(const H5Handle& object, const char* name, const std::string& text,
                 H5T_cset_t encoding) {
    const H5Handle type = StringType(H5T_VARIABLE, encoding, H5T_STR_NULLTERM);
    const H5Handle space = Own(H5Screate(H5S_SCALAR), H5Sclose);
    const char* pointer = text.c_str();
    WriteAttribute(object, name, type, space, &pointer);
  }

  // A list of texts as NumPy's fixed-length bytes; in parts where it is long.
  void WriteTextList(const H5Handle& object, const std::string& name,
                     const std::vector<std::string>& texts) {
    if (texts.empty()) {  // NumPy's empty array is of float64.
      const hsize_t none = 0;
      const H5Handle space = Own(H5Screate_simple(1, &none, nullptr), H5Sclose);
      if (!space.ok()) return;
      Own(H5Acreate2(object.id(), name.c_str(), H5T_IEEE_F64LE, space.id(), H5P_DEFAULT,
                     H5P_DEFAULT),
          H5Aclose);
      return;
    }
    std::size_t length = 1;
    for (const std::string& text : texts) length = std::max(length, text.size());
    std::size_t part_count = 1;
    while ((texts.size() + part_count - 1) / part_count * length > kListBytesMax) ++part_count;
    // As numpy.array_split: the first parts are one longer.
    std::size_t begin = 0;
    for (std::size_t part = 0; part < part_count; ++part) {
      const std::size_t count =
          texts.size() / part_count + (part < texts.size() % part_count ? 1 : 0);
      std::string bytes;
      for (std::size_t i = begin; i < begin + count; ++i) {
        bytes += texts[i];
        bytes.append(length - texts[i].size(), '\0');
      }
      begin += count;
      const hsize_t dimension = count;
      const H5Handle type = StringType(length, H5T_CSET_ASCII, H5T_STR_NULLPAD);
      const H5Handle space = Own(H5Screate_simple(1, &dimension, nullptr), H5Sclose);
      const std::string part_name = part_count == 1 ? name : name + std::to_string(part);
      WriteAttribute(object, part_name.c_str(), type, space, bytes.data());
    }
  }

  void WriteDataset(const H5Handle& group, const WeightSpec& weight, const float* elements) {
    const std::vector<hsize_t> dimensions(weight.shape.begin(), weight.shape.end());
    const H5Handle space =
        Own(H5Screate_simple(static_cast<int>(dimensions.size()), dimensions.data(), nullptr),
            H5Sclose);
    const H5Handle creation = Own(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    const H5Handle links = IntermediateGroups();
    if (!space.ok() || !creation.ok() || !links.ok()) return;
    // Without times the same model gives the same bytes.
    Check(H5Pset_obj_track_times(creation.id(), false));
    const H5Handle dataset = Own(H5Dcreate2(group.id(), weight.name.c_str(), H5T_IEEE_F32LE,
                                            space.id(), links.id(), creation.id(), H5P_DEFAULT),
                                 H5Dclose);
    if (!dataset.ok()) return;
    Check(H5Dwrite(dataset.id(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, elements));
  }

  void Check(int result) {
    if (result < 0 && status_.ok()) status_ = WriteError(path_);
  }
  const Status& status() const { return status_; }

 private:
  H5Handle Own(std::int64_t id, H5Handle::Closer closer) {
    Check(id < 0 ? -1 : 0);
    return H5Handle(id, closer);
  }

  H5Handle IntermediateGroups() {
    H5Handle links = Own(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
    if (links.ok()) Check(H5Pset_create_intermediate_group(links.id(), 1));
    return links;
  }

  H5Handle StringType(std::size_t size, H5T_cset_t encoding, H5T_str_t padding) {
    H5Handle type = Own(H5Tcopy(H5T_C_S1), H5Tclose);
    if (!type.ok()) return type;
    Check(H5Tset_size(type.id(), size));
    Check(H5Tset_cset(type.id(), encoding));
    Check(H5Tset_strpad(type.id(), padding));
    return type;
  }

  void WriteAttribute(const H5Handle& object, const char* name, const H5Handle& type,
                      const H5Handle& space, const void* value) {
    if (!type.ok() || !space.ok()) return;
    const H5Handle attribute = Own(
        H5Acreate2(object.id(), name, type.id(), space.id(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    if (attribute.ok()) Check(H5Awrite(attribute.id(), type.id(), value));
  }

  std::string path_;
  Status status_;
};

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
  writer->WriteText(root, "backend", kBackend, H5T_CSET_ASCII);
  writer->WriteText(root, "keras_version", kKerasVersion, H5T_CSET_ASCII);
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
      writer->WriteDataset(group, weight, trained.weights.data() + weight.offset);
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
  writer.WriteText(file, "keras_version", kKerasVersion, H5T_CSET_UTF8);
  writer.WriteText(file, "backend", kBackend, H5T_CSET_UTF8);
  writer.WriteText(file, "model_config", trained.model.model_config_json, H5T_CSET_ASCII);
  if (trained.model.has_compile) {
    writer.WriteText(file, "training_config", trained.model.training_config_json, H5T_CSET_ASCII);
  }
  WriteWeights(trained, file, &writer);
  const Bytes image = writer.TakeImage(file);
  file = {};
  DNC_TRY(writer.status());
  return WriteFileAtomically(path, image);
}

}  // namespace dnc::model
