#include "divide/dataset.h"

#include <filesystem>
#include <map>
#include <utility>
#include <vector>

#include "base/file.h"
#include "divide/divide.h"

namespace dnc::divide {
namespace {

constexpr std::string_view kManifestEnding = ".json";
constexpr std::string_view kFileScheme = "file://";

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
  if (!IsRemote(location) && !std::filesystem::exists(place.store, error))
    return NotThere(location);
  Found found;
  DNC_ASSIGN(found.store, store::OpenStore(place.store, options));
  const std::string name = place.store + "/" + place.key;
  if (!IsRemote(location) && PathExists(name)) {  // A file may have a name that is no key.
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

// A mirror that cannot be opened is reported, and done without.
Result<std::unique_ptr<store::ObjectStore>> JoinMirrors(const std::string& location,
                                                        const shard::Manifest& manifest,
                                                        std::unique_ptr<store::ObjectStore> first,
                                                        store::StoreOptions options) {
  options.create = false;
  options.mirrors.clear();
  std::vector<std::unique_ptr<store::ObjectStore>> stores;
  stores.push_back(std::move(first));
  const auto add = [&](Result<std::unique_ptr<store::ObjectStore>> store) {
    if (store.ok()) {
      stores.push_back(std::move(store).value());
    } else if (options.report) {
      options.report(store.error().WithContext("a mirror of " + location));
    }
  };
  for (const std::string& mirror : manifest.mirrors) {
    if (IsRemote(mirror)) {
      add(store::OpenStore(mirror, options));
    } else if (IsRemote(location)) {
      add(Error{ErrorCode::kInvalidArgument,
                mirror + " is a path, which a manifest from elsewhere may not name"});
    } else {
      const std::string path = PlaceOfManifest(mirror).store;
      const std::filesystem::path folder(PlaceOfManifest(location).store);
      add(store::OpenStore((folder / path).lexically_normal().string(), options));
    }
  }
  std::map<std::string, std::vector<std::string>> links;
  for (const shard::ShardInfo& shard : manifest.shards) {
    if (!shard.urls.empty()) links[shard.cid] = shard.urls;
  }
  if (!links.empty()) add(store::MakeLinkStore(links, options));
  if (stores.size() == 1) return std::move(stores[0]);
  return store::MakeMirrors(std::move(stores), options.report);
}

}  // namespace

bool IsRemote(const std::string& location) {
  return store::IsUrl(location) && !location.starts_with(kFileScheme);
}

ManifestPlace PlaceOfManifest(const std::string& location) {
  const std::size_t slash = location.rfind('/');
  if (IsRemote(location)) {
    const std::size_t authority = location.find("://") + 3;
    std::string base = location;
    if (location.ends_with(kManifestEnding) && slash != std::string::npos && slash >= authority) {
      return {location.substr(0, slash), location.substr(slash + 1)};
    }
    while (base.size() > authority && base.ends_with('/')) base.pop_back();
    return {base, kManifestKey};
  }
  const std::string path =
      location.starts_with(kFileScheme) ? location.substr(kFileScheme.size()) : location;
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
  DNC_ASSIGN(dataset.store,
             JoinMirrors(location, dataset.manifest, std::move(found.store), options));
  return dataset;
}

Result<shard::Manifest> LoadManifest(const std::string& location,
                                     const store::StoreOptions& options) {
  DNC_ASSIGN(Found found, FindManifest(location, options));
  return std::move(found.manifest);
}

}  // namespace dnc::divide
