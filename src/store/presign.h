// Links to single objects of S3 that need no credentials until they expire: signature
// version 4 in the query. Reading one is plain HTTP.
// Source: "Authenticating Requests: Using Query Parameters", Amazon S3 API reference.

#pragma once

#include <string>

#include "base/hash.h"
#include "base/result.h"
#include "base/time.h"
#include "store/http_client.h"
#include "store/open_store.h"

namespace dnc::store {

struct PresignOptions {
  std::string method = "GET";
  Duration valid_for = Duration::Minutes(60);  // At most 7 days.
  Instant now;                                 // Wall clock.
};

// `url` is the object's, percent-encoded, without a query.
std::string PresignUrl(const std::string& url, const S3Signer& signer,
                       const PresignOptions& options);

// The link to "s3://bucket/prefix/key". Errors: kInvalidArgument, no object's location, or
// a time above 7 days; kUnauthenticated.
Result<std::string> MakePresignedUrl(const std::string& location, const PresignOptions& presign,
                                     const StoreOptions& options);

Digest HmacSha256(ByteSpan key, ByteSpan message);

}  // namespace dnc::store
