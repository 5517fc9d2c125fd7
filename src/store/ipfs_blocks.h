// Where blocks of IPFS come from: a trustless gateway, or a node's RPC. Each block is
// checked against its id before it is handed on.
// Source: https://specs.ipfs.tech/http-gateways/trustless-gateway/.
//
// Thread-safe.

#pragma once

#include <atomic>
#include <list>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "ipfs/cid.h"
#include "ipfs/unixfs.h"
#include "store/http_client.h"

namespace dnc::store {

class IpfsBlocks {
 public:
  enum class Kind { kGateway, kNode };

  // `url` is the gateway's or the RPC's, without a slash at its end.
  IpfsBlocks(Kind kind, std::string url, const StoreOptions& options);

  // Errors: kNotFound; kCorrupt, bytes that are not those of the id; those of HttpClient.
  Result<Bytes> Fetch(const ipfs::Cid& cid);
  // The same, out of the nodes that were fetched last.
  Result<Bytes> FetchNode(const ipfs::Cid& cid);
  ipfs::BlockFetch fetch() {
    return [this](const ipfs::Cid& cid) { return FetchNode(cid); };
  }

  // How long a file is. Errors: as ipfs::FileBytes.
  Result<std::uint64_t> FileBytes(const ipfs::Cid& file) { return ipfs::FileBytes(file, fetch()); }
  // Fills `out` with a file's bytes. `key` and `store` name it in messages.
  // Errors: kCorrupt, the file ends before; those of Fetch.
  struct Name {
    std::string key;
    std::string store;
  };
  Status ReadFile(const ipfs::Cid& file, const Name& name, std::uint64_t offset,
                  std::span<std::byte> out);

  const std::string& url() const { return url_; }
  HttpClient* client() { return &client_; }

 private:
  struct Wanted;
  Error NoBlock(const ipfs::Cid& cid) const;
  // Takes what it can of `wanted` out of one CAR; what is missing then is fetched alone.
  void TryCar(const ipfs::Cid& file, Wanted* wanted);

  const Kind kind_;
  const std::string url_;
  HttpClient client_;
  std::atomic<bool> gives_cars_ = true;  // Until it refuses one.
  std::mutex mutex_;                     // Guards all below.
  // Nodes, the last used first; leaves are not kept.
  std::list<std::pair<ipfs::Cid, Bytes>> nodes_;
  std::map<ipfs::Cid, std::list<std::pair<ipfs::Cid, Bytes>>::iterator> by_cid_;
  std::uint64_t node_bytes_ = 0;
};

}  // namespace dnc::store
