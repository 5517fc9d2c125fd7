// The scheduler's state, as plain data, with what is derived from it. Private to the
// room: apply.cc changes it, work.cc chooses from it, snapshot.cc writes it down.
//
// A provider holds at most one lease, so the leases of a project are also its
// contributors. Everything is ordered (std::map, std::set, vectors by index), so that
// the same events give the same state, byte for byte.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sched/scheduler.h"

namespace dnc::sched {

// Later than any clock; sums with durations stay far from overflow.
inline constexpr Instant kInstantMax = {INT64_MAX / 4};
inline constexpr std::size_t kReasonBytesMax = 500;

// How a lease ended without its result being counted.
enum class LeaseEnd : std::uint8_t {
  kExpired,     // No renewal for too long.
  kSuperseded,  // Another result of the task counted first.
  kProjectOver,
  kReplaced,  // Its provider asked for another.
  kReleased,
  kRefused,  // Its result was not a valid one.
};

// A task of a project's open work.
struct TaskRef {
  TaskKind kind = TaskKind::kTrain;
  // kTrain: the place in the current step. kEvaluate: the version.
  std::uint64_t key = 0;

  friend auto operator<=>(const TaskRef&, const TaskRef&) = default;
};

struct Lease {
  LeaseId id;
  ProviderId provider;
  ProjectId project;
  TaskRef task;
  bool backup = false;
  Instant granted;
  Instant expires;      // Unless renewed.
  Instant backup_from;  // From when on the task may have a backup.
  std::uint64_t samples_done = 0;
};

struct TaskState {
  bool done = false;
  std::uint32_t failures = 0;
  Digest update;    // Once done.
  Metrics metrics;  // Once done.

  std::vector<LeaseId> leases;  // Derived; ascending. Empty once done.
};

struct Project {
  ProjectId id;
  ProjectConfig config;
  ProjectPhase phase = ProjectPhase::kRunning;
  Instant submitted;
  Instant ended;
  std::string failure;
  std::uint64_t step = 0;  // The open one; also the newest version.
  Digest weights;
  Instant step_started;
  std::vector<TaskState> tasks;  // Of the open step; empty when there is none.
  std::map<std::uint64_t, TaskState> open_evaluations;  // By version; none is done.
  std::vector<EvaluationView> evaluations;              // Ascending by version.
  std::optional<StepView> last_step;
  std::uint64_t us_per_1024_samples = 0;  // Moving mean, grant to result; 0: unknown.
  // By config.stopping; empty without.
  BestSoFar best;         // The epochs whose figure is known.
  Metrics best_metrics;   // Of the best one.
  Metrics epoch_metrics;  // Of the open epoch's folded steps, if the rule watches training.

  // Derived.
  std::set<LeaseId> leases;
  std::set<TaskRef> unleased;    // Open tasks without a lease; training first.
  std::uint64_t tasks_done = 0;  // Of the open step.
};

struct Provider {
  ProviderId id;
  std::uint64_t tasks_accepted = 0;
  std::uint64_t samples_accepted = 0;
  std::uint64_t results_refused = 0;
  std::uint64_t us_per_1000_samples = 0;
  Instant last_seen;
  std::uint32_t failures = 0;  // In a row.
  Instant backoff_until;       // No lease before.
  // The last result that counted, so that its retry is answered the same.
  LeaseId accepted_lease;
  Digest accepted_update;
  // The last lease that ended otherwise, so that a late result learns why.
  LeaseId ended_lease;
  LeaseEnd ended_how = LeaseEnd::kExpired;

  LeaseId lease;  // Derived; the one that it holds.
};

enum class TimerKind : std::uint8_t { kLeaseExpires, kBackupPossible, kBackoffEnds };

struct Timer {
  Instant at;
  TimerKind kind = TimerKind::kLeaseExpires;
  std::uint64_t id = 0;  // Of the lease or provider.

  friend auto operator<=>(const Timer&, const Timer&) = default;
};

struct Scheduler::State {
  SchedulerOptions options;
  Instant now;
  std::uint64_t next_lease = 1;
  std::map<ProjectId, Project> projects;
  std::map<ProviderId, Provider> providers;
  std::map<LeaseId, Lease> leases;

  // Derived.
  std::set<ProjectId> live;  // Running or paused.
  std::set<Timer> timers;    // All later than `now`.

  Project* FindProject(ProjectId id);
  Provider* FindProvider(ProviderId id);
  // The task of a live lease.
  TaskState& TaskOf(const Lease& lease);

  // What a provider would be given at `now`. Leases that have expired by then, and the
  // provider's own, count as gone.
  struct Choice {
    ProjectId project;
    TaskRef task;
    bool backup = false;
  };
  std::optional<Choice> ChooseWork(Instant at, ProviderId provider) const;

  // Fills what is derived from the rest. Requires: no reference dangles.
  void Derive();
  // Says what is wrong with the state; empty if it holds together. Derived parts are
  // looked at only if `derived`.
  std::string FindViolation(bool derived) const;
};

inline bool IsLive(ProjectPhase phase) {
  return phase == ProjectPhase::kRunning || phase == ProjectPhase::kPaused;
}

// Whether the rule asks for this kind of figure.
bool WatchesTraining(const ProjectConfig& config);
bool WatchesValidation(const ProjectConfig& config);
// Whether `figures` of an epoch are better than those of another by more than the rule's
// least difference. Requires: both are of the same number of samples.
bool IsBetterEpoch(const StoppingRule& rule, const Metrics& figures, const Metrics& best);
bool OutOfPatience(const Project& project);
// Whether no step will be opened any more, or not before an evaluation is in.
bool TrainingIsOver(const Project& project);
bool AwaitsVerdict(const Project& project);
// Tasks that the open step must have.
std::uint32_t OpenTaskCount(const Project& project);

std::uint64_t StepsPerEpoch(const ProjectConfig& config);
std::uint64_t StepsTotal(const ProjectConfig& config);
// The first task, within the epoch, of a step; and how many it has.
std::uint32_t FirstTaskOfStep(const ProjectConfig& config, std::uint64_t step);
std::uint32_t TaskCountOfStep(const ProjectConfig& config, std::uint64_t step);
// The task of `ref`, whole. For kTrain: of the open step.
Task MakeTask(const Project& project, TaskRef ref);
std::uint64_t SamplesOf(const Project& project, TaskRef ref);
// a * b / c without overflow on the way; UINT64_MAX if the result is beyond.
std::uint64_t MulDiv(std::uint64_t a, std::uint64_t b, std::uint64_t c);

}  // namespace dnc::sched
