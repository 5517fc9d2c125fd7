#include <algorithm>
#include <utility>

#include "store/http_client.h"
#include "store/http_object.h"
#include "store/store_errors.h"
#include "store/stores.h"

namespace dnc::store {
namespace {

constexpr std::size_t kUrlBytesMax = 8192;

Error ReadOnlyError(const std::string& store, const char* operation) {
  return {ErrorCode::kUnsupported, store + " is read only: it cannot " + operation +
                                       "; write to a folder, s3:// or ipfs://"};
}

// What the two stores below share: reading of objects by their URLs.
class UrlStore : public ObjectStore {
 public:
  explicit UrlStore(const StoreOptions& options) : client_(options) {}

  Result<std::unique_ptr<ObjectWriter>> Create() final {
    return ReadOnlyError(Describe(), "create objects");
  }
  Result<std::uint64_t> Size(const std::string& key) const final {
    DNC_ASSIGN(const HttpObject object, Find(key));
    return HttpObjectSize(&client_, object);
  }
  Status Read(const std::string& key, std::uint64_t offset, std::span<std::byte> out) const final {
    DNC_ASSIGN(const HttpObject object, Find(key));
    return ReadHttpObject(&client_, object, offset, out);
  }
  Status Delete(const std::string& key) final {
    DNC_TRY(Find(key).status());
    return ReadOnlyError(Describe(), "delete objects");
  }

 protected:
  // Errors: kNotFound.
  virtual Result<HttpObject> Find(const std::string& key) const = 0;

 private:
  mutable HttpClient client_;
};

class HttpStore final : public UrlStore {
 public:
  HttpStore(std::string base, std::string query, const StoreOptions& options)
      : UrlStore(options), base_(std::move(base)), query_(std::move(query)) {}

  Result<std::vector<std::string>> List() const override {
    return Error{ErrorCode::kUnsupported, Describe() + " cannot be listed: HTTP has no such call"};
  }
  std::string Describe() const override { return DisplayUrl(base_); }

 protected:
  Result<HttpObject> Find(const std::string& key) const override {
    if (!IsValidKey(key)) return NoObjectError(key, Describe());
    HttpObject object;
    object.url = base_ + "/" + key + query_;
    object.key = key;
    object.store = Describe();
    return object;
  }

 private:
  std::string base_;   // Without a slash at its end.
  std::string query_;  // "?...", or empty.
};

// One link a key.
class LinkStore final : public UrlStore {
 public:
  LinkStore(std::map<std::string, std::string> links, const StoreOptions& options)
      : UrlStore(options), links_(std::move(links)) {}

  Result<std::vector<std::string>> List() const override {
    std::vector<std::string> keys;
    for (const auto& [key, url] : links_) keys.push_back(key);
    return keys;
  }
  std::string Describe() const override {
    return "links (" + DisplayUrl(links_.begin()->second) + " and so on)";
  }

 protected:
  Result<HttpObject> Find(const std::string& key) const override {
    const auto found = links_.find(key);
    if (found == links_.end()) return NoObjectError(key, Describe());
    HttpObject object;
    object.url = found->second;
    object.key = key;
    object.store = "the links";
    return object;
  }

 private:
  const std::map<std::string, std::string> links_;  // Not empty.
};

}  // namespace

bool IsHttpUrl(const std::string& url) {
  const std::size_t host = url.starts_with("http://") ? 7 : url.starts_with("https://") ? 8 : 0;
  if (host == 0 || url.size() == host || url.size() > kUrlBytesMax) return false;
  if (url[host] == '/' || url[host] == '?' || url[host] == ':') return false;
  return std::all_of(url.begin(), url.end(), [](char c) {
    return c > ' ' && c < 0x7f && c != '"' && c != '<' && c != '>' && c != '\\' && c != '`';
  });
}

Result<std::unique_ptr<ObjectStore>> OpenHttpStore(const std::string& url,
                                                   const StoreOptions& options) {
  if (!IsHttpUrl(url)) {
    return Error{ErrorCode::kInvalidArgument, "\"" + DisplayUrl(url) +
                                                  "\" is not an address; expected one such as "
                                                  "https://host/path, other characters as %XX"};
  }
  if (options.create) {
    return Error{ErrorCode::kUnsupported, DisplayUrl(url) +
                                              ": nothing can be written to HTTP; "
                                              "expected a folder, s3:// or ipfs://"};
  }
  const std::string whole = url.substr(0, url.find('#'));
  const std::size_t query = std::min(whole.find('?'), whole.size());
  std::string base = whole.substr(0, query);
  while (base.ends_with('/')) base.pop_back();
  return std::unique_ptr<ObjectStore>(new HttpStore(std::move(base), whole.substr(query), options));
}

Result<std::unique_ptr<ObjectStore>> MakeLinkStore(
    const std::map<std::string, std::vector<std::string>>& links, const StoreOptions& options) {
  // Layer i holds the i-th link of each key that has so many.
  std::vector<std::map<std::string, std::string>> layers;
  for (const auto& [key, urls] : links) {
    if (urls.empty()) {
      return Error{ErrorCode::kInvalidArgument, key + " has no link; expected at least one"};
    }
    for (std::size_t i = 0; i < urls.size(); ++i) {
      if (!IsHttpUrl(urls[i])) {
        return Error{ErrorCode::kInvalidArgument,
                     key + ": \"" + DisplayUrl(urls[i]) +
                         "\" is no link; expected a URL that begins with http:// or https://"};
      }
      if (i == layers.size()) layers.emplace_back();
      layers[i][key] = urls[i];
    }
  }
  if (layers.empty()) {
    return Error{ErrorCode::kInvalidArgument, "no links; expected at least one object's"};
  }
  std::vector<std::unique_ptr<ObjectStore>> stores;
  for (auto& layer : layers) {
    stores.push_back(std::make_unique<LinkStore>(std::move(layer), options));
  }
  if (stores.size() == 1) return std::move(stores[0]);
  return MakeMirrors(std::move(stores), options.report);
}

}  // namespace dnc::store
