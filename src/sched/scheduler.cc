#include "sched/scheduler.h"

#include <algorithm>

#include "base/assert.h"
#include "sched/state.h"
#include "sched/turn.h"

namespace dnc::sched {
namespace {

std::uint64_t ModelVersion(const Project& project) {
  const auto& stopping = project.config.stopping;
  if (!stopping || !stopping->restore_best || project.best.best == 0) return project.step;
  return project.best.best * StepsPerEpoch(project.config);
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options) : state_(std::make_unique<State>()) {
  state_->options = options;
}
Scheduler::~Scheduler() = default;
Scheduler::Scheduler(Scheduler&&) noexcept = default;
Scheduler& Scheduler::operator=(Scheduler&&) noexcept = default;

void Scheduler::Apply(Instant now, const Event& event, std::vector<Effect>* effects) {
  Turn(state_.get(), effects).Run(now, event);
}

Instant Scheduler::next_deadline() const {
  return state_->timers.empty() ? Instant::Never() : state_->timers.begin()->at;
}

bool Scheduler::HasWorkFor(Instant now, ProviderId provider) const {
  const Instant at = std::max(state_->now, std::min(now, kInstantMax));
  return provider && state_->ChooseWork(at, provider).has_value();
}

void Scheduler::PendingEffects(std::vector<Effect>* effects) const {
  for (const ProjectId id : state_->live) {
    const Project& project = state_->projects.at(id);
    if (AwaitsFold(project)) effects->emplace_back(MakeFold(project));
  }
}

std::vector<ProjectId> Scheduler::projects() const {
  std::vector<ProjectId> ids;
  ids.reserve(state_->projects.size());
  for (const auto& [id, project] : state_->projects) ids.push_back(id);
  return ids;
}

std::optional<ProjectView> Scheduler::FindProject(ProjectId id) const {
  const auto it = state_->projects.find(id);
  if (it == state_->projects.end()) return std::nullopt;
  const Project& project = it->second;
  const ProjectConfig& config = project.config;
  const std::uint64_t total_tasks = config.total_tasks;
  std::uint64_t folded = project.step / StepsPerEpoch(config) * total_tasks;
  // The first task of the open step counts those of the steps before it.
  folded += FirstTaskOfStep(config, project.step);
  std::uint64_t leased = 0;
  for (const LeaseId lease : project.leases) {
    // Counted at the oldest lease of each task.
    if (state_->TaskOf(state_->leases.at(lease)).leases.front() == lease) ++leased;
  }
  return ProjectView{.project = id,
                     .config = config,
                     .phase = project.phase,
                     .version = project.step,
                     .steps_total = StepsTotal(config),
                     .weights = project.weights,
                     .tasks_done = folded + project.tasks_done,
                     .tasks_total = config.epochs * total_tasks,
                     .tasks_leased = leased,
                     .contributors = project.leases.size(),
                     .evaluations = project.evaluations,
                     .last_step = project.last_step,
                     .best = project.best,
                     .stopped_early = project.phase == ProjectPhase::kFinished &&
                                      project.step < StepsTotal(config),
                     .model_version = ModelVersion(project),
                     .submitted = project.submitted,
                     .ended = project.ended,
                     .failure = project.failure};
}

std::vector<ProviderView> Scheduler::providers() const {
  std::vector<ProviderView> views;
  views.reserve(state_->providers.size());
  for (const auto& [id, provider] : state_->providers) {
    ProviderView view;
    view.provider = id;
    view.tasks_accepted = provider.tasks_accepted;
    view.samples_accepted = provider.samples_accepted;
    view.results_refused = provider.results_refused;
    view.us_per_1000_samples = provider.us_per_1000_samples;
    view.last_seen = provider.last_seen;
    if (provider.lease) {
      const Lease& lease = state_->leases.at(provider.lease);
      view.project = lease.project;
      view.lease = lease.id;
      view.task = MakeTask(state_->projects.at(lease.project), lease.task);
      view.samples_done = lease.samples_done;
    }
    views.push_back(view);
  }
  return views;
}

Digest Scheduler::digest() const { return Sha256(Snapshot()); }

void Scheduler::CheckInvariants() const { DNC_ASSERT(state_->FindViolation(true).empty()); }

}  // namespace dnc::sched
