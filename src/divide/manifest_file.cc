#include "divide/manifest_file.h"

#include <filesystem>

#include "base/file.h"
#include "divide/divide.h"

namespace dnc::divide {
namespace {

// The manifest's file: `path` itself, or in the folder that `path` is.
Result<std::string> ManifestPath(const std::string& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    return Error{ErrorCode::kNotFound,
                 path + " is not there; expected a manifest, or the folder that dnc divide made"};
  }
  if (!std::filesystem::is_directory(status)) return path;
  const std::string inside = (std::filesystem::path(path) / kManifestKey).string();
  if (!PathExists(inside)) {
    return Error{ErrorCode::kNotFound, "folder " + path + " has no " + kManifestKey +
                                           "; expected the folder that dnc divide made"};
  }
  return inside;
}

}  // namespace

Result<shard::Manifest> LoadManifest(const std::string& path) {
  DNC_ASSIGN(const std::string file, ManifestPath(path));
  DNC_ASSIGN(const std::string text, ReadFile(file, shard::ManifestLimits().bytes_max));
  return shard::ParseManifest(text, file);
}

Result<std::unique_ptr<store::ObjectStore>> OpenManifestStore(const std::string& path) {
  DNC_ASSIGN(const std::string file, ManifestPath(path));
  const std::string folder = std::filesystem::path(file).parent_path().string();
  return store::OpenDirectoryStore(folder.empty() ? "." : folder);
}

}  // namespace dnc::divide
