// The provider's daemon: lends this machine to a server's projects until it is
// stopped. It runs the effects of agent::Agent, which decides what comes next: the
// work (network and training) on one thread, renewing and giving back leases on others,
// decisions and the observer on the thread that calls Run().
//
// What the owner lends is a limit: cores are the trainer's threads; memory bounds
// the trainer's data, and a project that needs more is refused with the arithmetic;
// disk bounds the cached shards. The server is not trusted: models, manifests,
// shards and weights are checked before they are used, and are parsed further only
// inside the trainer's box.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "agent/agent.h"
#include "base/result.h"
#include "base/time.h"
#include "client/client.h"
#include "provider/leaf_cache.h"
#include "provider/server_calls.h"
#include "provider/task_runner.h"

namespace dnc::provider {

struct ProviderOptions {
  std::string server_url;
  std::string token;  // Of a provider: client::Client::CreateProvider.
  int cores = 1;
  std::uint64_t memory_bytes = std::uint64_t{2} << 30;
  std::uint64_t disk_bytes = std::uint64_t{1} << 30;  // 0: shards are not kept.
  std::string work_folder;                            // For the shards; see leaf_cache.h.
  // Ends with kUnavailable when the server has not answered for this long; 0: never.
  Duration give_up_after;
  // Of the trainer; see trainer/process_trainer.h.
  bool boxed = true;
  std::string trainer_program;
  int trainer_nice = 5;  // 0 to 19: how far the trainer steps back for other programs.
};

// A task in hand, for the owner's eyes.
struct TaskReport {
  LeaseId lease;
  agent::Task task;
  std::string project;  // Its name; empty until it is known.
};

// Told what goes on, on the thread of Run(). Each does nothing unless overridden.
class ProviderObserver {
 public:
  virtual ~ProviderObserver() = default;

  virtual void OnWaitingForWork() {}
  virtual void OnLeased(const TaskReport&) {}
  virtual void OnTraining(const TaskReport&) {}
  // About five times a second. The speed is 0 until it is known.
  virtual void OnProgress(const TaskReport&, std::uint64_t /*samples_done*/,
                          double /*samples_per_second*/) {}
  virtual void OnUploading(const TaskReport&, std::uint64_t /*update_bytes*/) {}
  virtual void OnAccepted(const TaskReport&, const agent::Metrics&) {}
  virtual void OnRefused(const TaskReport&, const std::string& /*reason*/) {}
  // The lease ended without a result: another provider was faster, the project paused.
  virtual void OnLeaseLost(const TaskReport&, const std::string& /*reason*/) {}
  // `failed`: this provider could not do the task.
  virtual void OnGivenBack(const TaskReport&, bool /*failed*/, const std::string& /*reason*/) {}
  // `what` failed ("request a lease") and is tried again after `wait`.
  virtual void OnRetry(const std::string& /*what*/, const Error&, Duration /*wait*/) {}
};

struct ProviderStatistics {
  std::uint64_t tasks_accepted = 0;
  std::uint64_t samples_accepted = 0;
  std::uint64_t results_refused = 0;
  std::uint64_t leases_lost = 0;
  client::ByteCounts bytes;
  LeafCacheStatistics cache;
};

// What a provider is made of, so that tests can put in their own.
struct ProviderParts {
  std::function<Result<std::unique_ptr<ServerCalls>>(const ServerCallsOptions&)> make_calls;
  TrainerFactory make_trainer;
  agent::AgentOptions agent;
  // Of one long poll, and after how much waiting the owner is told.
  Duration lease_wait = Duration::Seconds(25);
  Duration waiting_shown_after = Duration::Seconds(1);
  // Until the trainer of a lost task is killed, if the task does not end.
  Duration abort_patience = Duration::Seconds(2);
};

class Provider {
 public:
  // The real parts. Finds the trainer's program, opens the cache; nothing runs yet.
  // Sets how this process returns memory to the system (mallopt).
  // Errors: kInvalidArgument, limits out of range or a wrong address; kNotFound, no
  // trainer program; those of LeafCache::Open.
  static Result<std::unique_ptr<Provider>> Create(const ProviderOptions& options,
                                                  ProviderObserver* observer);
  static Result<std::unique_ptr<Provider>> Create(const ProviderOptions& options,
                                                  ProviderParts parts, ProviderObserver* observer);
  ~Provider();
  Provider(const Provider&) = delete;
  Provider& operator=(const Provider&) = delete;

  // Works until Stop(), and returns success then; called once. When it returns,
  // nothing runs any more and the trainer has ended.
  // Errors: kUnauthenticated, kPermissionDenied, the token is not (or no longer) good;
  // kUnavailable, give_up_after has passed.
  Status Run();

  // Makes Run() return: at once, with the lease given back (within two seconds), or
  // once the task in hand is finished and uploaded. May be called again, to give up
  // finishing. Thread-safe; not for signal handlers.
  void Stop(bool finish_current);

  ProviderStatistics statistics() const;  // Thread-safe.

 private:
  struct Impl;
  explicit Provider(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dnc::provider
