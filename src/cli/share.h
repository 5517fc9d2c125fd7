// A stream's leaves on disk for its neighbours, over HTTP: GET /ipfs/{cid}?format=raw, as a
// trustless gateway of IPFS. So machines of one network download a dataset once.
// Source: https://specs.ipfs.tech/http-gateways/trustless-gateway/.
//
// Small and bounded: a thread, kShareLeaves leaves in memory, kShareConnections
// connections; further requests wait. A leaf is hashed before it is given away.

#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "stream/stream.h"

namespace dnc::cli {

inline constexpr int kShareLeaves = 2;
inline constexpr std::uint32_t kShareConnections = 32;
inline constexpr char kShareAddress[] = "0.0.0.0:7071";

class LeafShare {
 public:
  // Listens at once at "HOST:PORT", and ends when it is destroyed. `stream` must outlive
  // it.
  // Errors: kInvalidArgument, not an address; kAlreadyExists, the port is in use;
  // kPermissionDenied; kResourceExhausted, no thread; kIo.
  static Result<std::unique_ptr<LeafShare>> Start(const std::string& address,
                                                  const stream::Stream* stream);
  ~LeafShare();

  std::uint16_t port() const;
  std::uint64_t bytes_given() const;

 private:
  struct Impl;  // Keeps the server out of this header.
  explicit LeafShare(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dnc::cli
