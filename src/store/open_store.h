// Opens a store by its location: a folder, or a URL.
//
//   ./shards, file:///data/shards     a directory
//   http(s)://host/path               HTTP, read only
//   s3://bucket/prefix                S3 and what speaks its protocol
//   ipfs://CID, ipfs://               IPFS, read only: a folder or a manifest by its CID, and
//                                     objects by theirs
//   ipfs://NAME                       the folder /dnc/NAME of a Kubo node's files, to write to
//
// A store over the network retries what may pass (connections that fail or stall, the
// statuses 408, 425, 429 and 5xx; Retry-After is honoured), goes on where a transfer broke
// off, never takes more bytes than were asked for, and checks certificates.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "store/object_store.h"

namespace dnc::store {

// Told of what went wrong and was made good, from any thread; one call at a time.
using FailureReport = std::function<void(const Error&)>;

struct StoreOptions {
  // 0: no limit. All stores of the process share one limiter a direction, whose rate is
  // the one that was set last.
  std::uint64_t up_bytes_per_second = 0;
  std::uint64_t down_bytes_per_second = 0;
  int connections_max = 8;
  int attempts_max = 6;  // Of one request, with back-off and jitter between.
  Duration retry_wait_first = Duration::Milliseconds(200);  // Doubles, up to 10 s.
  Duration stall_timeout = Duration::Seconds(30);           // Without progress.
  std::string proxy;                                        // Else as the environment says.
  // "http://127.0.0.1:9000"; else AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, else Amazon's. The
  // bucket goes into the path, unless "{bucket}" stands in the endpoint's host.
  std::string s3_endpoint;
  std::string s3_region;       // Else AWS_REGION, AWS_DEFAULT_REGION, else us-east-1.
  bool s3_anonymous = false;   // Else AWS_ACCESS_KEY_ID and so on, else ~/.aws/credentials.
  bool s3_path_style = false;  // The bucket in the path at Amazon's too.
  // Trustless gateways, the fastest first; else IPFS_GATEWAY, else the node itself.
  std::vector<std::string> ipfs_gateways;
  std::string ipfs_api;  // Kubo RPC; else DNC_IPFS_API, else http://127.0.0.1:5001.
  // Other locations of the same objects: to read, they become one store (MakeMirrors).
  std::vector<std::string> mirrors;
  bool create = false;  // To write: a folder is created if it is missing; no mirrors.
  FailureReport report;
  const std::atomic<bool>* cancelled = nullptr;  // True ends every request with kCancelled.
};

// Whether `location` is a URL rather than a path: it begins with a scheme and "://".
bool IsUrl(const std::string& location);

// Errors: kInvalidArgument, no known kind of location, with the known ones; kNotFound,
// a folder that is missing without `create`; kUnavailable; kUnauthenticated.
Result<std::unique_ptr<ObjectStore>> OpenStore(const std::string& location,
                                               const StoreOptions& options);

// Objects by direct links: of each key, the URLs (http, https) of the whole object, of
// which another is taken where one fails or gives wrong bytes. Read only.
// Errors: kInvalidArgument, a key without links, or a link that is no such URL.
Result<std::unique_ptr<ObjectStore>> MakeLinkStore(
    const std::map<std::string, std::vector<std::string>>& links, const StoreOptions& options);

// One store out of several that hold the same objects, the fastest first. Reads go to
// another after a failure or Reject(); each failure is reported once. Writing goes to
// the first. Requires: at least one.
std::unique_ptr<ObjectStore> MakeMirrors(std::vector<std::unique_ptr<ObjectStore>> stores,
                                         FailureReport report = {});

}  // namespace dnc::store
