// What a provider asks of its server: the seam at which tests put a server of their
// own. MakeServerCalls() is the real one, over client::Client.
//
// Calls of the work lane come from one thread, and from the loader's thread while
// that one trains; RenewLease and ReleaseLease come from a thread each. A call ends
// with kCancelled within 0.2 s of the flag of its lane.

#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "client/client.h"
#include "proto/messages.h"

namespace dnc::provider {

class ServerCalls {
 public:
  virtual ~ServerCalls() = default;

  // ---- The work lane. Errors: those of client::Client's calls of these names.
  virtual Result<std::optional<proto::LeaseGrant>> RequestLease(Duration wait) = 0;
  virtual Result<proto::ProjectWork> GetWork(ProjectId project) = 0;
  virtual Result<Bytes> GetWeights(ProjectId project, std::uint64_t version,
                                   std::uint64_t bytes_max) = 0;
  // Tried again for up to a minute when the server does not answer, since the work
  // of a whole task would be lost.
  virtual Status GetObjectRange(const std::string& cid, std::uint64_t offset,
                                std::span<std::byte> out) = 0;
  virtual Result<proto::LeaseAnswer> SubmitResult(LeaseId lease,
                                                  const proto::ResultMetrics& metrics,
                                                  ByteSpan update) = 0;

  // ---- Lanes of their own.
  virtual Result<proto::LeaseAnswer> RenewLease(LeaseId lease, std::uint64_t samples_done) = 0;
  virtual Result<proto::LeaseAnswer> ReleaseLease(LeaseId lease,
                                                  const proto::LeaseRelease& release) = 0;

  // Bodies of all calls. Thread-safe.
  virtual client::ByteCounts byte_counts() const = 0;
};

struct ServerCallsOptions {
  std::string server_url;
  std::string token;  // Of a provider.
  const std::atomic<bool>* work_cancelled = nullptr;
  const std::atomic<bool>* renewals_cancelled = nullptr;
  const std::atomic<bool>* releases_cancelled = nullptr;
  // Told by any thread before a shard is asked for again. May be empty.
  std::function<void(const Error& error, Duration next_try_in)> on_object_retry;
};

// Errors: kInvalidArgument, not an http or https address.
Result<std::unique_ptr<ServerCalls>> MakeServerCalls(const ServerCallsOptions& options);

}  // namespace dnc::provider
