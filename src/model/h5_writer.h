// Writes one HDF5 file, in memory: where HDF5's own writing fails, as on a full
// disk, it can neither close the file nor leave it (1.10.8 then crashes as the
// process exits), so that the bytes are written without it. Texts have the types
// that h5py gives them. Private to this room.
//
// The first failure sticks, and later calls do nothing.

#pragma once

#include <string>
#include <vector>

#include "array/shape.h"
#include "base/bytes.h"
#include "base/result.h"
#include "hdf/handle.h"

namespace dnc::model {

enum class TextEncoding { kAscii, kUtf8 };

class H5Writer {
 public:
  // `path` is used in messages.
  explicit H5Writer(std::string path) : path_(std::move(path)) {}

  // A file of about `bytes` in memory.
  hdf::H5Handle CreateFile(std::size_t bytes);
  // All bytes of it.
  Bytes TakeImage(const hdf::H5Handle& file);

  // Intermediate groups of a name with slashes are created, too.
  hdf::H5Handle CreateGroup(const hdf::H5Handle& parent, const std::string& name);
  // A variable-length scalar, as h5py stores bytes (ASCII) and str (UTF-8).
  void WriteText(const hdf::H5Handle& object, const char* name, const std::string& text,
                 TextEncoding encoding);
  // A list of texts as NumPy's fixed-length bytes, in parts where it is long; or, as its
  // objects, of variable length. Texts have no NUL.
  void WriteTextList(const hdf::H5Handle& object, const std::string& name,
                     const std::vector<std::string>& texts, bool variable_length = false);
  // A float32 dataset; intermediate groups of its name are created, too.
  void WriteDataset(const hdf::H5Handle& group, const std::string& name, const array::Shape& shape,
                    const float* elements);

  // The same of one int64.
  void WriteCount(const hdf::H5Handle& group, const std::string& name, std::int64_t count);

  const Status& status() const { return status_; }

 private:
  void Check(int result);
  void Write(const hdf::H5Handle& group, const std::string& name, const array::Shape& shape,
             bool is_count, const void* elements);
  hdf::H5Handle Own(std::int64_t id, hdf::H5Handle::Closer closer);
  hdf::H5Handle IntermediateGroups();
  hdf::H5Handle StringType(std::size_t size, TextEncoding encoding, bool is_padded);
  void WriteAttribute(const hdf::H5Handle& object, const char* name, const hdf::H5Handle& type,
                      const hdf::H5Handle& space, const void* value);

  std::string path_;
  Status status_;
};

}  // namespace dnc::model
