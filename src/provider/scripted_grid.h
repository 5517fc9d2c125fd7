// A server in memory, for this room's tests only (it lives in scripted_grid_test.cc):
// one project of least squares on real shards, K-batch-sync in its simplest form, and
// faults on purpose.

#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "provider/daemon.h"
#include "provider/server_calls.h"
#include "shard/manifest.h"

namespace dnc::provider {

struct GridOptions {
  std::uint64_t train_samples = 96;
  std::uint64_t validation_samples = 24;
  std::uint32_t epochs = 2;
  std::uint32_t total_tasks = 4;
  std::uint32_t task_size = 2;
};

// What a call may be made to do.
struct Fault {
  // Called on entry of each call by its name ("RequestLease"), without any lock; an
  // error is the answer.
  std::function<std::optional<Error>(const std::string& call)> on_call;
  // A call of this name is not answered before it is cancelled.
  std::string hold_call;
  // May change what is sent.
  std::function<void(proto::ProjectWork*)> on_work;
  std::function<void(Bytes*)> on_weights;
  std::function<void(std::span<std::byte>)> on_object;
  // Replaces the answer.
  std::function<std::optional<proto::LeaseAnswer>(LeaseId)> on_renew;
  std::function<std::optional<proto::LeaseAnswer>(LeaseId)> on_result;
};

struct ReleasedLease {
  LeaseId lease;
  bool failed = false;
  std::string reason;
};

class ScriptedGrid {
 public:
  explicit ScriptedGrid(const GridOptions& options);

  // For ProviderParts::make_calls. The grid must outlive what it makes.
  Result<std::unique_ptr<ServerCalls>> MakeCalls(const ServerCallsOptions& options);

  // Set before any provider runs.
  Fault fault;
  // A call is held now, or was.
  std::atomic<bool> held{false};

  const proto::ProjectWork& work() const { return work_; }
  std::vector<float> weights(std::uint64_t version) const;
  std::uint64_t version() const;
  bool finished() const;
  std::vector<proto::ResultMetrics> evaluations() const;
  std::vector<ReleasedLease> releases() const;
  // The bytes of the last result, accepted or not.
  Bytes last_update() const;
  // Calls of a name so far.
  int calls(const std::string& name) const;
  // Waits for up to 20 s until `condition` holds after some call has ended.
  bool WaitUntil(const std::function<bool()>& condition);

 private:
  friend class ScriptedCalls;
  struct Lease {
    proto::TaskInfo task;
  };
  struct Done {
    std::vector<float> update;
    std::uint64_t samples = 0;
  };

  void MakeData();
  std::optional<proto::TaskInfo> NextTask() const;
  void CloseStep();
  void Called(const std::string& name);

  GridOptions options_;
  proto::ProjectWork work_;
  std::map<std::string, Bytes> objects_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::vector<float>> versions_;
  std::map<std::uint32_t, Done> done_;  // Of the open step, by task index.
  std::map<LeaseId, Lease> leases_;
  std::set<std::uint64_t> evaluations_due_;  // Versions.
  std::vector<proto::ResultMetrics> evaluations_;
  std::vector<ReleasedLease> releases_;
  Bytes last_update_;
  std::map<std::string, int> calls_;
  std::uint64_t next_lease_ = 1;
};

// Records what a provider tells its owner, a line each.
class RecordingObserver final : public ProviderObserver {
 public:
  void OnWaitingForWork() override { Add("waiting"); }
  void OnLeased(const TaskReport& report) override { Add("leased " + Name(report)); }
  void OnTraining(const TaskReport& report) override {
    Add("training " + Name(report) + " of " + report.project);
  }
  void OnAccepted(const TaskReport& report, const agent::Metrics& metrics) override {
    Add("accepted " + Name(report) + ", samples " + std::to_string(metrics.samples));
  }
  void OnRefused(const TaskReport& report, const std::string& reason) override {
    Add("refused " + Name(report) + ": " + reason);
  }
  void OnLeaseLost(const TaskReport& report, const std::string& reason) override {
    Add("lost " + Name(report) + ": " + reason);
  }
  void OnGivenBack(const TaskReport& report, bool failed, const std::string& reason) override {
    Add((failed ? "failed " : "given back ") + Name(report) + ": " + reason);
  }
  void OnRetry(const std::string& what, const Error& error, Duration) override {
    Add("retry " + what + ": " + error.message);
  }

  std::vector<std::string> lines() const {
    const std::lock_guard lock(mutex_);
    return lines_;
  }

 private:
  static std::string Name(const TaskReport& report) {
    return (report.task.kind == agent::TaskKind::kTrain ? "task " : "evaluation ") +
           std::to_string(report.task.version) + "." + std::to_string(report.task.task_index);
  }
  void Add(std::string line) {
    const std::lock_guard lock(mutex_);
    lines_.push_back(std::move(line));
  }

  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

}  // namespace dnc::provider
