// A divided dataset, opened to be read: shared by the objects that stream it.

#pragma once

#include <memory>
#include <string>

#include "binding.h"
#include "divide/dataset.h"
#include "store/open_store.h"

namespace dnc::python {

struct OpenedDataset {
  std::string location;
  divide::Dataset dataset;

  const shard::Manifest& manifest() const { return dataset.manifest; }
  const store::ObjectStore& store() const { return *dataset.store; }
};

// Raises InvalidArgumentError for an unknown option.
store::StoreOptions ParseStoreOptions(const py::dict& values);

// The manifest as plain dictionaries, lists, numbers and texts; _manifest.py makes
// classes of them.
py::dict ManifestToDict(const shard::Manifest& manifest);
py::dict ColumnToDict(const array::ColumnSpec& column);

}  // namespace dnc::python
