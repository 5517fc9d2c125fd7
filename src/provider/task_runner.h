// Computes tasks: keeps the project and the weights last fetched, a trainer that
// lives from task to task, and the update last made.
//
// The result of a task is a function of the project, the weights' version, the task
// and the number of cores, and of nothing else: the optimizer starts from its initial
// state in each task, and plan and seeds derive from the project's seed, the epoch
// and the task's index.
//
// Used by one thread, except StopTrainer(). No error that is the task's own is
// kNotFound, kStale or kCancelled, which the agent takes for a lost lease or a stop.

#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "agent/agent.h"
#include "provider/leaf_cache.h"
#include "provider/project.h"
#include "provider/server_calls.h"
#include "trainer/trainer.h"

namespace dnc::provider {

// Starts a trainer; called again after one died.
using TrainerFactory = std::function<Result<std::unique_ptr<trainer::Trainer>>()>;

struct TaskRunnerOptions {
  OwnerLimits limits;
  // Once true, work in progress ends soon with kCancelled. Must outlive the runner.
  const std::atomic<bool>* cancelled = nullptr;
};

class TaskRunner {
 public:
  // `calls` and `cache` must outlive the runner.
  TaskRunner(const TaskRunnerOptions& options, ServerCalls* calls, LeafCache* cache,
             TrainerFactory make_trainer);

  // Errors: those of GetWork and ParseProject.
  Status FetchProject(ProjectId project);

  // Fetches the weights of a version of the project last fetched.
  // Errors: those of GetWeights and update::Decode; kCorrupt, one is not finite.
  Status FetchWeights(ProjectId project, std::uint64_t version);

  // Trains or evaluates. `progress` is told the samples done, after each batch. What
  // the task needs and a failed fetch left behind is fetched first.
  // Errors: kUnavailable, the trainer died, with its last words; kCorrupt, a task
  // beyond the data, or an update that is not finite; those of the loader, the trainer
  // and the fetches.
  Result<agent::Metrics> Run(const agent::Task& task,
                             const std::function<void(std::uint64_t samples_done)>& progress);

  // Sends the result of the last Run().
  Result<proto::LeaseAnswer> Upload(LeaseId lease, const agent::Metrics& metrics);
  // Of the update last made; 0 for an evaluation.
  std::uint64_t update_bytes() const { return update_bytes_; }

  // Ends a Run() in progress within a second, at the price of the trainer. Thread-safe.
  void StopTrainer();

  // Of the project last fetched; nullptr if none was.
  const Project* project() const { return project_.get(); }

 private:
  Status PrepareTrainer();
  void DropTrainer();
  Result<trainer::Totals> RunPlan(const agent::Task& task,
                                  const std::function<void(std::uint64_t)>& progress);
  Status MakeUpdate();

  TaskRunnerOptions options_;
  ServerCalls* calls_;
  LeafCache* cache_;
  TrainerFactory make_trainer_;

  std::unique_ptr<Project> project_;
  std::unique_ptr<CachedShards> shards_;  // Of project_.
  std::optional<std::uint64_t> version_;  // Of weights_.
  std::vector<float> weights_;
  Bytes update_;
  std::atomic<std::uint64_t> update_bytes_{0};

  std::mutex trainer_mutex_;  // Guards the pointer against StopTrainer().
  std::unique_ptr<trainer::Trainer> trainer_;
  bool configured_ = false;  // trainer_ holds project_'s model.
};

}  // namespace dnc::provider
