// The management server: accounts, objects, projects and the grid over HTTP
// (docs/api.md), with all its state in one folder:
//
//   state/lock          held by the one server that uses the folder
//   state/dnc.sqlite    accounts, tokens, projects, the event log and its snapshots
//   state/objects/      shards by content id, updates and weights
//   state/tmp/          models being downloaded; emptied at the start
//
// What was acknowledged is durable: an event is in the log, and its bytes in the
// store, before the answer leaves. A server that is killed at any point goes on from
// there at its next start.
//
// Thread-safe. The server runs threads of its own; no call needs to be made for it
// to work.

#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/time.h"

namespace dnc::server {

struct ServerOptions {
  std::string listen_address = "127.0.0.1";
  std::uint16_t listen_port = 7070;  // 0: any free port; see Server::port().
  std::string state_dir;
  bool log_to_stderr = true;

  Duration token_lifetime = Duration::Minutes(30 * 24 * 60);
  std::uint64_t object_bytes_max = 64u << 20;   // Of one shard.
  std::uint64_t project_bytes_max = 32u << 20;  // Of a submission, with its manifest.
  std::uint64_t weight_count_max = 1u << 26;    // Of one model.
  std::uint32_t connections_max = 1024;

  Duration header_timeout = Duration::Seconds(10);      // From a request's first byte.
  Duration silence_timeout = Duration::Seconds(30);     // Without a byte inside a body.
  Duration keep_alive_timeout = Duration::Seconds(75);  // Between requests.

  // See sched/scheduler.h.
  Duration lease_silence_max = Duration::Seconds(15);
  Duration failure_backoff = Duration::Seconds(1);
  std::uint32_t snapshot_every_events = 2000;
};

class Server {
 public:
  // Recovers the state in options.state_dir (created if missing), then listens.
  // Errors: kAlreadyExists, the address is in use, or another server holds the
  // folder; kUnsupported, a database of a later version; kCorrupt, a damaged one;
  // kInvalidArgument, not an address, or no folder named; those of the file system.
  static Result<std::unique_ptr<Server>> Start(const ServerOptions& options);
  // Without Stop(): breaks off as if killed. Nothing acknowledged is lost.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  std::uint16_t port() const;
  // "http://127.0.0.1:7070".
  std::string url() const;

  // Blocks until Stop() was called, or until the server broke off by itself.
  // Errors: why it did.
  Status Wait();
  // Answers the polls that wait, lets answers in progress leave (for at most 2 s),
  // writes a snapshot and closes. Idempotent.
  void Stop();

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dnc::server
