// The REST client: a method a call of docs/api.md. Bodies of any size pass through
// a fixed amount of memory. What the server refuses comes back as an Error with the
// server's own code and message; a server that cannot be reached, or stops in the
// middle, is kUnavailable.
//
// Calls that may be repeated without harm are retried by the RetryPolicy, and so is
// any call for which no connection came about. CreateAccount, CreateProvider and
// SubmitProject are not repeated once they may have reached the server.
//
// Thread-safe: each call in progress has a connection of its own, which the next
// call uses again. Answers are a stranger's bytes and checked as such.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "proto/messages.h"

namespace dnc::client {

struct RetryPolicy {
  // The n-th wait is between half of and all of min(wait_first * 2^n, wait_max).
  Duration wait_first = Duration::Milliseconds(500);
  Duration wait_max = Duration::Seconds(15);
  // Counted from the call's first failure. Zero: no retry.
  Duration give_up_after = Duration::Seconds(60);
  // Told before each wait, to show "server not reachable, next try in 2 s". May be
  // called by any thread that makes a call.
  std::function<void(const Error& error, Duration next_try_in)> on_retry;
};

struct ClientOptions {
  std::string base_url;  // "http://127.0.0.1:7070"; https works too.
  std::string token;     // Of a session or provider; empty before login.
  RetryPolicy retry;
  Duration connect_timeout = Duration::Seconds(5);
  // A call without a byte in either direction for this long fails with
  // kUnavailable. Long polls add the time that they ask for.
  Duration silence_max = Duration::Seconds(30);
  // Once true, calls in progress and waits between tries end within 0.2 s with
  // kCancelled. May be null; must outlive the client.
  const std::atomic<bool>* cancelled = nullptr;
};

struct ByteCounts {
  std::uint64_t sent = 0;  // Bodies only.
  std::uint64_t received = 0;
};

class Client {
 public:
  // Gives up to out.size() bytes from `offset` of what is uploaded, at least one
  // before the end. Called again from 0 when an upload is repeated.
  using UploadSource =
      std::function<Result<std::size_t>(std::uint64_t offset, std::span<std::byte> out)>;
  // Receives a download in order. An error ends the call with that error.
  using DownloadSink = std::function<Status(ByteSpan bytes)>;

  // Errors: kInvalidArgument, not an http or https address.
  static Result<std::unique_ptr<Client>> Create(ClientOptions options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // The token that later calls present.
  void SetToken(std::string token);
  const std::string& base_url() const;
  ByteCounts byte_counts() const;

  // Errors that any call may have: kUnauthenticated, no token, or one that is wrong
  // or expired; kPermissionDenied, a token of the other kind; kUnavailable;
  // kCancelled; kCorrupt, an answer that is not one of a dnc server. Further ones
  // are named at the call.

  Result<proto::ServerStatus> GetServerStatus();

  // ---- Accounts; the first two need no token.
  // Errors: kAlreadyExists; kInvalidArgument, a name or password that will not do.
  Status CreateAccount(const proto::Credentials& credentials);
  // Errors: kUnauthenticated, wrong name or password; kPermissionDenied, too many
  // wrong passwords, with the time to wait. Does not set the token.
  Result<proto::SessionCreated> CreateSession(const proto::Credentials& credentials);
  Status DeleteSession();
  Result<proto::AccountInfo> GetAccount();
  Result<proto::ProviderCreated> CreateProvider(const proto::ProviderRequest& request);

  // ---- Objects (shards), by content id.
  // Errors: kNotFound.
  Result<std::uint64_t> ObjectSize(const std::string& cid);
  // Fills all of `out`. Errors: kNotFound; kCorrupt, the object ends before.
  Status GetObjectRange(const std::string& cid, std::uint64_t offset, std::span<std::byte> out);
  // Errors: kNotFound. Not retried once the sink has received bytes.
  Status GetObject(const std::string& cid, const DownloadSink& sink);
  // Does nothing if the server already has it.
  // Errors: kCorrupt, the bytes are not those of `cid`; kTooLarge; kResourceExhausted,
  // the server's disk is full; those of the source.
  Status PutObject(const std::string& cid, std::uint64_t bytes, const UploadSource& source);

  // ---- Projects, with a session token.
  // Errors: kInvalidArgument, kUnsupported, kCorrupt, kTooLarge, what is wrong with
  // the project; kNotFound, shards that are not on the server.
  Result<ProjectId> SubmitProject(const proto::ProjectSpec& spec);
  Result<proto::ProjectList> ListProjects();
  // Errors of all below: kNotFound, no such project of this account.
  Result<proto::ProjectStatus> GetProject(ProjectId project);
  // Errors: kStale, the project has ended.
  Status PauseProject(ProjectId project);
  Status ResumeProject(ProjectId project);
  Status CancelProject(ProjectId project);
  // The newest version as a Keras .h5. Not retried once the sink has received bytes.
  Status DownloadModel(ProjectId project, const DownloadSink& sink);

  // ---- The grid, with a provider token.
  Result<proto::ProjectWork> GetWork(ProjectId project);
  // An update container (update/update.h) of the weights.
  // Errors: kNotFound, kStale, a version that is no longer kept; kTooLarge, above
  // `bytes_max`.
  Result<Bytes> GetWeights(ProjectId project, std::uint64_t version, std::uint64_t bytes_max);
  // Waits up to `wait` (30 s) for work; nullopt if there was none.
  Result<std::optional<proto::LeaseGrant>> RequestLease(Duration wait);
  Result<proto::LeaseAnswer> RenewLease(LeaseId lease, std::uint64_t samples_done);
  // `update` is an update container; empty for an evaluation.
  // Errors: kCorrupt, kInvalidArgument, kTooLarge, what is wrong with the result.
  Result<proto::LeaseAnswer> SubmitResult(LeaseId lease, const proto::ResultMetrics& metrics,
                                          ByteSpan update);
  Result<proto::LeaseAnswer> ReleaseLease(LeaseId lease, const proto::LeaseRelease& release);

 private:
  struct Impl;  // Keeps libcurl out of this header.
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dnc::client
