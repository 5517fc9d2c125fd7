// A divided dataset, opened to be read: shared by the objects that stream it.

#pragma once

#include <memory>
#include <string>

#include "binding.h"
#include "divide/dataset.h"
#include "store/open_store.h"

namespace dnc::python {

class OpenedDataset {
 public:
  OpenedDataset(std::string location, shard::Manifest manifest,
                std::shared_ptr<const store::ObjectStore> store)
      : location_(std::move(location)), manifest_(std::move(manifest)), store_(std::move(store)) {}

  const std::string& location() const { return location_; }
  const shard::Manifest& manifest() const { return manifest_; }
  const store::ObjectStore& store() const { return *store_; }
  // The same dataset without the other splits and the first `shard_count` shards of `split`.
  // Raises NotFoundError; InvalidArgumentError, there are fewer shards.
  std::shared_ptr<OpenedDataset> Rest(const std::string& split, std::uint64_t shard_count) const;

 private:
  std::string location_;
  shard::Manifest manifest_;
  std::shared_ptr<const store::ObjectStore> store_;
};

// Raises InvalidArgumentError for an unknown option.
store::StoreOptions ParseStoreOptions(const py::dict& values);

// The manifest as plain dictionaries, lists, numbers and texts; _manifest.py makes
// classes of them.
py::dict ManifestToDict(const shard::Manifest& manifest);
py::dict ColumnToDict(const array::ColumnSpec& column);

}  // namespace dnc::python
