// Where an S3 bucket is and who asks: endpoint, region and credentials out of the
// options, the environment and the files of the AWS command line tool.

#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "store/http_client.h"
#include "store/open_store.h"

namespace dnc::store {

// An environment variable, or nullopt; a parameter, so that tests have one of their own.
using Environment = std::function<std::optional<std::string>(const char* name)>;
Environment ProcessEnvironment();

struct S3Account {
  std::string bucket;
  std::string prefix;              // Percent-encoded; empty, or with a slash at its end.
  std::string raw_prefix;          // The same as it is.
  std::string base_url;            // Of the bucket, with a slash at its end.
  std::optional<S3Signer> signer;  // nullopt: anonymous.
  std::string region;
};

// "s3://bucket/prefix". Errors: kInvalidArgument, not such a location, or a bad endpoint;
// kUnauthenticated, no credentials, saying where they are looked for; kCorrupt, a file
// that cannot be read as one of credentials.
Result<S3Account> OpenS3Account(const std::string& location, const StoreOptions& options,
                                const Environment& environment);

// A value in an INI file: of `key` under [section]; nullopt if there is none.
std::optional<std::string> FindIniValue(std::string_view text, std::string_view section,
                                        std::string_view key);

}  // namespace dnc::store
