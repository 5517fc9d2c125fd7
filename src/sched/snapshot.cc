// A snapshot: the magic "DNCSCHED", the format's version (u32), the state that is not
// derived, in the order of its declaration, and the SHA-256 of all before it. Maps are
// written in order, so the same state gives the same bytes. It is written in the first
// version that holds the state: 1, or where a project has a stopping rule 2, in which
// each project ends with whether it has one, the rule, and how its epochs were counted.

#include <algorithm>
#include <utility>

#include "sched/state.h"
#include "sched/wire.h"

namespace dnc::sched {

namespace {

constexpr std::string_view kMagic = "DNCSCHED";
constexpr std::uint32_t kFormatVersion = 2;
constexpr std::size_t kChecksumBytes = 32;
// The least that one entry of each list takes, to check a count before it is used.
constexpr std::uint64_t kTaskBytes = 1 + 4;
constexpr std::uint64_t kEvaluationBytes = 8 + 4 + 32;
constexpr std::uint64_t kOpenEvaluationBytes = 8 + kTaskBytes;
constexpr std::uint64_t kProjectBytes = 142;
constexpr std::uint64_t kProviderBytes = 109;
constexpr std::uint64_t kLeaseBytes = 66;
constexpr std::uint32_t kFailureBytesMax = 64u << 10;

void PutTask(WireWriter& out, const TaskState& task) {
  out.Bool(task.done);
  out.U32(task.failures);
  if (!task.done) return;
  out.Put(task.update);
  out.Put(task.metrics);
}

TaskState GetTask(WireReader& in) {
  TaskState task;
  task.done = in.Bool();
  task.failures = in.U32();
  if (task.done) {
    in.Get(&task.update);
    in.Get(&task.metrics);
  }
  return task;
}

void PutStopping(WireWriter& out, const Project& project) {
  out.Bool(project.config.stopping.has_value());
  if (!project.config.stopping) return;
  out.Put(*project.config.stopping);
  out.U32(project.best.epochs);
  out.U32(project.best.best);
  out.Put(project.best_metrics);
  out.Put(project.epoch_metrics);
}

void GetStopping(WireReader& in, Project* project) {
  if (!in.Bool()) return;
  in.Get(&project->config.stopping.emplace());
  project->best.epochs = in.U32();
  project->best.best = in.U32();
  in.Get(&project->best_metrics);
  in.Get(&project->epoch_metrics);
}

void PutProject(WireWriter& out, const Project& project) {
  out.Put(project.id);
  out.Put(project.config);
  out.U8(static_cast<std::uint8_t>(project.phase));
  out.Put(project.submitted);
  out.Put(project.ended);
  out.Put(project.failure);
  out.U64(project.step);
  out.Put(project.weights);
  out.Put(project.step_started);
  out.U64(project.tasks.size());
  for (const TaskState& task : project.tasks) PutTask(out, task);
  out.U64(project.open_evaluations.size());
  for (const auto& [version, task] : project.open_evaluations) {
    out.U64(version);
    PutTask(out, task);
  }
  out.U64(project.evaluations.size());
  for (const EvaluationView& evaluation : project.evaluations) {
    out.U64(evaluation.version);
    out.U32(evaluation.epochs);
    out.Put(evaluation.metrics);
  }
  out.Bool(project.last_step.has_value());
  if (project.last_step) {
    out.U64(project.last_step->step);
    out.Put(project.last_step->metrics);
    out.Put(project.last_step->started);
    out.Put(project.last_step->closed);
  }
  out.U64(project.us_per_1024_samples);
}

// Of version 1: without its stopping rule.
Project GetProject(WireReader& in) {
  Project project;
  in.Get(&project.id);
  in.Get(&project.config);
  project.phase =
      static_cast<ProjectPhase>(in.U8AtMost(static_cast<std::uint8_t>(ProjectPhase::kFailed)));
  in.Get(&project.submitted);
  in.Get(&project.ended);
  in.Get(&project.failure, kFailureBytesMax);
  project.step = in.U64();
  in.Get(&project.weights);
  in.Get(&project.step_started);
  const std::uint64_t tasks = in.Count(kTaskBytes);
  for (std::uint64_t i = 0; i < tasks && in.ok(); ++i) project.tasks.push_back(GetTask(in));
  const std::uint64_t open = in.Count(kOpenEvaluationBytes);
  for (std::uint64_t i = 0; i < open && in.ok(); ++i) {
    const std::uint64_t version = in.U64();
    project.open_evaluations[version] = GetTask(in);
  }
  const std::uint64_t known = in.Count(kEvaluationBytes);
  for (std::uint64_t i = 0; i < known && in.ok(); ++i) {
    EvaluationView evaluation;
    evaluation.version = in.U64();
    evaluation.epochs = in.U32();
    in.Get(&evaluation.metrics);
    project.evaluations.push_back(evaluation);
  }
  if (in.Bool()) {
    StepView& step = project.last_step.emplace();
    step.step = in.U64();
    in.Get(&step.metrics);
    in.Get(&step.started);
    in.Get(&step.closed);
  }
  project.us_per_1024_samples = in.U64();
  return project;
}

void PutProvider(WireWriter& out, const Provider& provider) {
  out.Put(provider.id);
  out.U64(provider.tasks_accepted);
  out.U64(provider.samples_accepted);
  out.U64(provider.results_refused);
  out.U64(provider.us_per_1000_samples);
  out.Put(provider.last_seen);
  out.U32(provider.failures);
  out.Put(provider.backoff_until);
  out.Put(provider.accepted_lease);
  out.Put(provider.accepted_update);
  out.Put(provider.ended_lease);
  out.U8(static_cast<std::uint8_t>(provider.ended_how));
}

Provider GetProvider(WireReader& in) {
  Provider provider;
  in.Get(&provider.id);
  provider.tasks_accepted = in.U64();
  provider.samples_accepted = in.U64();
  provider.results_refused = in.U64();
  provider.us_per_1000_samples = in.U64();
  in.Get(&provider.last_seen);
  provider.failures = in.U32();
  in.Get(&provider.backoff_until);
  in.Get(&provider.accepted_lease);
  in.Get(&provider.accepted_update);
  in.Get(&provider.ended_lease);
  provider.ended_how =
      static_cast<LeaseEnd>(in.U8AtMost(static_cast<std::uint8_t>(LeaseEnd::kRefused)));
  return provider;
}

void PutLease(WireWriter& out, const Lease& lease) {
  out.Put(lease.id);
  out.Put(lease.provider);
  out.Put(lease.project);
  out.U8(static_cast<std::uint8_t>(lease.task.kind));
  out.U64(lease.task.key);
  out.Bool(lease.backup);
  out.Put(lease.granted);
  out.Put(lease.expires);
  out.Put(lease.backup_from);
  out.U64(lease.samples_done);
}

Lease GetLease(WireReader& in) {
  Lease lease;
  in.Get(&lease.id);
  in.Get(&lease.provider);
  in.Get(&lease.project);
  lease.task.kind =
      static_cast<TaskKind>(in.U8AtMost(static_cast<std::uint8_t>(TaskKind::kEvaluate)));
  lease.task.key = in.U64();
  lease.backup = in.Bool();
  in.Get(&lease.granted);
  in.Get(&lease.expires);
  in.Get(&lease.backup_from);
  lease.samples_done = in.U64();
  return lease;
}

std::uint32_t VersionOf(const Scheduler::State& state) {
  const bool any = std::any_of(state.projects.begin(), state.projects.end(), [](const auto& entry) {
    return entry.second.config.stopping.has_value();
  });
  return any ? 2 : 1;
}

Error Corrupt(const std::string& what) {
  return {ErrorCode::kCorrupt, "scheduler snapshot: " + what +
                                   ": take an older snapshot, or replay the events from the start"};
}

// Entries come in ascending order of their ids, each once.
template <typename Map, typename Get>
void GetMap(WireReader& in, std::uint64_t entry_bytes, Get get, Map* map, bool* in_order) {
  const std::uint64_t count = in.Count(entry_bytes);
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
    auto entry = get(in);
    if (!map->empty() && entry.id <= map->rbegin()->first) *in_order = false;
    const auto id = entry.id;
    map->emplace(id, std::move(entry));
  }
}

}  // namespace

