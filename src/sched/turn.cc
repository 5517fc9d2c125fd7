#include "sched/turn.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"

namespace dnc::sched {

namespace {

// A provider's text, cut between two characters of UTF-8.
std::string CutReason(const std::string& text) {
  if (text.size() <= kReasonBytesMax) return text;
  std::size_t size = kReasonBytesMax;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;
  return text.substr(0, size);
}

std::string Explain(LeaseEnd how, const SchedulerOptions& options) {
  switch (how) {
    case LeaseEnd::kExpired:
      return "the lease expired: it was not renewed for " +
             std::to_string(options.lease_silence_max.milliseconds()) +
             " ms, and the task was given to others";
    case LeaseEnd::kSuperseded:
      return "the task is done: another provider's result counted first";
    case LeaseEnd::kProjectOver:
      return "the project is over";
    case LeaseEnd::kReplaced:
      return "the lease ended when its provider asked for another";
    case LeaseEnd::kReleased:
      return "the lease was given back before";
    case LeaseEnd::kRefused:
      return "the lease ended when its result was refused";
  }
  return {};
}

std::uint64_t AddSaturated(std::uint64_t a, std::uint64_t b) {
  return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

std::int64_t AddSaturated(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return a < 0 ? INT64_MIN : INT64_MAX;
}

void AddTo(Metrics* sum, const Metrics& part) {
  sum->samples = AddSaturated(sum->samples, part.samples);
  sum->loss_sum_micro = AddSaturated(sum->loss_sum_micro, part.loss_sum_micro);
  sum->correct = AddSaturated(sum->correct, part.correct);
  sum->compute_us = AddSaturated(sum->compute_us, part.compute_us);
}

Metrics SumOfTasks(const Project& project) {
  Metrics sum;
  for (const TaskState& task : project.tasks) AddTo(&sum, task.metrics);
  return sum;
}

}  // namespace

bool AwaitsFold(const Project& project) {
  return IsLive(project.phase) && !project.tasks.empty() &&
         project.tasks_done == project.tasks.size();
}

FoldStep MakeFold(const Project& project) {
  DNC_ASSERT(AwaitsFold(project));
  FoldStep fold{project.id, project.step, {}};
  fold.inputs.reserve(project.tasks.size());
  const std::uint32_t first = FirstTaskOfStep(project.config, project.step);
  for (std::size_t i = 0; i < project.tasks.size(); ++i) {
    const TaskState& task = project.tasks[i];
    fold.inputs.push_back(
        {first + static_cast<std::uint32_t>(i), task.update, task.metrics.samples});
  }
  return fold;
}

void Turn::Run(Instant now, const Event& event) {
  s_.now = std::max(s_.now, std::min(now, kInstantMax));
  FireTimers();
  std::visit([this](const auto& e) { Handle(e); }, event);
  // Asked once for the whole turn, on behalf of a provider that nobody knows yet.
  if (wake_ && s_.ChooseWork(s_.now, ProviderId{})) effects_.emplace_back(WorkAvailable{});
}

void Turn::FireTimers() {
  // Each timer fires once, so a moment wakes the waiting providers at most once.
  while (!s_.timers.empty() && s_.timers.begin()->at <= s_.now) {
    const Timer timer = *s_.timers.begin();
    s_.timers.erase(s_.timers.begin());
    wake_ = true;
    if (timer.kind == TimerKind::kLeaseExpires) EndLease(LeaseId{timer.id}, LeaseEnd::kExpired);
  }
}

// ---- Projects.

void Turn::Handle(const ProjectSubmitted& event) {
  if (!event.project || !CheckConfig(event.config).ok()) return;
  const auto [it, added] = s_.projects.emplace(event.project, Project{});
  if (!added) return;
  Project& project = it->second;
  project.id = event.project;
  project.config = event.config;
  project.submitted = s_.now;
  s_.live.insert(project.id);
  OpenStep(project);
}

void Turn::Handle(const ProjectPaused& event) {
  Project* project = s_.FindProject(event.project);
  if (project == nullptr || project->phase != ProjectPhase::kRunning) return;
  project->phase = ProjectPhase::kPaused;
}

void Turn::Handle(const ProjectResumed& event) {
  Project* project = s_.FindProject(event.project);
  if (project == nullptr || project->phase != ProjectPhase::kPaused) return;
  project->phase = ProjectPhase::kRunning;
  wake_ = true;
}

void Turn::Handle(const ProjectCancelled& event) {
  Project* project = s_.FindProject(event.project);
  if (project == nullptr || !IsLive(project->phase)) return;
  EndProject(*project, ProjectPhase::kCancelled);
}

void Turn::Handle(const StepFolded& event) {
  Project* project = s_.FindProject(event.project);
  if (project == nullptr || !AwaitsFold(*project) || event.step != project->step) return;
  project->last_step = StepView{.step = project->step,
                                .metrics = SumOfTasks(*project),
                                .started = project->step_started,
                                .closed = s_.now};
  project->weights = event.weights;
  ++project->step;
  const bool epoch_ended = project->step % StepsPerEpoch(project->config) == 0;
  if (WatchesTraining(project->config)) {
    AddTo(&project->epoch_metrics, project->last_step->metrics);
    if (epoch_ended) CountEpoch(*project, std::exchange(project->epoch_metrics, {}));
  }
  if (epoch_ended && project->config.validation_samples > 0) {
    project->open_evaluations.emplace(project->step, TaskState{});
    project->unleased.insert({TaskKind::kEvaluate, project->step});
    wake_ = true;
  }
  OpenStep(*project);
  FinishIfComplete(*project);
}

void Turn::OpenStep(Project& project) {
  project.tasks.assign(OpenTaskCount(project), TaskState{});
  project.tasks_done = 0;
  project.step_started = s_.now;
  for (std::uint64_t i = 0; i < project.tasks.size(); ++i) {
    project.unleased.insert({TaskKind::kTrain, i});
  }
  wake_ = true;
}

void Turn::CountEpoch(Project& project, const Metrics& figures) {
  project.best.Add(project.best.epochs > 0 &&
                   IsBetterEpoch(*project.config.stopping, figures, project.best_metrics));
  if (project.best.best == project.best.epochs) project.best_metrics = figures;
}

void Turn::FinishIfComplete(Project& project) {
  if (TrainingIsOver(project) && project.open_evaluations.empty()) {
    EndProject(project, ProjectPhase::kFinished);
  }
}

void Turn::EndProject(Project& project, ProjectPhase phase) {
  project.phase = phase;
  project.ended = s_.now;
  s_.live.erase(project.id);
  RevokeAll({project.leases.begin(), project.leases.end()}, LeaseEnd::kProjectOver,
            phase == ProjectPhase::kCancelled ? "the project was cancelled"
                                              : Explain(LeaseEnd::kProjectOver, s_.options));
  effects_.emplace_back(ProjectEnded{project.id, phase});
}

// ---- Leases.

void Turn::Handle(const LeaseRequested& event) {
  if (!event.provider) return;
  if (!s_.providers.contains(event.provider)) ForgetSilentProviders();
  Provider& provider = s_.providers[event.provider];
  provider.id = event.provider;
  provider.last_seen = s_.now;
  // It would not ask while it works: it was restarted, or never heard of the grant.
  if (provider.lease) {
    EndLease(provider.lease, LeaseEnd::kReplaced);
    wake_ = true;
  }
  if (const auto choice = s_.ChooseWork(s_.now, provider.id)) {
    Grant(provider, *choice);
  } else {
    effects_.emplace_back(NoWork{provider.id});
  }
}

void Turn::ForgetSilentProviders() {
  std::erase_if(s_.providers, [this](const auto& entry) {
    const Provider& provider = entry.second;
    const bool forget =
        !provider.lease && s_.now - provider.last_seen >= s_.options.provider_silence_max;
    if (forget) {
      s_.timers.erase({provider.backoff_until, TimerKind::kBackoffEnds, provider.id.value});
    }
    return forget;
  });
}

Duration Turn::BackupDelay(const Project& project, TaskRef task) const {
  Duration delay = s_.options.backup_delay_unknown;
  if (project.us_per_1024_samples != 0) {
    const std::uint64_t expected =
        MulDiv(project.us_per_1024_samples, SamplesOf(project, task), 1024);
    const std::uint64_t us = MulDiv(expected, 3, 2);
    delay = Duration::Microseconds(static_cast<std::int64_t>(
        std::min(us, static_cast<std::uint64_t>(Duration::Minutes(60).us))));
    delay = std::max(delay, s_.options.backup_delay_min);
  }
  return std::max(delay, Duration::Microseconds(1));
}

void Turn::Grant(Provider& provider, const Scheduler::State::Choice& choice) {
  Project& project = s_.projects.at(choice.project);
  Lease lease{.id = {s_.next_lease++},
              .provider = provider.id,
              .project = project.id,
              .task = choice.task,
              .backup = choice.backup,
              .granted = s_.now,
              .expires = s_.now + std::max(s_.options.lease_silence_max, Duration{1}),
              .backup_from = s_.now + BackupDelay(project, choice.task)};
  s_.timers.insert({lease.expires, TimerKind::kLeaseExpires, lease.id.value});
  s_.timers.insert({lease.backup_from, TimerKind::kBackupPossible, lease.id.value});
  s_.leases.emplace(lease.id, lease);
  s_.TaskOf(lease).leases.push_back(lease.id);
  project.leases.insert(lease.id);
  project.unleased.erase(lease.task);
  provider.lease = lease.id;
  effects_.emplace_back(GrantLease{.provider = provider.id,
                                   .lease = lease.id,
                                   .task = MakeTask(project, lease.task),
                                   .backup = lease.backup,
                                   .deadline = lease.expires});
}

void Turn::Detach(const Lease& lease) {
  Project& project = s_.projects.at(lease.project);
  TaskState& task = s_.TaskOf(lease);
  std::erase(task.leases, lease.id);
  project.leases.erase(lease.id);
  if (!task.done && task.leases.empty()) project.unleased.insert(lease.task);
  // A place among the contributors is free.
  if (project.config.contributors_max != 0) wake_ = true;
  s_.timers.erase({lease.expires, TimerKind::kLeaseExpires, lease.id.value});
  s_.timers.erase({lease.backup_from, TimerKind::kBackupPossible, lease.id.value});
  s_.providers.at(lease.provider).lease = {};
  const LeaseId id = lease.id;
  s_.leases.erase(id);  // Last: `lease` is what is erased.
}

void Turn::EndLease(LeaseId id, LeaseEnd how) {
  const Lease& lease = s_.leases.at(id);
  Provider& provider = s_.providers.at(lease.provider);
  provider.ended_lease = id;
  provider.ended_how = how;
  Detach(lease);
}

void Turn::RevokeAll(std::vector<LeaseId> leases, LeaseEnd how, const std::string& reason) {
  for (const LeaseId id : leases) {
    const ProviderId provider = s_.leases.at(id).provider;
    EndLease(id, how);
    effects_.emplace_back(RevokeLease{provider, id, reason});
  }
}

const Lease* Turn::OwnLease(ProviderId provider, LeaseId lease, std::string* reason) {
  Provider* known = s_.FindProvider(provider);
  if (known == nullptr) {
    *reason = "the provider is not known: it must ask for a lease first";
    return nullptr;
  }
  known->last_seen = s_.now;
  if (lease && known->lease == lease) return &s_.leases.at(lease);
  if (lease && known->ended_lease == lease) {
    *reason = Explain(known->ended_how, s_.options);
  } else if (lease && known->accepted_lease == lease) {
    *reason = "the task is done: this lease's result counted";
  } else if (s_.leases.contains(lease)) {
    *reason = "the lease belongs to another provider";
  } else {
    *reason = "the lease is not current";
  }
  return nullptr;
}

void Turn::Answered(ProviderId provider, LeaseId lease, bool accepted, std::string reason) {
  effects_.emplace_back(Answer{provider, lease, accepted, std::move(reason)});
}

void Turn::Refuse(Provider& provider, LeaseId lease, std::string reason) {
  ++provider.results_refused;
  Answered(provider.id, lease, false, std::move(reason));
}

void Turn::Handle(const LeaseRenewed& event) {
  std::string reason;
  const Lease* found = OwnLease(event.provider, event.lease, &reason);
  if (found == nullptr) return Answered(event.provider, event.lease, false, std::move(reason));
  Lease& lease = s_.leases.at(found->id);
  s_.timers.erase({lease.expires, TimerKind::kLeaseExpires, lease.id.value});
  lease.expires = s_.now + std::max(s_.options.lease_silence_max, Duration{1});
  s_.timers.insert({lease.expires, TimerKind::kLeaseExpires, lease.id.value});
  const std::uint64_t samples = SamplesOf(s_.projects.at(lease.project), lease.task);
  lease.samples_done = std::max(lease.samples_done, std::min(event.samples_done, samples));
  Answered(event.provider, event.lease, true);
}

void Turn::Handle(const LeaseReleased& event) {
  std::string reason;
  const Lease* found = OwnLease(event.provider, event.lease, &reason);
  if (found == nullptr) return Answered(event.provider, event.lease, false, std::move(reason));
  Answered(event.provider, event.lease, true);
  wake_ = true;
  const Lease lease = *found;
  if (event.failed) {
    BackOff(s_.providers.at(lease.provider));
    EndLease(lease.id, LeaseEnd::kReleased);
    CountFailure(lease, event.reason);
  } else {
    EndLease(lease.id, LeaseEnd::kReleased);
  }
}

void Turn::BackOff(Provider& provider) {
  if (provider.backoff_until > s_.now) {
    s_.timers.erase({provider.backoff_until, TimerKind::kBackoffEnds, provider.id.value});
  }
  const std::uint32_t doublings = std::min<std::uint32_t>(provider.failures, 6);
  if (provider.failures < UINT32_MAX) ++provider.failures;
  provider.backoff_until = s_.now + s_.options.failure_backoff * (std::int64_t{1} << doublings);
  if (provider.backoff_until > s_.now) {
    s_.timers.insert({provider.backoff_until, TimerKind::kBackoffEnds, provider.id.value});
  }
}

// `lease` has ended. Its task may be the one too many for the project.
void Turn::CountFailure(const Lease& lease, const std::string& reason) {
  TaskState& task = s_.TaskOf(lease);
  if (++task.failures < s_.options.task_failures_max) return;
  Project& project = s_.projects.at(lease.project);
  const Task whole = MakeTask(project, lease.task);
  project.failure = CutReason(
      (whole.kind == TaskKind::kTrain
           ? "task " + std::to_string(whole.task_index) + " of epoch " + std::to_string(whole.epoch)
           : "the evaluation of version " + std::to_string(whole.version)) +
      " failed " + std::to_string(task.failures) + " times, last with: " + reason);
  EndProject(project, ProjectPhase::kFailed);
}

// ---- Results.

void Turn::Handle(const ResultSubmitted& event) {
  Provider* provider = s_.FindProvider(event.provider);
  if (provider != nullptr && event.lease && provider->accepted_lease == event.lease) {
    provider->last_seen = s_.now;
    // The answer to the first was lost, so it is given again.
    if (provider->accepted_update == event.update) {
      return Answered(event.provider, event.lease, true);
    }
    return Refuse(*provider, event.lease, "another result of this lease counted before");
  }
  std::string reason;
  const Lease* found = OwnLease(event.provider, event.lease, &reason);
  if (found == nullptr) {
    if (provider != nullptr) return Refuse(*provider, event.lease, std::move(reason));
    return Answered(event.provider, event.lease, false, std::move(reason));
  }
  const Lease lease = *found;
  const std::uint64_t samples = SamplesOf(s_.projects.at(lease.project), lease.task);
  if (event.metrics.samples != samples || event.metrics.correct > samples) {
    reason = "the result is of " + std::to_string(event.metrics.samples) + " samples, " +
             std::to_string(event.metrics.correct) + " of them correct, but the task has " +
             std::to_string(samples);
    BackOff(*provider);
    EndLease(lease.id, LeaseEnd::kRefused);
    Refuse(*provider, lease.id, reason);
    wake_ = true;
    return CountFailure(lease, reason);
  }
  Count(*provider, lease, event.metrics, event.update);
  Answered(event.provider, event.lease, true);
  CloseTask(lease, event);
}

void Turn::Count(Provider& provider, const Lease& lease, const Metrics& metrics,
                 const Digest& update) {
  ++provider.tasks_accepted;
  provider.samples_accepted = AddSaturated(provider.samples_accepted, metrics.samples);
  provider.failures = 0;
  provider.accepted_lease = lease.id;
  provider.accepted_update = update;
  if (metrics.compute_us != 0) {
    provider.us_per_1000_samples =
        std::max<std::uint64_t>(1, MulDiv(metrics.compute_us, 1000, metrics.samples));
  }
  if (lease.task.kind != TaskKind::kTrain) return;
  // The server's own measure, so that no provider's report shortens another's time.
  Project& project = s_.projects.at(lease.project);
  const auto elapsed = static_cast<std::uint64_t>((s_.now - lease.granted).us);
  const std::uint64_t sample_us =
      std::clamp<std::uint64_t>(MulDiv(elapsed, 1024, metrics.samples), 1, std::uint64_t{1} << 40);
  std::uint64_t& mean = project.us_per_1024_samples;
  mean = mean == 0 ? sample_us : std::max<std::uint64_t>(1, (mean * 7 + sample_us) / 8);
}

void Turn::CloseTask(const Lease& lease, const ResultSubmitted& event) {
  Project& project = s_.projects.at(lease.project);
  TaskState& task = s_.TaskOf(lease);
  task.done = true;
  task.update = event.update;
  task.metrics = event.metrics;
  Detach(s_.leases.at(lease.id));
  RevokeAll(task.leases, LeaseEnd::kSuperseded, Explain(LeaseEnd::kSuperseded, s_.options));
  if (lease.task.kind == TaskKind::kTrain) {
    if (++project.tasks_done == project.tasks.size()) effects_.emplace_back(MakeFold(project));
    return;
  }
  const std::uint64_t version = lease.task.key;
  project.open_evaluations.erase(version);
  const auto place =
      std::find_if(project.evaluations.begin(), project.evaluations.end(),
                   [&](const EvaluationView& view) { return view.version > version; });
  project.evaluations.insert(
      place, {.version = version,
              .epochs = static_cast<std::uint32_t>(version / StepsPerEpoch(project.config)),
              .metrics = event.metrics});
  effects_.emplace_back(VersionEvaluated{project.id, version, event.metrics});
  if (WatchesValidation(project.config)) {
    CountEpoch(project, event.metrics);
    OpenStep(project);  // It waited for this.
  }
  FinishIfComplete(project);
}

}  // namespace dnc::sched
