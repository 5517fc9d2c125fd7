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
#include "model/json_text.h"
#include "model/model_text.h"

namespace dnc::model {
namespace {

using hdf::H5Handle;
using hdf::LastH5Failure;
using hdf::QuietH5;

constexpr std::size_t kListCountMax = 1u << 16;
constexpr std::size_t kNameBytesMax = 1u << 12;
constexpr std::size_t kListBytesMax = 16u << 20;

Error Corrupt(std::string message) { return {ErrorCode::kCorrupt, std::move(message)}; }
Error Unsupported(std::string message) { return {ErrorCode::kUnsupported, std::move(message)}; }

H5Handle OpenAttribute(const H5Handle& object, const std::string& name) {
  return {H5Aopen(object.id(), name.c_str(), H5P_DEFAULT), H5Aclose};
}

bool HasAttribute(const H5Handle& object, const std::string& name) {
  return H5Aexists(object.id(), name.c_str()) > 0;
}

// The strings of an attribute: variable or fixed length, a scalar or a list. An
// empty list is of any type, as NumPy makes it.
Result<std::vector<std::string>> ReadTexts(const H5Handle& object, const std::string& name,
                                           std::size_t bytes_max) {
  const Error wrong = Corrupt("attribute " + name + " is not a text or a list of texts");
  const H5Handle attribute = OpenAttribute(object, name);
  if (!attribute.ok()) return wrong;
  const H5Handle type(H5Aget_type(attribute.id()), H5Tclose);
  const H5Handle space(H5Aget_space(attribute.id()), H5Sclose);
  if (!type.ok() || !space.ok()) return wrong;
  const hssize_t count = H5Sget_simple_extent_npoints(space.id());
  std::vector<std::string> texts;
  if (count == 0) return texts;
  if (count < 0 || H5Tget_class(type.id()) != H5T_STRING) return wrong;
  const std::size_t size = H5Tget_size(type.id());
  const auto text_count = static_cast<std::size_t>(count);
  if (text_count > kListCountMax || size > bytes_max || text_count * size > bytes_max) {
    return Error{ErrorCode::kTooLarge,
                 "attribute " + name + " is larger than " + FormatByteCount(bytes_max)};
  }
  if (H5Tis_variable_str(type.id()) > 0) {
    std::vector<char*> pointers(text_count, nullptr);
    const H5Handle memory_type(H5Tcopy(H5T_C_S1), H5Tclose);
    if (!memory_type.ok() || H5Tset_size(memory_type.id(), H5T_VARIABLE) < 0 ||
        H5Tset_cset(memory_type.id(), H5Tget_cset(type.id())) < 0 ||
        H5Aread(attribute.id(), memory_type.id(), pointers.data()) < 0) {
      return wrong;
    }
    std::size_t total = 0;
    for (const char* text : pointers) {
      const std::size_t length = text == nullptr ? 0 : ::strnlen(text, bytes_max + 1);
      total += length;
      if (total <= bytes_max) texts.emplace_back(text == nullptr ? "" : text, length);
    }
    H5Dvlen_reclaim(memory_type.id(), space.id(), H5P_DEFAULT, pointers.data());
    if (total > bytes_max) {
      return Error{ErrorCode::kTooLarge,
                   "attribute " + name + " is larger than " + FormatByteCount(bytes_max)};
    }
    return texts;
  }
  std::string bytes(text_count * size, '\0');
  if (H5Aread(attribute.id(), type.id(), bytes.data()) < 0) return wrong;
  for (std::size_t i = 0; i < text_count; ++i) {
    const char* text = bytes.data() + i * size;
    texts.emplace_back(text, ::strnlen(text, size));
  }
  return texts;
}

Result<std::string> ReadText(const H5Handle& object, const std::string& name,
                             std::size_t bytes_max) {
  DNC_ASSIGN(std::vector<std::string> texts, ReadTexts(object, name, bytes_max));
  if (texts.size() != 1) return Corrupt("attribute " + name + " is not one text");
  return std::move(texts.front());
}

// A list of texts, which Keras splits into name0, name1... where it is long.
Result<std::vector<std::string>> ReadTextList(const H5Handle& object, const std::string& name) {
  if (HasAttribute(object, name)) return ReadTexts(object, name, kListBytesMax);
  std::vector<std::string> all;
  for (int part = 0; part < 4096; ++part) {
    const std::string part_name = name + std::to_string(part);
    if (!HasAttribute(object, part_name)) {
      if (part == 0) break;
      return all;
    }
    DNC_ASSIGN(std::vector<std::string> texts, ReadTexts(object, part_name, kListBytesMax));
    all.insert(all.end(), texts.begin(), texts.end());
    if (all.size() > kListCountMax) break;
  }
  return Corrupt("attribute " + name + " is missing or too long");
}

// Opens `path` below `group` one name at a time, along hard links only.
Result<H5Handle> OpenObject(const H5Handle& group, const std::string& path) {
  H5Handle current;
  std::int64_t parent = group.id();
  std::size_t begin = 0;
  while (begin <= path.size()) {
    std::size_t end = path.find('/', begin);
    if (end == std::string::npos) end = path.size();
    const std::string name = path.substr(begin, end - begin);
    if (name.empty() || name == "." || name == "..") {
      return Corrupt("the name " + Quoted(path) + " is not a path");
    }
    H5L_info_t link{};
    if (H5Lexists(parent, name.c_str(), H5P_DEFAULT) <= 0 ||
        H5Lget_info(parent, name.c_str(), &link, H5P_DEFAULT) < 0) {
      return Corrupt(Quoted(path) + " is missing");
    }
    if (link.type != H5L_TYPE_HARD) {
      return Unsupported(Quoted(path) +
                         " is a soft or external link; only data that lie in the "
                         "file itself are read");
    }
    H5Handle next(H5Oopen(parent, name.c_str(), H5P_DEFAULT), H5Oclose);
    if (!next.ok()) return Corrupt(Quoted(path) + " cannot be opened");
    current = std::move(next);
    parent = current.id();
    begin = end + 1;
  }
  return current;
}

Result<H5Handle> OpenGroup(const H5Handle& parent, const std::string& path) {
  DNC_ASSIGN(H5Handle group, OpenObject(parent, path));
  if (H5Iget_type(group.id()) != H5I_GROUP) return Corrupt(Quoted(path) + " is not a group");
  return group;
}

// Where the bytes of a dataset lie, and what must be done to them.
Status CheckStorage(const H5Handle& dataset, std::uint64_t element_count) {
  const H5Handle creation(H5Dget_create_plist(dataset.id()), H5Pclose);
  if (!creation.ok()) return Corrupt("has no readable layout");
  const H5D_layout_t layout = H5Pget_layout(creation.id());
  if (H5Pget_external_count(creation.id()) != 0 ||
      (layout != H5D_COMPACT && layout != H5D_CONTIGUOUS && layout != H5D_CHUNKED)) {
    return Unsupported(
        "is stored outside the file or as a virtual dataset; only data that lie in the file "
        "itself are read");
  }
  if (layout != H5D_CHUNKED) return {};
  std::array<hsize_t, H5S_MAX_RANK> chunk{};
  const int rank = H5Pget_chunk(creation.id(), H5S_MAX_RANK, chunk.data());
  std::uint64_t chunk_elements = 1;
  // A chunk is read whole: it may be larger than its dataset, but not by much.
  const std::uint64_t chunk_elements_max = std::max<std::uint64_t>(element_count, 1u << 20);
  for (int i = 0; i < rank; ++i) {
    if (chunk[i] == 0 || chunk[i] > chunk_elements_max / chunk_elements) {
      return Corrupt("has chunks far larger than itself");
    }
    chunk_elements *= chunk[i];
  }
  const int filter_count = H5Pget_nfilters(creation.id());
  for (int i = 0; i < filter_count; ++i) {
    unsigned flags = 0;
    std::size_t value_count = 0;
    char name[64] = "";
    unsigned config = 0;
    const H5Z_filter_t filter = H5Pget_filter2(creation.id(), static_cast<unsigned>(i), &flags,
                                               &value_count, nullptr, sizeof name, name, &config);
    if (filter == H5Z_FILTER_SHUFFLE || filter == H5Z_FILTER_FLETCHER32) continue;
    return Unsupported("is compressed with the filter " + std::to_string(filter) + " " +
                       Quoted(name) +
                       ", and Keras writes no compressed weights; save it without "
                       "compression");
  }
  return {};
}

Status ReadDataset(const H5Handle& dataset, const WeightSpec& weight, float* out) {
  if (H5Iget_type(dataset.id()) != H5I_DATASET) return Corrupt("is not a dataset");
  const H5Handle space(H5Dget_space(dataset.id()), H5Sclose);
  const H5Handle type(H5Dget_type(dataset.id()), H5Tclose);
  if (!space.ok() || !type.ok()) return Corrupt("has no readable shape or type");
  const int rank = H5Sget_simple_extent_ndims(space.id());
  std::array<hsize_t, H5S_MAX_RANK> dimensions{};
  if (rank < 0 || H5Sget_simple_extent_dims(space.id(), dimensions.data(), nullptr) < 0) {
    return Corrupt("has no readable shape");
  }
  array::Shape shape;
  for (int i = 0; i < rank; ++i) shape.push_back(static_cast<std::int64_t>(dimensions[i]));
  if (shape != weight.shape) {
    return Error{ErrorCode::kInvalidArgument, "the file's weights have shape " +
                                                  array::ShapeText(shape) +
                                                  ", but the architecture's " + weight.name +
                                                  " has shape " + array::ShapeText(weight.shape)};
  }
  if (H5Tget_class(type.id()) != H5T_FLOAT || H5Tget_size(type.id()) > 8) {
    return Unsupported("does not hold floating-point numbers of 16, 32 or 64 bits");
  }
  DNC_TRY(CheckStorage(dataset, weight.count));
  if (H5Dread(dataset.id(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) < 0) {
    return Corrupt("its elements cannot be read: HDF5: " + LastH5Failure());
  }
  return {};
}

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

}  // namespace

Result<TrainedModel> LoadH5(const std::string& path, const ModelLimits& limits) {
  const QuietH5 quiet;
  // No plug-in is loaded for a filter that a file names.
  H5PLset_loading_state(0);
  DNC_ASSIGN(const H5Handle file, OpenH5(path));
  Result<std::string> architecture = ReadArchitecture(file, limits);
  if (!architecture.ok()) return architecture.error().WithContext(path);
  TrainedModel trained;
  DNC_ASSIGN(trained.model, ParseModel(*architecture, path, limits));
  ReadCompile(file, limits, &trained);
  Result<H5Handle> root = OpenGroup(file, "model_weights");
  if (!root.ok()) return root.error().WithContext(path);
  // Every weight takes two bytes or more, so that a small file cannot ask for much.
  hsize_t file_bytes = 0;
  if (H5Fget_filesize(file.id(), &file_bytes) < 0 || file_bytes < 2 * trained.model.weight_count) {
    return Corrupt(path + ": has " + FormatByteCount(file_bytes) + ", too few for the " +
                   FormatCount(trained.model.weight_count) + " weights of its architecture");
  }
  trained.weights.resize(trained.model.weight_count);
  for (const Layer& layer : trained.model.layers) {
    if (layer.weight_count == 0) continue;
    const Status status = ReadLayerWeights(*root, layer, &trained);
    if (!status.ok()) return status.error().WithContext(path + ": layer " + layer.name);
  }
  return trained;
}

}  // namespace dnc::model
