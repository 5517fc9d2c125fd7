// A divided dataset on disk: a folder with manifest.json and the shards.

#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "shard/manifest.h"
#include "store/object_store.h"

namespace dnc::divide {

// Reads a manifest from its file, or from the folder that holds manifest.json.
// Errors: kNotFound, saying what was looked for; those of ParseManifest.
Result<shard::Manifest> LoadManifest(const std::string& path);

// The store of the folder in which the manifest of `path` lies; creates nothing.
// Errors: kNotFound; kIo.
Result<std::unique_ptr<store::ObjectStore>> OpenManifestStore(const std::string& path);

}  // namespace dnc::divide
