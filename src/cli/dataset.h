// What several commands do with a dataset on this machine: read a manifest file and
// open the folder of shards that it lies in.

#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "shard/manifest.h"
#include "store/object_store.h"

namespace dnc::cli {

struct LocalDataset {
  shard::Manifest manifest;
  std::unique_ptr<store::ObjectStore> store;  // The manifest's folder.
};

// `path` is a manifest.json, or a folder that holds one.
// Errors: kNotFound; those of ParseManifest.
Result<LocalDataset> OpenLocalDataset(const std::string& path);

}  // namespace dnc::cli
