#include "sched/state.h"

#include <algorithm>

#include "base/assert.h"

namespace dnc::sched {

using uint128 = unsigned __int128;
using int128 = __int128;

std::uint64_t MulDiv(std::uint64_t a, std::uint64_t b, std::uint64_t c) {
  DNC_ASSERT(c != 0);
  const uint128 result = static_cast<uint128>(a) * b / c;
  return result > UINT64_MAX ? UINT64_MAX : static_cast<std::uint64_t>(result);
}

Status CheckConfig(const ProjectConfig& config) {
  const auto refuse = [](std::string message) {
    return Status(Error{ErrorCode::kInvalidArgument, std::move(message)});
  };
  const auto number = [](std::uint64_t n) { return std::to_string(n); };
  if (config.train_samples == 0) {
    return refuse("train_samples is 0: the training split of the data is empty");
  }
  if (config.train_samples > kSamplesMax || config.validation_samples > kSamplesMax) {
    return refuse("train_samples " + number(config.train_samples) + ", validation_samples " +
                  number(config.validation_samples) + ": at most " + number(kSamplesMax));
  }
  if (config.epochs == 0) return refuse("epochs is 0: at least 1 is needed");
  if (config.total_tasks == 0) return refuse("total_tasks is 0: at least 1 is needed");
  if (config.total_tasks > config.train_samples) {
    return refuse("total_tasks is " + number(config.total_tasks) + ", but there are only " +
                  number(config.train_samples) + " training samples: a task needs at least one");
  }
  if (config.task_size == 0) return refuse("task_size is 0: at least 1 is needed");
  if (config.task_size > config.total_tasks) {
    return refuse("task_size is " + number(config.task_size) + ", but total_tasks is " +
                  number(config.total_tasks) + ": a step has at most the tasks of an epoch");
  }
  if (config.task_size > kTaskSizeMax) {
    return refuse("task_size is " + number(config.task_size) + ": at most " + number(kTaskSizeMax));
  }
  if (!config.stopping) return {};
  if (config.stopping->min_delta_nano > kMinDeltaNanoMax) {
    return refuse("min_delta is " + number(config.stopping->min_delta_nano) +
                  " billionths: at most " + number(kMinDeltaNanoMax));
  }
  if (WatchesValidation(config) && config.validation_samples == 0) {
    return refuse(std::string("early stopping watches ") + MonitorName(config.stopping->monitor) +
                  ", but there is no validation split");
  }
  return {};
}

// ---- Stopping early.

bool WatchesTraining(const ProjectConfig& config) {
  return config.stopping && !NeedsValidation(config.stopping->monitor);
}

bool WatchesValidation(const ProjectConfig& config) {
  return config.stopping && NeedsValidation(config.stopping->monitor);
}

bool IsBetterEpoch(const StoppingRule& rule, const Metrics& figures, const Metrics& best) {
  // Both sides times samples * 10^9, so that nothing is rounded.
  constexpr int128 kNano = 1'000'000'000;
  constexpr int128 kNanoOfMicro = 1'000;
  DNC_ASSERT(figures.samples == best.samples);
  const int128 min_delta = static_cast<int128>(rule.min_delta_nano) * figures.samples;
  if (IsLoss(rule.monitor)) {
    return IsBetter(rule.monitor, kNanoOfMicro * figures.loss_sum_micro,
                    kNanoOfMicro * best.loss_sum_micro, min_delta);
  }
  return IsBetter(rule.monitor, kNano * figures.correct, kNano * best.correct, min_delta);
}

bool OutOfPatience(const Project& project) {
  return project.config.stopping && project.best.OutOfPatience(project.config.stopping->patience);
}

bool TrainingIsOver(const Project& project) {
  return project.step == StepsTotal(project.config) || OutOfPatience(project);
}

bool AwaitsVerdict(const Project& project) {
  return WatchesValidation(project.config) && !project.open_evaluations.empty();
}

std::uint32_t OpenTaskCount(const Project& project) {
  return TrainingIsOver(project) || AwaitsVerdict(project)
             ? 0
             : TaskCountOfStep(project.config, project.step);
}

std::uint64_t StepsPerEpoch(const ProjectConfig& config) {
  return (std::uint64_t{config.total_tasks} + config.task_size - 1) / config.task_size;
}

std::uint64_t StepsTotal(const ProjectConfig& config) {
  return config.epochs * StepsPerEpoch(config);
}

std::uint32_t FirstTaskOfStep(const ProjectConfig& config, std::uint64_t step) {
  return static_cast<std::uint32_t>(step % StepsPerEpoch(config) * config.task_size);
}

std::uint32_t TaskCountOfStep(const ProjectConfig& config, std::uint64_t step) {
  return std::min(config.task_size, config.total_tasks - FirstTaskOfStep(config, step));
}

Task MakeTask(const Project& project, TaskRef ref) {
  const ProjectConfig& config = project.config;
  Task task{.project = project.id, .kind = ref.kind};
  if (ref.kind == TaskKind::kEvaluate) {
    task.version = ref.key;
    task.epoch = static_cast<std::uint32_t>(ref.key / StepsPerEpoch(config));
    task.end = config.validation_samples;
    return task;
  }
  task.version = project.step;
  task.epoch = static_cast<std::uint32_t>(project.step / StepsPerEpoch(config));
  task.task_index = FirstTaskOfStep(config, project.step) + static_cast<std::uint32_t>(ref.key);
  task.begin = MulDiv(task.task_index, config.train_samples, config.total_tasks);
  task.end = MulDiv(std::uint64_t{task.task_index} + 1, config.train_samples, config.total_tasks);
  return task;
}

std::uint64_t SamplesOf(const Project& project, TaskRef ref) {
  const Task task = MakeTask(project, ref);
  return task.end - task.begin;
}

Project* Scheduler::State::FindProject(ProjectId id) {
  const auto it = projects.find(id);
  return it == projects.end() ? nullptr : &it->second;
}

Provider* Scheduler::State::FindProvider(ProviderId id) {
  const auto it = providers.find(id);
  return it == providers.end() ? nullptr : &it->second;
}

TaskState& Scheduler::State::TaskOf(const Lease& lease) {
  Project& project = projects.at(lease.project);
  return lease.task.kind == TaskKind::kTrain ? project.tasks.at(lease.task.key)
                                             : project.open_evaluations.at(lease.task.key);
}

void Scheduler::State::Derive() {
  live.clear();
  timers.clear();
  for (auto& [id, project] : projects) {
    if (IsLive(project.phase)) live.insert(id);
    project.leases.clear();
    project.unleased.clear();
    project.tasks_done = 0;
    for (TaskState& task : project.tasks) {
      task.leases.clear();
      if (task.done) ++project.tasks_done;
    }
    for (auto& [version, task] : project.open_evaluations) task.leases.clear();
  }
  for (auto& [id, provider] : providers) {
    provider.lease = {};
    if (provider.backoff_until > now) {
      timers.insert({provider.backoff_until, TimerKind::kBackoffEnds, id.value});
    }
  }
  for (const auto& [id, lease] : leases) {
    projects.at(lease.project).leases.insert(id);
    providers.at(lease.provider).lease = id;
    TaskOf(lease).leases.push_back(id);
    timers.insert({lease.expires, TimerKind::kLeaseExpires, id.value});
    if (lease.backup_from > now) {
      timers.insert({lease.backup_from, TimerKind::kBackupPossible, id.value});
    }
  }
  for (auto& [id, project] : projects) {
    for (std::uint64_t i = 0; i < project.tasks.size(); ++i) {
      const TaskState& task = project.tasks[i];
      if (!task.done && task.leases.empty()) project.unleased.insert({TaskKind::kTrain, i});
    }
    for (const auto& [version, task] : project.open_evaluations) {
      if (task.leases.empty()) project.unleased.insert({TaskKind::kEvaluate, version});
    }
  }
}

namespace {

bool InRange(Instant t) { return t >= Instant{} && t <= kInstantMax; }

// How the epochs were counted, which must follow from the rest as far as it is kept.
std::string StoppingViolation(const Project& project) {
  const ProjectConfig& config = project.config;
  if (!config.stopping) {
    const bool none = project.best == BestSoFar{} && project.best_metrics == Metrics{} &&
                      project.epoch_metrics == Metrics{};
    return none ? "" : "epochs counted without a rule";
  }
  const StoppingRule& rule = *config.stopping;
  const std::uint64_t steps = StepsPerEpoch(config);
  const std::uint64_t epochs = project.step / steps;
  if (WatchesValidation(config)) {
    if (project.open_evaluations.size() > 1 ||
        (AwaitsVerdict(project) && project.open_evaluations.begin()->first != project.step)) {
      return "steps beyond an evaluation that was to be awaited";
    }
    // Counted again, it must come to the same.
    BestSoFar best;
    Metrics best_metrics;
    for (const EvaluationView& evaluation : project.evaluations) {
      if (best.epochs > 0 && best.OutOfPatience(rule.patience)) return "an epoch beyond the end";
      const bool better = best.epochs > 0 && IsBetterEpoch(rule, evaluation.metrics, best_metrics);
      best.Add(better);
      if (best.best == best.epochs) best_metrics = evaluation.metrics;
    }
    if (best != project.best || best_metrics != project.best_metrics ||
        project.epoch_metrics != Metrics{}) {
      return "epochs counted otherwise than their evaluations say";
    }
  } else {
    const std::uint64_t samples = project.best.epochs == 0 ? 0 : config.train_samples;
    const std::uint64_t open =
        MulDiv(FirstTaskOfStep(config, project.step), config.train_samples, config.total_tasks);
    if (project.best.epochs != epochs || project.best.best > project.best.epochs ||
        (project.best.best == 0) != (project.best.epochs == 0) ||
        project.best.epochs - project.best.best > std::max(rule.patience, 1u) ||
        project.best_metrics.samples != samples || project.best_metrics.correct > samples ||
        project.epoch_metrics.samples != open || project.epoch_metrics.correct > open) {
      return "epochs counted otherwise than their steps say";
    }
  }
  if (OutOfPatience(project) && project.step != project.best.epochs * steps) {
    return "steps beyond the early end";
  }
  return {};
}

// Of one project, alone.
std::string ProjectViolation(const Project& project, Instant now) {
  const ProjectConfig& config = project.config;
  if (!CheckConfig(config).ok()) return "a configuration that cannot be run";
  if (project.submitted > now || project.ended > now || project.step_started > now) {
    return "an instant in the future";
  }
  if (project.step > StepsTotal(config)) return "more steps than there are";
  if (project.tasks.size() != OpenTaskCount(project)) {
    return "an open step with another number of tasks";
  }
  if (project.last_step.has_value() != (project.step > 0)) return "a last step out of place";
  if (project.last_step && project.last_step->step + 1 != project.step) {
    return "a last step that is not the last";
  }
  for (std::size_t i = 0; i < project.tasks.size(); ++i) {
    const TaskState& task = project.tasks[i];
    if (task.done && task.metrics.samples != SamplesOf(project, {TaskKind::kTrain, i})) {
      return "a result with another number of samples than its task";
    }
  }
  // Every epoch that is folded has its evaluation, known or open.
  const std::uint64_t epochs = project.step / StepsPerEpoch(config);
  const std::uint64_t due = config.validation_samples == 0 ? 0 : epochs;
  if (project.evaluations.size() + project.open_evaluations.size() != due) {
    return "evaluations of other versions than the ends of its epochs";
  }
  std::uint64_t previous = 0;
  for (const EvaluationView& evaluation : project.evaluations) {
    if (evaluation.version <= previous || evaluation.version > project.step ||
        evaluation.version % StepsPerEpoch(config) != 0 ||
        evaluation.epochs != evaluation.version / StepsPerEpoch(config) ||
        evaluation.metrics.samples != config.validation_samples ||
        project.open_evaluations.contains(evaluation.version)) {
      return "an evaluation that does not fit";
    }
    previous = evaluation.version;
  }
  for (const auto& [version, task] : project.open_evaluations) {
    if (task.done || version == 0 || version > project.step ||
        version % StepsPerEpoch(config) != 0) {
      return "an open evaluation that does not fit";
    }
  }
  if (std::string violation = StoppingViolation(project); !violation.empty()) return violation;
  const bool complete = TrainingIsOver(project) && project.open_evaluations.empty();
  if (complete != (project.phase == ProjectPhase::kFinished)) {
    return "a phase that does not say whether it is finished";
  }
  return {};
}

std::string LeaseViolation(const Scheduler::State& state, const Lease& lease,
                           std::map<ProviderId, LeaseId>* holders) {
  if (!lease.id || lease.id.value >= state.next_lease) return "a lease never granted";
  if (!holders->emplace(lease.provider, lease.id).second) return "a provider with two leases";
  if (!state.providers.contains(lease.provider)) return "a lease of an unknown provider";
  const auto it = state.projects.find(lease.project);
  if (it == state.projects.end()) return "a lease in an unknown project";
  const Project& project = it->second;
  if (!IsLive(project.phase)) return "a lease in a project that is over";
  if (lease.task.kind == TaskKind::kTrain) {
    if (lease.task.key >= project.tasks.size() || project.tasks[lease.task.key].done) {
      return "a lease of a task that is done";
    }
  } else if (!project.open_evaluations.contains(lease.task.key)) {
    return "a lease of an evaluation that is done";
  }
  if (lease.samples_done > SamplesOf(project, lease.task)) return "more samples than the task has";
  if (!InRange(lease.granted) || lease.granted > state.now) return "a lease from the future";
  // A sum of an instant in range and an option may lie beyond kInstantMax.
  if (lease.expires <= state.now || lease.expires.us > INT64_MAX / 2 ||
      lease.backup_from < lease.granted || lease.backup_from.us > INT64_MAX / 2) {
    return "a lease with a deadline out of place";
  }
  return {};
}

std::string DerivedViolation(const Scheduler::State& state) {
  // Derived again from scratch, it must be the same.
  Scheduler::State again = state;
  again.Derive();
  if (again.live != state.live) return "the list of live projects is wrong";
  if (again.timers != state.timers) return "the timers are wrong";
  for (const auto& [id, project] : state.projects) {
    const Project& expected = again.projects.at(id);
    if (project.leases != expected.leases || project.unleased != expected.unleased ||
        project.tasks_done != expected.tasks_done) {
      return "a project's derived lists are wrong";
    }
    for (std::size_t i = 0; i < project.tasks.size(); ++i) {
      if (project.tasks[i].leases != expected.tasks[i].leases) return "a task's leases are wrong";
    }
    for (const auto& [version, task] : project.open_evaluations) {
      if (task.leases != expected.open_evaluations.at(version).leases) {
        return "an evaluation's leases are wrong";
      }
    }
  }
  for (const auto& [id, provider] : state.providers) {
    if (provider.lease != again.providers.at(id).lease) return "a provider's lease is wrong";
  }
  return {};
}

}  // namespace

std::string Scheduler::State::FindViolation(bool derived) const {
  if (!InRange(now)) return "a time out of range";
  if (next_lease == 0) return "lease numbers used up";
  for (const auto& [id, project] : projects) {
    if (!id || project.id != id) return "a project without an id";
    if (std::string violation = ProjectViolation(project, now); !violation.empty()) {
      return violation;
    }
  }
  for (const auto& [id, provider] : providers) {
    if (!id || provider.id != id) return "a provider without an id";
    if (provider.last_seen > now || !InRange(provider.last_seen) ||
        provider.backoff_until < Instant{} || provider.backoff_until.us > INT64_MAX / 2) {
      return "a provider's instant out of range";
    }
    if (provider.accepted_lease.value >= next_lease || provider.ended_lease.value >= next_lease) {
      return "a provider's lease never granted";
    }
  }
  std::map<ProviderId, LeaseId> holders;
  for (const auto& [id, lease] : leases) {
    if (lease.id != id) return "a lease without an id";
    if (std::string violation = LeaseViolation(*this, lease, &holders); !violation.empty()) {
      return violation;
    }
  }
  return derived ? DerivedViolation(*this) : std::string();
}

}  // namespace dnc::sched
