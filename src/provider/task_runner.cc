#include "provider/task_runner.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/prng.h"
#include "stream/loader.h"
#include "training/pass.h"
#include "update/update.h"

namespace dnc::provider {
namespace {

// An error of the task itself, under a code that the agent does not take for the
// state of the lease.
Error OfTask(Error error) {
  if (error.code == ErrorCode::kNotFound || error.code == ErrorCode::kStale) {
    error.code = ErrorCode::kCorrupt;
  }
  return error;
}

std::int64_t ToMicro(double sum) {
  constexpr double kMax = 9e18;
  return std::llround(std::clamp(sum * 1e6, -kMax, kMax));
}

}  // namespace

TaskRunner::TaskRunner(const TaskRunnerOptions& options, ServerCalls* calls, LeafCache* cache,
                       TrainerFactory make_trainer)
    : options_(options), calls_(calls), cache_(cache), make_trainer_(std::move(make_trainer)) {}

Status TaskRunner::FetchProject(ProjectId project) {
  // The old one first, so that never two are in memory.
  shards_.reset();
  project_.reset();
  version_.reset();
  weights_ = {};
  update_ = {};
  configured_ = false;
  DNC_ASSIGN(proto::ProjectWork work, calls_->GetWork(project));
  if (work.project_id != project) {
    return Error{ErrorCode::kCorrupt, "project " + std::to_string(project.value) +
                                          " was asked for, but the server sent project " +
                                          std::to_string(work.project_id.value)};
  }
  Result<Project> parsed = ParseProject(work, options_.limits);
  if (!parsed.ok()) return OfTask(parsed.error());
  project_ = std::make_unique<Project>(std::move(parsed).value());
  shards_ = std::make_unique<CachedShards>(
      &project_->manifest, cache_,
      [this](const std::string& cid, std::uint64_t offset, std::span<std::byte> out) {
        return calls_->GetObjectRange(cid, offset, out);
      });
  return {};
}

Status TaskRunner::FetchWeights(ProjectId project, std::uint64_t version) {
  if (project_ == nullptr || project_->id != project) {
    return Error{ErrorCode::kInternal, "the weights are of a project that was not fetched"};
  }
  version_.reset();
  const std::uint64_t count = project_->model.weight_count;
  DNC_ASSIGN(const Bytes bytes,
             calls_->GetWeights(project, version, update::EncodedBytesMax(count)));
  const std::string label = "the weights of version " + std::to_string(version);
  Result<std::vector<float>> weights = update::Decode(bytes, count);
  if (!weights.ok()) return OfTask(weights.error().WithContext(label));
  if (!update::AllFinite(*weights)) {
    return Error{ErrorCode::kCorrupt, label + " hold a value that is not finite"};
  }
  weights_ = std::move(weights).value();
  version_ = version;
  return {};
}

void TaskRunner::StopTrainer() {
  const std::lock_guard lock(trainer_mutex_);
  if (trainer_ != nullptr) trainer_->Stop();
}

void TaskRunner::DropTrainer() {
  const std::lock_guard lock(trainer_mutex_);
  trainer_.reset();
  configured_ = false;
}

Status TaskRunner::PrepareTrainer() {
  if (trainer_ == nullptr) {
    Result<std::unique_ptr<trainer::Trainer>> made = make_trainer_();
    if (!made.ok()) return OfTask(made.error().WithContext("cannot start the trainer"));
    const std::lock_guard lock(trainer_mutex_);
    trainer_ = std::move(made).value();
  }
  // After the trainer can be seen: a stop before this line is found here, one after it
  // stops the trainer itself.
  if (*options_.cancelled) return Error{ErrorCode::kCancelled, "stopped"};
  if (!configured_) {
    DNC_TRY(
        trainer_->Configure(project_->model, project_->TrainerOptionsFor(options_.limits.cores)));
    configured_ = true;
  }
  DNC_TRY(trainer_->SetWeights(weights_));
  return trainer_->SetOptimizerState({});
}

Result<trainer::Totals> TaskRunner::RunPlan(const agent::Task& task,
                                            const std::function<void(std::uint64_t)>& progress) {
  const bool train = task.kind == agent::TaskKind::kTrain;
  DNC_ASSIGN(stream::Plan plan, train ? TrainPlan(*project_, task.epoch, task.begin, task.end)
                                      : EvaluationPlan(*project_, task.begin, task.end));
  if (plan.sample_count() != task.end - task.begin) {
    return Error{ErrorCode::kCorrupt, "the task goes to sample " + std::to_string(task.end) +
                                          ", beyond the end of the data"};
  }
  stream::LoaderOptions options;
  DNC_ASSIGN(options.memory_bytes, LoaderBytes(plan, options_.limits.memory_bytes));
  DNC_ASSIGN(const std::unique_ptr<stream::Loader> loader,
             stream::Loader::Open(std::move(plan), shards_.get(), options));

  training::PassOptions pass;
  pass.kind = train ? trainer::BatchKind::kTrain : trainer::BatchKind::kEvaluate;
  pass.batch_size = project_->fit.batch_size;
  pass.seed = DeriveSeed(project_->fit.seed, std::uint64_t{task.epoch} + 1, task.task_index);
  pass.column_count = project_->manifest.columns.size();
  pass.x_columns = project_->x_columns;
  pass.y_columns = project_->y_columns;
  if (train && project_->weights) pass.weights = &*project_->weights;
  pass.progress = [this, &progress](std::uint64_t samples_done) {
    progress(samples_done);
    return !*options_.cancelled;
  };
  return training::RunPass(loader.get(), trainer_.get(), pass);
}

Result<agent::Metrics> TaskRunner::Run(const agent::Task& task,
                                       const std::function<void(std::uint64_t)>& progress) {
  update_ = {};
  update_bytes_ = 0;
  if (project_ == nullptr || project_->id != task.project) DNC_TRY(FetchProject(task.project));
  if (version_ != task.version) DNC_TRY(FetchWeights(task.project, task.version));
  if (task.begin >= task.end) return Error{ErrorCode::kCorrupt, "the task has no samples"};
  if (const Status prepared = PrepareTrainer(); !prepared.ok()) {
    DropTrainer();
    return OfTask(prepared.error());
  }
  const Instant begin = MonotonicNow();
  Result<trainer::Totals> totals = RunPlan(task, progress);
  const Duration computed = MonotonicNow() - begin;
  if (!totals.ok()) {
    // What is queued must not count for the next task. A trainer that cannot end it is
    // of no more use.
    if (!trainer_->Drain().ok()) DropTrainer();
    return OfTask(totals.error());
  }
  if (totals->samples != task.end - task.begin || !std::isfinite(totals->loss_sum)) {
    DropTrainer();
    return Error{ErrorCode::kCorrupt, "the trainer counted " + std::to_string(totals->samples) +
                                          " samples and a loss of " +
                                          std::to_string(totals->loss_sum) + " for " +
                                          std::to_string(task.end - task.begin) + " samples"};
  }
  if (task.kind == agent::TaskKind::kTrain) DNC_TRY(MakeUpdate());
  return agent::Metrics{
      .samples = totals->samples,
      .loss_sum_micro = ToMicro(totals->loss_sum),
      .correct = totals->correct,
      .compute_us = static_cast<std::uint64_t>(std::max<std::int64_t>(1, computed.us))};
}

Status TaskRunner::MakeUpdate() {
  Result<std::vector<float>> after = trainer_->GetWeights();
  if (!after.ok()) {
    DropTrainer();
    return OfTask(after.error());
  }
  if (after->size() != weights_.size()) {
    DropTrainer();
    return Error{ErrorCode::kCorrupt, "the trainer gave " + std::to_string(after->size()) +
                                          " weights for " + std::to_string(weights_.size())};
  }
  std::vector<float>& update = *after;
  for (std::size_t i = 0; i < update.size(); ++i) update[i] -= weights_[i];
  if (!update::AllFinite(update)) {
    return Error{ErrorCode::kCorrupt,
                 "training ended in weights that are not finite; the learning rate may be too "
                 "high"};
  }
  update_ = update::Encode(update);
  update_bytes_ = update_.size();
  return {};
}

Result<proto::LeaseAnswer> TaskRunner::Upload(LeaseId lease, const agent::Metrics& metrics) {
  return calls_->SubmitResult(lease,
                              {.samples = metrics.samples,
                               .loss_sum_micro = metrics.loss_sum_micro,
                               .correct = metrics.correct,
                               .compute_us = metrics.compute_us},
                              update_);
}

}  // namespace dnc::provider
