#include "model/h5_objects.h"

#include <hdf5.h>

#include <array>
#include <cstring>

#include "base/human.h"
#include "hdf/handle.h"
#include "model/json_text.h"

namespace dnc::model {
namespace {

using hdf::H5Handle;
using hdf::LastH5Failure;

constexpr std::size_t kListCountMax = 1u << 16;
constexpr std::size_t kListBytesMax = 16u << 20;

Error Corrupt(std::string message) { return {ErrorCode::kCorrupt, std::move(message)}; }
Error Unsupported(std::string message) { return {ErrorCode::kUnsupported, std::move(message)}; }

H5Handle OpenAttribute(const H5Handle& object, const std::string& name) {
  return {H5Aopen(object.id(), name.c_str(), H5P_DEFAULT), H5Aclose};
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

}  // namespace

bool HasAttribute(const H5Handle& object, const std::string& name) {
  return H5Aexists(object.id(), name.c_str()) > 0;
}

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

Result<std::optional<double>> ReadScalar(const H5Handle& group, const std::string& name) {
  DNC_ASSIGN(const H5Handle dataset, OpenObject(group, name));
  if (H5Iget_type(dataset.id()) != H5I_DATASET) return Corrupt(Quoted(name) + " is not a dataset");
  const H5Handle space(H5Dget_space(dataset.id()), H5Sclose);
  const H5Handle type(H5Dget_type(dataset.id()), H5Tclose);
  if (!space.ok() || !type.ok()) return Corrupt(Quoted(name) + " has no readable shape or type");
  if (H5Sget_simple_extent_ndims(space.id()) != 0) return std::optional<double>();
  const H5T_class_t kind = H5Tget_class(type.id());
  if (H5Sget_simple_extent_npoints(space.id()) != 1 || H5Tget_size(type.id()) > 8 ||
      (kind != H5T_FLOAT && kind != H5T_INTEGER)) {
    return Corrupt(Quoted(name) + " is not a number");
  }
  DNC_TRY(CheckStorage(dataset, 1));
  double value = 0;
  if (H5Dread(dataset.id(), H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, &value) < 0) {
    return Corrupt(Quoted(name) + " cannot be read: HDF5: " + LastH5Failure());
  }
  return std::optional<double>(value);
}

}  // namespace dnc::model
