// What a provider is given: first a task that nobody has, then a backup of the lease
// that seems to end last. Projects with the fewest leases come first, then the oldest.

#include <algorithm>

#include "sched/state.h"

namespace dnc::sched {

namespace {

using uint128 = unsigned __int128;

class Chooser {
 public:
  Chooser(const Scheduler::State& state, Instant at, LeaseId own)
      : state_(state),
        at_(at),
        own_(own),
        some_gone_(own || (!state.timers.empty() && state.timers.begin()->at <= at)) {}

  std::optional<Scheduler::State::Choice> Choose() const {
    std::vector<std::pair<std::uint64_t, const Project*>> order;
    for (const ProjectId id : state_.live) {
      const Project& project = state_.projects.at(id);
      if (project.phase != ProjectPhase::kRunning) continue;
      const std::uint64_t active = ActiveLeases(project);
      const std::uint32_t limit = project.config.contributors_max;
      if (limit != 0 && active >= limit) continue;
      order.emplace_back(active, &project);
    }
    // Stable: the lower id first among equals.
    std::stable_sort(order.begin(), order.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (const auto& [active, project] : order) {
      if (const auto task = FreshTask(*project)) return {{project->id, *task, false}};
    }
    for (const auto& [active, project] : order) {
      if (const auto task = BackupTask(*project)) return {{project->id, *task, true}};
    }
    return std::nullopt;
  }

 private:
  bool IsGone(LeaseId id) const {
    return some_gone_ && (id == own_ || state_.leases.at(id).expires <= at_);
  }
  std::uint64_t CountActive(const std::vector<LeaseId>& leases) const {
    return static_cast<std::uint64_t>(
        std::count_if(leases.begin(), leases.end(), [&](LeaseId id) { return !IsGone(id); }));
  }
  std::uint64_t ActiveLeases(const Project& project) const {
    if (!some_gone_) return project.leases.size();
    return static_cast<std::uint64_t>(std::count_if(project.leases.begin(), project.leases.end(),
                                                    [&](LeaseId id) { return !IsGone(id); }));
  }
  static const TaskState& StateOf(const Project& project, TaskRef ref) {
    return ref.kind == TaskKind::kTrain ? project.tasks.at(ref.key)
                                        : project.open_evaluations.at(ref.key);
  }

  std::optional<TaskRef> FreshTask(const Project& project) const {
    std::optional<TaskRef> best;
    if (!project.unleased.empty()) best = *project.unleased.begin();
    if (!some_gone_) return best;
    for (const LeaseId id : project.leases) {
      const TaskRef ref = state_.leases.at(id).task;
      if ((!best || ref < *best) && CountActive(StateOf(project, ref).leases) == 0) best = ref;
    }
    return best;
  }

  std::optional<TaskRef> BackupTask(const Project& project) const {
    const Lease* slowest = nullptr;
    for (const LeaseId id : project.leases) {
      const Lease& lease = state_.leases.at(id);
      if (IsGone(id) || lease.backup_from > at_) continue;
      if (CountActive(StateOf(project, lease.task).leases) >= state_.options.task_leases_max) {
        continue;
      }
      if (slowest == nullptr || EndsLater(project, lease, *slowest)) slowest = &lease;
    }
    return slowest == nullptr ? std::nullopt : std::optional(slowest->task);
  }

  // By the time left that each one's progress promises: elapsed * left / done. One that
  // has reported no progress ends never. Among equals, the earlier granted is slower.
  bool EndsLater(const Project& project, const Lease& a, const Lease& b) const {
    constexpr std::uint64_t kWhole = 1'000'000;
    const std::uint64_t done_a = MulDiv(a.samples_done, kWhole, SamplesOf(project, a.task));
    const std::uint64_t done_b = MulDiv(b.samples_done, kWhole, SamplesOf(project, b.task));
    const auto elapsed = [&](const Lease& lease) {
      return static_cast<std::uint64_t>((at_ - lease.granted).us);
    };
    const uint128 left_a = static_cast<uint128>(elapsed(a)) * (kWhole - done_a) * done_b;
    const uint128 left_b = static_cast<uint128>(elapsed(b)) * (kWhole - done_b) * done_a;
    if (done_a != 0 && done_b != 0 && left_a != left_b) return left_a > left_b;
    if ((done_a == 0) != (done_b == 0)) return done_a == 0;
    return a.granted < b.granted;  // Leases come in the order of their numbers.
  }

  const Scheduler::State& state_;
  const Instant at_;
  const LeaseId own_;
  const bool some_gone_;
};

}  // namespace

std::optional<Scheduler::State::Choice> Scheduler::State::ChooseWork(Instant at,
                                                                     ProviderId id) const {
  LeaseId own;
  if (const auto it = providers.find(id); it != providers.end()) {
    if (it->second.backoff_until > at) return std::nullopt;
    own = it->second.lease;
  }
  return Chooser(*this, at, own).Choose();
}

}  // namespace dnc::sched
