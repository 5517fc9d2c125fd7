// The RPC of a Kubo node: CARs in, pins, and the folders of the node's own files (MFS),
// in which objects have names.
// Source: https://docs.ipfs.tech/reference/kubo/rpc/.
//
// Thread-safe.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "ipfs/cid.h"
#include "store/http_client.h"

namespace dnc::store {

class IpfsNode {
 public:
  // `url` is the RPC's, without a slash at its end.
  IpfsNode(std::string url, const StoreOptions& options);

  struct Stat {
    ipfs::Cid cid;
    bool is_folder = false;
  };
  // A path of the node's files; nullopt: not there.
  Result<std::optional<Stat>> FindFile(const std::string& path);
  Status MakeFolder(const std::string& path);
  // Names in ascending order.
  Result<std::vector<std::string>> ListFolder(const std::string& path);
  // Gives content a name, and takes the name from what had it.
  Status LinkFile(const ipfs::Cid& cid, const std::string& path);
  Status RemoveFile(const std::string& path);

  // Takes a CAR; its blocks are then in the node, not pinned.
  // Errors: kCorrupt, the node says that it has other roots than `root`.
  Status ImportCar(const HttpBody& car, const ipfs::Cid& root);
  // Pins content under our name, unless it is pinned already.
  Status Pin(const ipfs::Cid& cid);
  // Takes our pin away. A pin of another name is left.
  Status Unpin(const ipfs::Cid& cid);

  const std::string& url() const { return url_; }

 private:
  // Errors: kUnavailable, no node; kInternal and kNotFound, what the node says.
  Result<std::string> Call(const std::string& path, const HttpBody* body = nullptr,
                           const std::string& content_type = {});
  Result<std::optional<std::string>> PinName(const ipfs::Cid& cid);

  const std::string url_;
  HttpClient client_;
};

}  // namespace dnc::store
