// The scheduler of the grid: projects, steps, tasks, leases, K-batch-sync. Pure:
// (state, event, now) -> effects, with no I/O, clock, thread, global, float or
// unordered container. The shell around it (server) stamps the time, makes the
// event durable, applies it, and runs the effects. Recovery is replay of the
// events, or a snapshot and the events after it.
//
// A project has epochs x total_tasks training tasks. A step is up to task_size (K)
// consecutive tasks of one epoch, all trained from the same weights version; step s
// starts from version s and its fold makes version s + 1. The set of tasks of a step
// is fixed, so the final weights do not depend on who computed what, or when. The
// first valid result of a task counts. A provider that finds every task of the step
// leased takes a backup of the slowest lease. The end of an epoch also makes one
// evaluation task (over the validation split) for the version reached; evaluations
// run beside the steps that follow.
//
// A project with a stopping rule ends early, always at the end of an epoch. Where the
// rule watches the validation, the first step of the next epoch is opened only when the
// evaluation is in, so that the last version does not depend on who was quick (decision
// 0010).

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/best_epoch.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/id.h"
#include "base/result.h"
#include "base/time.h"

namespace dnc::sched {

enum class TaskKind : std::uint8_t { kTrain, kEvaluate };

enum class ProjectPhase : std::uint8_t {
  kRunning,
  kPaused,
  kCancelled,
  kFinished,
  kFailed,  // A task failed on too many providers; see ProjectView::failure.
};

// Ends a project early, as base/best_epoch.h counts.
struct StoppingRule {
  Monitor monitor = Monitor::kValidationLoss;
  std::uint32_t patience = 0;
  std::uint64_t min_delta_nano = 0;  // In billionths.
  bool restore_best = false;         // The trained model is the best epoch's.

  friend bool operator==(const StoppingRule&, const StoppingRule&) = default;
};

inline constexpr std::uint64_t kMinDeltaNanoMax = 1'000'000'000'000'000;

struct ProjectConfig {
  std::uint64_t train_samples = 0;       // > 0
  std::uint64_t validation_samples = 0;  // 0: no evaluations.
  std::uint32_t epochs = 1;
  std::uint32_t total_tasks = 1;       // <= train_samples
  std::uint32_t task_size = 1;         // K; <= total_tasks
  std::uint32_t contributors_max = 0;  // Providers at once; 0: no limit.
  std::optional<StoppingRule> stopping = std::nullopt;
};

inline constexpr std::uint32_t kTaskSizeMax = 1u << 20;
inline constexpr std::uint64_t kSamplesMax = std::uint64_t{1} << 48;

// Whether a project can be run; the shell asks before it makes ProjectSubmitted.
// Errors: kInvalidArgument, naming the field.
Status CheckConfig(const ProjectConfig& config);

struct SchedulerOptions {
  // A lease without a renewal for this long expires.
  Duration lease_silence_max = Duration::Seconds(15);
  // A task that failed on this many leases fails its project.
  std::uint32_t task_failures_max = 8;
  // Leases of one task at a time, backups included.
  std::uint32_t task_leases_max = 2;
  // A provider whose result was refused or failed waits this long, doubled each
  // time up to 64 times, before it gets another lease.
  Duration failure_backoff = Duration::Seconds(1);
  // A lease may be backed up once it has run for 1.5 times what the project's tasks
  // take on average (as the server sees it, from grant to result), but not before
  // `backup_delay_min`; while no task of the project has a result, after
  // `backup_delay_unknown`. Fixed when the lease is granted.
  Duration backup_delay_min = Duration::Milliseconds(500);
  Duration backup_delay_unknown = Duration::Seconds(2);
  // A provider without a lease that was silent for this long is forgotten.
  Duration provider_silence_max = Duration::Minutes(24 * 60);
};

struct Task {
  ProjectId project;
  TaskKind kind = TaskKind::kTrain;
  std::uint64_t version = 0;     // Of the weights it starts from (for kTrain: its step).
  std::uint32_t epoch = 0;       // For kEvaluate: epochs completed.
  std::uint32_t task_index = 0;  // Within the epoch; 0 for kEvaluate.
  std::uint64_t begin = 0;       // Positions in the epoch's sequence (stream/plan.h).
  std::uint64_t end = 0;

  friend auto operator<=>(const Task&, const Task&) = default;
};

// Opaque integers: loss in millionths, so that no float enters the state.
struct Metrics {
  std::uint64_t samples = 0;
  std::int64_t loss_sum_micro = 0;
  std::uint64_t correct = 0;
  std::uint64_t compute_us = 0;  // Wall time of the training itself.

