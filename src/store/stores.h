// The kinds of stores that OpenStore opens. Private to this room.

#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/result.h"
#include "store/object_store.h"
#include "store/open_store.h"

namespace dnc::store {

// "https://host/path?query": the object `key` is https://host/path/key?query.
Result<std::unique_ptr<ObjectStore>> OpenHttpStore(const std::string& url,
                                                   const StoreOptions& options);

// "s3://bucket/prefix": the object `key` is prefix/key in the bucket.
Result<std::unique_ptr<ObjectStore>> OpenS3Store(const std::string& url,
                                                 const StoreOptions& options);

// "ipfs://..."; open_store.h.
Result<std::unique_ptr<ObjectStore>> OpenIpfsStore(const std::string& url,
                                                   const StoreOptions& options);

// Whether `url` begins with http:// or https://, has a host and no character that no URL has.
bool IsHttpUrl(const std::string& url);

}  // namespace dnc::store
