#include "divide/dataset.h"

#include <filesystem>
#include <utility>
#include <vector>

#include "base/file.h"
#include "divide/divide.h"

namespace dnc::divide {
namespace {

constexpr std::string_view kManifestEnding = ".json";

struct Found {
  shard::Manifest manifest;
  std::unique_ptr<store::ObjectStore> store;
};

Error NotThere(const std::string& location) {
  return {ErrorCode::kNotFound,
          location + " is not there; expected a manifest, or the folder that dnc divide made"};
}

Result<Found> FindManifest(const std::string& location, store::StoreOptions options) {
  options.create = false;
  const ManifestPlace place = PlaceOfManifest(location);
  const std::uint64_t bytes_max = shard::ManifestLimits().bytes_max;
  std::error_code error;
  if (!IsUrl(location) && !std::filesystem::exists(place.store, error)) return NotThere(location);
  Found found;
  DNC_ASSIGN(found.store, store::OpenStore(place.store, options));
  const std::string name = place.store + "/" + place.key;
  if (!IsUrl(location) && PathExists(name)) {  // A file may have a name that is no key.
    DNC_ASSIGN(const std::string text, ReadFile(name, bytes_max));
    DNC_ASSIGN(found.manifest, shard::ParseManifest(text, name));
    return found;
  }
  Result<Bytes> text = store::GetObject(*found.store, place.key, bytes_max);
  if (!text.ok()) {
    if (text.error().code != ErrorCode::kNotFound) return text.error();
    return Error{ErrorCode::kNotFound, found.store->Describe() + " has no " + place.key +
                                           "; expected a place that dnc divide wrote to"};
  }
  DNC_ASSIGN(found.manifest, shard::ParseManifest(AsText(*text), name));
  return found;
}

}  // namespace

bool IsUrl(std::string_view location) {
  return location.find("://") != std::string_view::npos && !location.starts_with("file://");
}

ManifestPlace PlaceOfManifest(const std::string& location) {
  const std::size_t slash = location.rfind('/');
  if (IsUrl(location)) {
    const std::size_t authority = location.find("://") + 3;
    std::string base = location;
    if (location.ends_with(kManifestEnding) && slash != std::string::npos && slash >= authority) {
      return {location.substr(0, slash), location.substr(slash + 1)};
    }
    while (base.size() > authority && base.ends_with('/')) base.pop_back();
    return {base, kManifestKey};
  }
  const std::string path = location.starts_with("file://") ? location.substr(7) : location;
  std::error_code error;
  if (std::filesystem::is_regular_file(path, error)) {
    const std::filesystem::path file(path);
    const std::string folder = file.parent_path().string();
    return {folder.empty() ? "." : folder, file.filename().string()};
  }
  return {path, kManifestKey};
}

Result<Dataset> OpenDataset(const std::string& location, const store::StoreOptions& options) {
  DNC_ASSIGN(Found found, FindManifest(location, options));
  Dataset dataset;
  dataset.manifest = std::move(found.manifest);
  dataset.store = std::move(found.store);
  return dataset;
}

Result<shard::Manifest> LoadManifest(const std::string& location,
                                     const store::StoreOptions& options) {
  DNC_ASSIGN(Found found, FindManifest(location, options));
  return std::move(found.manifest);
}

}  // namespace dnc::divide
