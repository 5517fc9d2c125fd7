#include "store/open_store.h"

#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/hash.h"
#include "store/http_client.h"
#include "store/stores.h"

namespace dnc::store {
namespace {

constexpr std::string_view kFileScheme = "file://";

Result<std::unique_ptr<ObjectStore>> OpenFolder(const std::string& folder, bool create) {
  struct stat info {};
  if (!create && ::stat(folder.c_str(), &info) != 0) {
    return Error{ErrorCode::kNotFound,
                 "folder " + folder +
                     " is not there; expected a folder, or a URL that begins with "
                     "http://, https://, s3:// or ipfs://"};
  }
  return OpenDirectoryStore(folder);
}

// "file:///a%20b" is the path "/a b".
Result<std::string> PathOfFileUrl(const std::string& url) {
  std::string_view rest = std::string_view(url).substr(kFileScheme.size());
  if (rest.starts_with("localhost/")) rest.remove_prefix(9);
  if (!rest.starts_with('/')) {
    return Error{ErrorCode::kInvalidArgument,
                 url + " names another machine; expected file:///absolute/path"};
  }
  std::string path;
  for (std::size_t i = 0; i < rest.size(); ++i) {
    if (rest[i] != '%') {
      path.push_back(rest[i]);
      continue;
    }
    const auto byte = HexDecode(rest.substr(i + 1, 2));
    if (!byte || byte->size() != 1 || (*byte)[0] == std::byte{0}) {
      return Error{ErrorCode::kInvalidArgument,
                   url + ": '%' must be followed by two hexadecimal digits that are not 00"};
    }
    path.push_back(static_cast<char>((*byte)[0]));
    i += 2;
  }
  return path;
}

Result<std::unique_ptr<ObjectStore>> OpenOne(const std::string& location,
                                             const StoreOptions& options) {
  if (!IsUrl(location)) return OpenFolder(location, options.create);
  if (location.starts_with(kFileScheme)) {
    DNC_ASSIGN(const std::string path, PathOfFileUrl(location));
    return OpenFolder(path, options.create);
  }
  if (location.starts_with("http://") || location.starts_with("https://")) {
    return OpenHttpStore(location, options);
  }
  if (location.starts_with("s3://")) return OpenS3Store(location, options);
  if (location.starts_with("ipfs://")) return OpenIpfsStore(location, options);
  return Error{ErrorCode::kInvalidArgument,
               "\"" + DisplayUrl(location) +
                   "\" is no known kind of location; expected a folder, or a URL that begins "
                   "with file://, http://, https://, s3:// or ipfs://"};
}

}  // namespace

bool IsUrl(const std::string& location) {
  const std::size_t end = location.find("://");
  return end != std::string::npos && end > 0 &&
         std::all_of(location.begin(), location.begin() + static_cast<std::ptrdiff_t>(end),
                     [](char c) {
                       return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                              (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
                     });
}

Result<std::unique_ptr<ObjectStore>> OpenStore(const std::string& location,
                                               const StoreOptions& options) {
  if (options.create || options.mirrors.empty()) return OpenOne(location, options);
  // A mirror gives up sooner, since another is there to ask.
  StoreOptions single = options;
  single.mirrors.clear();
  single.attempts_max = std::max(1, options.attempts_max / 2);
  std::vector<std::string> locations = {location};
  locations.insert(locations.end(), options.mirrors.begin(), options.mirrors.end());
  std::vector<std::unique_ptr<ObjectStore>> stores;
  std::optional<Error> failure;
  for (const std::string& each : locations) {
    Result<std::unique_ptr<ObjectStore>> store = OpenOne(each, single);
    if (store.ok()) {
      stores.push_back(std::move(*store));
    } else if (store.error().code == ErrorCode::kInvalidArgument) {
      return store.error();
    } else {
      if (options.report) options.report(store.error());
      if (!failure) failure = store.error();
    }
  }
  if (stores.empty()) return *failure;
  return MakeMirrors(std::move(stores), options.report);
}

}  // namespace dnc::store