  friend auto operator<=>(const Metrics&, const Metrics&) = default;
};

// ---- Events. Each is made durable before it is applied.

struct ProjectSubmitted {
  ProjectId project;
  ProjectConfig config;
};
struct ProjectPaused {
  ProjectId project;
};
struct ProjectResumed {
  ProjectId project;
};
struct ProjectCancelled {
  ProjectId project;
};
// A provider wants work. The shell asks HasWorkFor first, so that an idle poll
// writes no event.
struct LeaseRequested {
  ProviderId provider;
};
struct LeaseRenewed {
  ProviderId provider;
  LeaseId lease;
  std::uint64_t samples_done = 0;
};
// The update's bytes are already durable under `update`. For kEvaluate it is zero.
struct ResultSubmitted {
  ProviderId provider;
  LeaseId lease;
  Digest update;
  Metrics metrics;
};
// The provider gives a lease back: `failed`, it could not do it; otherwise it stops.
struct LeaseReleased {
  ProviderId provider;
  LeaseId lease;
  bool failed = false;
  std::string reason;
};
// The fold of a step is durable under `weights`.
struct StepFolded {
  ProjectId project;
  std::uint64_t step = 0;
  Digest weights;
};
struct TimePassed {};

using Event =
    std::variant<ProjectSubmitted, ProjectPaused, ProjectResumed, ProjectCancelled, LeaseRequested,
                 LeaseRenewed, ResultSubmitted, LeaseReleased, StepFolded, TimePassed>;

// ---- Effects, in the order in which they must be run.

struct GrantLease {
  ProviderId provider;
  LeaseId lease;
  Task task;
  bool backup = false;
  Instant deadline;
};
struct NoWork {
  ProviderId provider;
};  // Answers LeaseRequested.
// Answers ResultSubmitted, LeaseRenewed and LeaseReleased. kStale with a reason that
// the provider can show: the task is done, the step closed, the lease expired.
struct Answer {
  ProviderId provider;
  LeaseId lease;
  bool accepted = false;
  std::string reason;
};
// The lease is of no use any more (another result counted, the project paused or
// was cancelled): tell its holder at the next contact.
struct RevokeLease {
  ProviderId provider;
  LeaseId lease;
  std::string reason;
};
struct FoldInput {
  std::uint32_t task_index = 0;
  Digest update;
  std::uint64_t samples = 0;
};
// Fold `inputs` (in task order) into version `step`, store it, report StepFolded.
// Idempotent: may be asked for again after a restart.
struct FoldStep {
  ProjectId project;
  std::uint64_t step = 0;
  std::vector<FoldInput> inputs;
};
// A version's evaluation is known.
struct VersionEvaluated {
  ProjectId project;
  std::uint64_t version = 0;
  Metrics metrics;
};
struct ProjectEnded {
  ProjectId project;
  ProjectPhase phase = ProjectPhase::kFinished;
};
// New tasks may be leased: wake the providers that wait.
struct WorkAvailable {};

using Effect = std::variant<GrantLease, NoWork, Answer, RevokeLease, FoldStep, VersionEvaluated,
                            ProjectEnded, WorkAvailable>;

// ---- Views, for status pages.

struct EvaluationView {
  std::uint64_t version = 0;
  std::uint32_t epochs = 0;
  Metrics metrics;
};
struct StepView {
  std::uint64_t step = 0;
  Metrics metrics;
  Instant started;
  Instant closed;
};

struct ProjectView {
  ProjectId project;
  ProjectConfig config;
  ProjectPhase phase = ProjectPhase::kRunning;
  std::uint64_t version = 0;      // Of the newest weights.
  std::uint64_t steps_total = 0;  // Versions when finished.
  Digest weights;                 // Of the newest version; zero for version 0.
  std::uint64_t tasks_done = 0;   // Of all epochs.
  std::uint64_t tasks_total = 0;
  std::uint64_t tasks_leased = 0;
  std::uint64_t contributors = 0;           // Providers with a lease in it now.
  std::vector<EvaluationView> evaluations;  // Ascending by version.
  std::optional<StepView> last_step;        // The last one closed.
  BestSoFar best;                           // Epochs by config.stopping, as far as known.
  bool stopped_early = false;
  std::uint64_t model_version = 0;  // Of the weights that are handed out.
  Instant submitted;
  Instant ended;
  std::string failure;
};

struct ProviderView {
  ProviderId provider;
  ProjectId project;  // Of its lease, or none.
  LeaseId lease;
  Task task;
  std::uint64_t samples_done = 0;  // In its lease.
  std::uint64_t tasks_accepted = 0;
  std::uint64_t samples_accepted = 0;
  std::uint64_t results_refused = 0;
  std::uint64_t us_per_1000_samples = 0;  // Its own measured speed; 0: unknown.
  Instant last_seen;
};

class Scheduler {
 public:
  struct State;  // Private to the room.

  explicit Scheduler(const SchedulerOptions& options);
  ~Scheduler();
  Scheduler(Scheduler&&) noexcept;
  Scheduler& operator=(Scheduler&&) noexcept;

  // Appends what must be done, in order. Total: a stale or forged event is refused
  // or dropped, never asserted on. `now` must not decrease; one that does is taken for
  // the last one.
  void Apply(Instant now, const Event& event, std::vector<Effect>* effects);
  // When TimePassed is due: a lease expires, may be backed up, or a provider's back-off
  // ends. Instant::Never() if nothing of that is to come. Later than the last `now`.
  Instant next_deadline() const;
  // Whether LeaseRequested of this provider would be granted at `now`.
  bool HasWorkFor(Instant now, ProviderId provider) const;
  // Effects that a crash may have left undone (folds): run them after recovery.
  void PendingEffects(std::vector<Effect>* effects) const;

  std::vector<ProjectId> projects() const;
  std::optional<ProjectView> FindProject(ProjectId project) const;
  std::vector<ProviderView> providers() const;

  // The whole state as bytes, the same for the same state; and back.
  Bytes Snapshot() const;
  // Errors: kCorrupt; kUnsupported, a later version.
  static Result<Scheduler> Restore(ByteSpan snapshot, const SchedulerOptions& options);
  Digest digest() const;  // Of Snapshot().
  // Asserts what must always hold.
  void CheckInvariants() const;
  const State& state() const { return *state_; }  // For the room's own tests.

 private:
  std::unique_ptr<State> state_;
};

// Events and effects as bytes, for the event log. Deterministic, versioned.
Bytes EncodeEvent(const Event& event);
// Errors: kCorrupt; kUnsupported.
Result<Event> DecodeEvent(ByteSpan bytes);

}  // namespace dnc::sched
