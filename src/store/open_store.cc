#include "store/open_store.h"

#include <filesystem>
#include <string_view>

namespace dnc::store {
namespace {

constexpr std::string_view kFileScheme = "file://";

Result<std::unique_ptr<ObjectStore>> OpenFolder(const std::string& folder, bool create) {
  std::error_code error;
  if (!create && !std::filesystem::exists(folder, error)) {
    return Error{ErrorCode::kNotFound, "folder " + folder + " is not there"};
  }
  return OpenDirectoryStore(folder);
}

}  // namespace

Result<std::unique_ptr<ObjectStore>> OpenStore(const std::string& location,
                                               const StoreOptions& options) {
  if (location.starts_with(kFileScheme)) {
    return OpenFolder(location.substr(kFileScheme.size()), options.create);
  }
  if (location.find("://") == std::string::npos) return OpenFolder(location, options.create);
  return Error{ErrorCode::kInvalidArgument,
               location + ": not a known kind of location; known are a folder and file://"};
}

}  // namespace dnc::store
