// Opens a store by its location: a folder, or a URL.
//
//   ./shards, file:///data/shards     a directory
//   https://host/path                 HTTP, read only
//   s3://bucket/prefix                S3 and what speaks its protocol
//   ipfs://CID, ipfs://               IPFS: a directory's root, or objects by CID

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "store/object_store.h"

namespace dnc::store {

struct StoreOptions {
  std::uint64_t up_bytes_per_second = 0;    // 0: no limit. Shared by all stores opened with
  std::uint64_t down_bytes_per_second = 0;  // the same process-wide limiter.
  int connections_max = 8;
  int attempts_max = 6;  // Of one request, with back-off and jitter between.
  Duration stall_timeout = Duration::Seconds(30);  // Without progress.
  std::string proxy;                               // Else as the environment says.
  std::string s3_endpoint;  // "http://127.0.0.1:9000"; else AWS_ENDPOINT_URL, else Amazon's.
  std::string s3_region;    // Else AWS_REGION, else us-east-1.
  bool s3_anonymous = false;
  bool s3_path_style = false;  // bucket in the path; always so with an endpoint of an IP address.
  std::vector<std::string> ipfs_gateways;  // Trustless gateways, in order.
  std::string ipfs_api;                    // Kubo RPC, to write: "http://127.0.0.1:5001".
  bool create = false;                     // To write: a folder is created if it is missing.
};

// Errors: kInvalidArgument, no known kind of location, with the known ones; kNotFound,
// a folder that is missing without `create`; kUnavailable; kUnauthorized.
Result<std::unique_ptr<ObjectStore>> OpenStore(const std::string& location,
                                               const StoreOptions& options);

// One store out of several that hold the same objects, the fastest first. Reads go to
// another after a failure or Reject(); each failure is reported once to stderr's log
// callback of the options' owner. Writing goes to the first. Requires: at least one.
std::unique_ptr<ObjectStore> MakeMirrors(std::vector<std::unique_ptr<ObjectStore>> stores);

}  // namespace dnc::store
