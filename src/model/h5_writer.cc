#include "model/h5_writer.h"

#include <hdf5.h>

#include <algorithm>
#include <atomic>

namespace dnc::model {
namespace {

using hdf::H5Handle;

// An attribute must fit an object header of 64 KiB: Keras splits longer lists.
constexpr std::size_t kListBytesMax = 64512;

// In memory only the lack of it makes HDF5 fail.
Error WriteError(const std::string& path) {
  return {ErrorCode::kResourceExhausted,
          "cannot write " + path + ": HDF5: " + hdf::LastH5Failure()};
}

}  // namespace

H5Handle H5Writer::CreateFile(std::size_t bytes) {
  const H5Handle access = Own(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  if (!access.ok()) return {};
  Check(H5Pset_fapl_core(access.id(), bytes, false));
  Check(H5Pset_fclose_degree(access.id(), H5F_CLOSE_STRONG));
  // HDF5 tells files apart by name, also those in memory.
  static std::atomic<unsigned> counter = 0;
  const std::string name = "/dnc model in memory/" + std::to_string(counter++);
  return Own(H5Fcreate(name.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.id()), H5Fclose);
}

Bytes H5Writer::TakeImage(const H5Handle& file) {
  Check(H5Fflush(file.id(), H5F_SCOPE_GLOBAL));
  const ssize_t size = H5Fget_file_image(file.id(), nullptr, 0);
  Check(size < 0 ? -1 : 0);
  if (!status_.ok()) return {};
  Bytes image(static_cast<std::size_t>(size));
  Check(H5Fget_file_image(file.id(), image.data(), image.size()) < 0 ? -1 : 0);
  return image;
}

H5Handle H5Writer::CreateGroup(const H5Handle& parent, const std::string& name) {
  const H5Handle links = IntermediateGroups();
  if (!links.ok()) return {};
  return Own(H5Gcreate2(parent.id(), name.c_str(), links.id(), H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
}

void H5Writer::WriteText(const H5Handle& object, const char* name, const std::string& text,
                         TextEncoding encoding) {
  const H5Handle type = StringType(H5T_VARIABLE, encoding, false);
  const H5Handle space = Own(H5Screate(H5S_SCALAR), H5Sclose);
  const char* pointer = text.c_str();
  WriteAttribute(object, name, type, space, &pointer);
}

void H5Writer::WriteTextList(const H5Handle& object, const std::string& name,
                             const std::vector<std::string>& texts, bool variable_length) {
  if (texts.empty()) {  // NumPy's empty array is of float64.
    const hsize_t none = 0;
    const H5Handle space = Own(H5Screate_simple(1, &none, nullptr), H5Sclose);
    if (!space.ok()) return;
    Own(H5Acreate2(object.id(), name.c_str(), H5T_IEEE_F64LE, space.id(), H5P_DEFAULT, H5P_DEFAULT),
        H5Aclose);
    return;
  }
  if (variable_length) {
    std::vector<const char*> pointers;
    for (const std::string& text : texts) pointers.push_back(text.c_str());
    const hsize_t dimension = texts.size();
    WriteAttribute(object, name.c_str(), StringType(H5T_VARIABLE, TextEncoding::kAscii, false),
                   Own(H5Screate_simple(1, &dimension, nullptr), H5Sclose), pointers.data());
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
    const H5Handle type = StringType(length, TextEncoding::kAscii, true);
    const H5Handle space = Own(H5Screate_simple(1, &dimension, nullptr), H5Sclose);
    const std::string part_name = part_count == 1 ? name : name + std::to_string(part);
    WriteAttribute(object, part_name.c_str(), type, space, bytes.data());
  }
}

void H5Writer::WriteDataset(const H5Handle& group, const std::string& name,
                            const array::Shape& shape, const float* elements) {
  Write(group, name, shape, /*is_count=*/false, elements);
}

void H5Writer::WriteCount(const H5Handle& group, const std::string& name, std::int64_t count) {
  Write(group, name, {}, /*is_count=*/true, &count);
}

void H5Writer::Write(const H5Handle& group, const std::string& name, const array::Shape& shape,
                     bool is_count, const void* elements) {
  const std::vector<hsize_t> dimensions(shape.begin(), shape.end());
  const H5Handle space = Own(
      H5Screate_simple(static_cast<int>(dimensions.size()), dimensions.data(), nullptr), H5Sclose);
  const H5Handle creation = Own(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  const H5Handle links = IntermediateGroups();
  if (!space.ok() || !creation.ok() || !links.ok()) return;
  // Without times the same model gives the same bytes.
  Check(H5Pset_obj_track_times(creation.id(), false));
  const H5Handle dataset =
      Own(H5Dcreate2(group.id(), name.c_str(), is_count ? H5T_STD_I64LE : H5T_IEEE_F32LE,
                     space.id(), links.id(), creation.id(), H5P_DEFAULT),
          H5Dclose);
  if (!dataset.ok()) return;
  Check(H5Dwrite(dataset.id(), is_count ? H5T_NATIVE_INT64 : H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL,
                 H5P_DEFAULT, elements));
}

void H5Writer::Check(int result) {
  if (result < 0 && status_.ok()) status_ = WriteError(path_);
}

H5Handle H5Writer::Own(std::int64_t id, H5Handle::Closer closer) {
  Check(id < 0 ? -1 : 0);
  return H5Handle(id, closer);
}

H5Handle H5Writer::IntermediateGroups() {
  H5Handle links = Own(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  if (links.ok()) Check(H5Pset_create_intermediate_group(links.id(), 1));
  return links;
}

H5Handle H5Writer::StringType(std::size_t size, TextEncoding encoding, bool is_padded) {
  H5Handle type = Own(H5Tcopy(H5T_C_S1), H5Tclose);
  if (!type.ok()) return type;
  Check(H5Tset_size(type.id(), size));
  Check(H5Tset_cset(type.id(), encoding == TextEncoding::kUtf8 ? H5T_CSET_UTF8 : H5T_CSET_ASCII));
  Check(H5Tset_strpad(type.id(), is_padded ? H5T_STR_NULLPAD : H5T_STR_NULLTERM));
  return type;
}

void H5Writer::WriteAttribute(const H5Handle& object, const char* name, const H5Handle& type,
                              const H5Handle& space, const void* value) {
  if (!type.ok() || !space.ok()) return;
  const H5Handle attribute =
      Own(H5Acreate2(object.id(), name, type.id(), space.id(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  if (attribute.ok()) Check(H5Awrite(attribute.id(), type.id(), value));
}

}  // namespace dnc::model
