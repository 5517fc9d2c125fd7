// A divided dataset by its location: a folder with manifest.json and the shards, the
// path of a manifest, or the URL of either (store/open_store.h lists the kinds).
//
//   ./shards   ./shards/manifest.json   https://host/fm   s3://bucket/fm/v2.json

#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "shard/manifest.h"
#include "store/object_store.h"
#include "store/open_store.h"

namespace dnc::divide {

struct Dataset {
  shard::Manifest manifest;
  // Holds the shards: where the manifest lies, joined with the manifest's mirrors and
  // direct links. Mirrors that are paths are taken from the manifest's folder, and only
  // by a manifest that is on this machine itself.
  std::unique_ptr<store::ObjectStore> store;
};

// Where a location's manifest is: a store and the key in it.
struct ManifestPlace {
  std::string store;  // As store::OpenStore takes it.
  std::string key;    // "manifest.json", unless the location names another *.json.
};

// Whether `location` is a URL and not a place on this machine.
bool IsRemote(const std::string& location);

// Splits a location, without looking whether anything is there, but for paths: a
// folder may be called anything.
ManifestPlace PlaceOfManifest(const std::string& location);

// Opens a dataset to read it; creates nothing. Blocks on the network for a URL.
// Errors: kNotFound, saying what was looked for; those of OpenStore and ParseManifest.
Result<Dataset> OpenDataset(const std::string& location, const store::StoreOptions& options = {});

// The manifest alone. Errors: as OpenDataset.
Result<shard::Manifest> LoadManifest(const std::string& location,
                                     const store::StoreOptions& options = {});

}  // namespace dnc::divide
