// Reading groups, attributes and datasets of an HDF5 file that may be hostile:
// nothing outside the file is opened (no link but hard ones, no external or virtual
// storage, no filter that can blow up), and nothing is allocated for a size that the
// caller does not ask for. Private to this room.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "hdf/handle.h"
#include "model/model.h"

namespace dnc::model {

bool HasAttribute(const hdf::H5Handle& object, const std::string& name);

// The strings of an attribute: variable or fixed length, a scalar or a list. An
// empty list is of any type, as NumPy makes it.
// Errors: kCorrupt, not texts; kTooLarge, above `bytes_max`.
Result<std::vector<std::string>> ReadTexts(const hdf::H5Handle& object, const std::string& name,
                                           std::size_t bytes_max);
// The same of one text.
Result<std::string> ReadText(const hdf::H5Handle& object, const std::string& name,
                             std::size_t bytes_max);
// A list of texts, which Keras splits into name0, name1... where it is long.
Result<std::vector<std::string>> ReadTextList(const hdf::H5Handle& object, const std::string& name);

// Opens `path` below `group` one name at a time, along hard links only.
// Errors: kCorrupt, there is no such thing; kUnsupported, another kind of link.
Result<hdf::H5Handle> OpenObject(const hdf::H5Handle& group, const std::string& path);
// The same, of a group.
Result<hdf::H5Handle> OpenGroup(const hdf::H5Handle& parent, const std::string& path);

// Reads all elements of a dataset into `out`, which has room for those of `weight`.
// Errors: kInvalidArgument, another shape than the weight's, both named;
// kUnsupported, no floats, compressed, or stored elsewhere; kCorrupt.
Status ReadDataset(const hdf::H5Handle& dataset, const WeightSpec& weight, float* out);

// The number below `group` that `name` names; nullopt for a dataset of another shape.
// Errors: kCorrupt, no number; kUnsupported, stored elsewhere.
Result<std::optional<double>> ReadScalar(const hdf::H5Handle& group, const std::string& name);

}  // namespace dnc::model
