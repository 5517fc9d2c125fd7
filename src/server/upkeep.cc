#include "server/upkeep.h"

#include "aggregate/aggregate.h"
#include "server/objects.h"
#include "shard/content_id.h"
#include "update/update.h"

namespace dnc::server {
namespace {

constexpr Duration kFoldRetry = Duration::Seconds(2);

}  // namespace

struct Upkeep::Job {
  struct Input {
    std::string key;
    Digest digest;
    std::uint64_t samples = 0;
  };
  ProjectId project;
  std::uint64_t step = 0;
  std::uint64_t weight_count = 0;
  Digest weights;  // Of version `step`; zero for version 0, whose digest nobody holds.
  std::vector<Input> inputs;
};

Status Upkeep::Recover(const Ledger& ledger) {
  DNC_ASSIGN(const std::vector<std::string> keys, parts_.store->List());
  const sched::Scheduler& scheduler = parts_.sequencer->scheduler();
  for (const std::string& key : keys) {
    bool keep = false;
    if (const std::optional<ParsedKey> parsed = ParseKey(key)) {
      const std::optional<sched::ProjectView> view = scheduler.FindProject(parsed->project);
      keep = parsed->is_update ? ledger.HasUpdate(parsed->project, parsed->lease, parsed->update)
                               : view && IsNeeded(*view, parsed->version);
      if (keep && !parsed->is_update) versions_[parsed->project].insert(parsed->version);
    } else if (shard::IsContentId(key)) {
      DNC_TRY(parts_.reader->Run("SELECT 1 FROM object_owners WHERE cid = ? LIMIT 1", {key},
                                 [&](const Row&) { keep = true; }));
    } else {
      keep = true;  // Not ours.
    }
    if (!keep) DNC_TRY(parts_.store->Delete(key));
  }
  return {};
}

// ---- Folds

void Upkeep::Fold(const sched::FoldStep& fold, const Ledger& ledger) {
  const ProjectInfo* info = parts_.projects->Find(fold.project);
  const std::optional<sched::ProjectView> view =
      parts_.sequencer->scheduler().FindProject(fold.project);
  DNC_ASSERT(info != nullptr && view);
  if (!folding_.emplace(fold.project, fold.step).second) return;

  const auto job = std::make_shared<Job>();
  job->project = fold.project;
  job->step = fold.step;
  job->weight_count = info->weight_count;
  job->weights = view->weights;
  for (const sched::FoldInput& input : fold.inputs) {
    const std::optional<LeaseId> lease = ledger.FindUpdate(fold.project, input.update);
    DNC_ASSERT(lease);  // Accepted, and not folded yet.
    job->inputs.push_back(
        {UpdateKey(fold.project, *lease, input.update), input.update, input.samples});
  }
  const auto failed = [this, fold, &ledger](const Error& error) {
    folding_.erase({fold.project, fold.step});
    problems_[fold.project] = "step " + std::to_string(fold.step) +
                              " cannot be folded: " + error.message + "; trying again";
    parts_.log->Warn("project " + std::to_string(fold.project.value) + ": " +
                     problems_[fold.project]);
    parts_.loop->After(kFoldRetry, [this, fold, &ledger] {
      // Not if the project was cancelled meanwhile.
      std::vector<sched::Effect> pending;
      parts_.sequencer->scheduler().PendingEffects(&pending);
      for (const sched::Effect& effect : pending) {
        const auto* again = std::get_if<sched::FoldStep>(&effect);
        if (again != nullptr && again->project == fold.project) Fold(*again, ledger);
      }
    });
  };
  parts_.workers->Post([this, job, failed] {
    const Result<Digest> weights = RunFold(*job);
    parts_.loop->Post([this, job, weights, failed] {
      if (!weights.ok()) return failed(weights.error());
      AddVersion(job->project, job->step + 1);
      parts_.sequencer->Submit(sched::StepFolded{job->project, job->step, *weights},
                               [this, job, failed](const Result<Effects>& result) {
                                 if (!result.ok()) return failed(result.error());
                                 folding_.erase({job->project, job->step});
                                 problems_.erase(job->project);
                               });
    });
  });
}

Result<Digest> Upkeep::RunFold(const Job& job) const {
  const store::ObjectStore& store = *parts_.store;
  const std::uint64_t bytes_max = update::EncodedBytesMax(job.weight_count);
  std::vector<float> weights;
  {
    DNC_ASSIGN(const Bytes encoded,
               store::GetObject(store, WeightsKey(job.project, job.step), bytes_max));
    if (job.weights != Digest{} && Sha256(encoded) != job.weights) {
      return Error{ErrorCode::kCorrupt, WeightsKey(job.project, job.step) +
                                            " in the store was changed: its digest is another"};
    }
    DNC_ASSIGN(weights, update::Decode(encoded, job.weight_count));
  }
  aggregate::WeightedMean mean(std::move(weights));
  for (const Job::Input& input : job.inputs) {
    DNC_ASSIGN(const Bytes encoded, store::GetObject(store, input.key, bytes_max));
    if (Sha256(encoded) != input.digest) {
      return Error{ErrorCode::kCorrupt,
                   input.key + " in the store was changed: its digest is another"};
    }
    DNC_TRY(mean.Add(encoded, input.samples));
  }
  const Bytes folded = update::Encode(mean.Finish());
  DNC_TRY(store::PutObject(parts_.store, WeightsKey(job.project, job.step + 1), folded));
  return Sha256(folded);
}

std::string Upkeep::FindProblem(ProjectId project) const {
  const auto found = problems_.find(project);
  return found == problems_.end() ? std::string() : found->second;
}

// ---- Objects

void Upkeep::DeleteObjects(std::vector<std::string> keys) {
  if (keys.empty()) return;
  parts_.workers->Post([this, keys = std::move(keys)] {
    for (const std::string& key : keys) {
      const Status status = parts_.store->Delete(key);
      if (status.ok() || status.error().code == ErrorCode::kNotFound) continue;
      parts_.log->Warn("cannot delete " + key + ": " + status.error().message);
    }
  });
}

void Upkeep::AddVersion(ProjectId project, std::uint64_t version) {
  versions_[project].insert(version);
}

bool Upkeep::IsNeeded(const sched::ProjectView& view, std::uint64_t version) const {
  if (version > view.version) return false;  // Folded, but its event was never written.
  const bool live =
      view.phase == sched::ProjectPhase::kRunning || view.phase == sched::ProjectPhase::kPaused;
  if (version == view.model_version) return true;
  if (!live) return false;
  if (version == view.version) return true;
  if (version + 1 == view.version) return true;
  const std::uint64_t steps_per_epoch = view.steps_total / view.config.epochs;
  if (view.config.validation_samples == 0 || version == 0 || version % steps_per_epoch != 0) {
    return false;
  }
  return std::none_of(view.evaluations.begin(), view.evaluations.end(),
                      [=](const sched::EvaluationView& e) { return e.version == version; });
}

void Upkeep::PruneVersions(ProjectId project) {
  const std::optional<sched::ProjectView> view = parts_.sequencer->scheduler().FindProject(project);
  if (!view) return;
  std::set<std::uint64_t>& versions = versions_[project];
  std::vector<std::string> keys;
  for (const std::uint64_t version : versions) {
    // The fold that makes the next one may be done before its event is.
    if (version > view->version && folding_.contains({project, version - 1})) continue;
    if (!IsNeeded(*view, version)) keys.push_back(WeightsKey(project, version));
  }
  std::erase_if(versions, [&](std::uint64_t version) {
    return std::find(keys.begin(), keys.end(), WeightsKey(project, version)) != keys.end();
  });
  DeleteObjects(std::move(keys));
}

Status Upkeep::CheckVersion(ProjectId project, std::uint64_t version) const {
  const std::optional<sched::ProjectView> view = parts_.sequencer->scheduler().FindProject(project);
  const std::string name =
      "version " + std::to_string(version) + " of project " + std::to_string(project.value);
  if (!view || version > view->version) {
    return Error{ErrorCode::kNotFound, "there is no " + name + " yet"};
  }
  const auto found = versions_.find(project);
  if (found == versions_.end() || !found->second.contains(version)) {
    return Error{ErrorCode::kStale,
                 name + " is no longer kept; the newest is " + std::to_string(view->version)};
  }
  return {};
}

}  // namespace dnc::server