Bytes Scheduler::Snapshot() const {
  const std::uint32_t version = VersionOf(*state_);
  WireWriter out;
  for (const char c : kMagic) out.U8(static_cast<std::uint8_t>(c));
  out.U32(version);
  out.Put(state_->now);
  out.U64(state_->next_lease);
  out.U64(state_->projects.size());
  for (const auto& [id, project] : state_->projects) {
    PutProject(out, project);
    if (version >= 2) PutStopping(out, project);
  }
  out.U64(state_->providers.size());
  for (const auto& [id, provider] : state_->providers) PutProvider(out, provider);
  out.U64(state_->leases.size());
  for (const auto& [id, lease] : state_->leases) PutLease(out, lease);
  out.Put(Sha256(out.bytes()));
  return std::move(out).Take();
}

Result<Scheduler> Scheduler::Restore(ByteSpan snapshot, const SchedulerOptions& options) {
  const std::size_t head_bytes = kMagic.size() + sizeof(std::uint32_t);
  if (snapshot.size() < head_bytes + kChecksumBytes ||
      AsText(snapshot.first(kMagic.size())) != kMagic) {
    return Corrupt(std::to_string(snapshot.size()) + " bytes that are not a snapshot");
  }
  const std::uint32_t version = WireReader(snapshot.subspan(kMagic.size())).U32();
  if (version > kFormatVersion) {
    return Error{ErrorCode::kUnsupported, "scheduler snapshot: format version " +
                                              std::to_string(version) + ", this program knows " +
                                              std::to_string(kFormatVersion) +
                                              ": it was written by a later version"};
  }
  const ByteSpan body = snapshot.first(snapshot.size() - kChecksumBytes);
  Digest checksum;
  WireReader(snapshot.last(kChecksumBytes)).Get(&checksum);
  if (version == 0 || Sha256(body) != checksum) return Corrupt("the checksum is wrong");

  Scheduler scheduler(options);
  State& state = *scheduler.state_;
  WireReader in(body.subspan(head_bytes));
  bool in_order = true;
  in.Get(&state.now);
  state.next_lease = in.U64();
  const auto get_project = [version](WireReader& from) {
    Project project = GetProject(from);
    if (version >= 2) GetStopping(from, &project);
    return project;
  };
  GetMap(in, kProjectBytes, get_project, &state.projects, &in_order);
  GetMap(in, kProviderBytes, GetProvider, &state.providers, &in_order);
  GetMap(in, kLeaseBytes, GetLease, &state.leases, &in_order);
  if (!in.AtEnd()) return Corrupt("a field is out of range, or the bytes end too early or late");
  if (!in_order) return Corrupt("an id is out of order");
  if (VersionOf(state) != version) return Corrupt("it is not written as such a state is");
  // Looked at before anything is derived: derivation follows the references.
  if (std::string violation = state.FindViolation(false); !violation.empty()) {
    return Corrupt(violation);
  }
  state.Derive();
  return scheduler;
}

}  // namespace dnc::sched
