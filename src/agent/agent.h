// The provider's machine: lease -> fetch -> train -> upload -> again, as a pure
// state machine: (state, event, now) -> effects, with no I/O, clock or thread. The
// daemon around it (provider) runs the effects and reports what came of them.
//
// Calls run in two lanes. The work lane has at most one call in flight: RequestLease,
// FetchSpec, FetchWeights, Train, UploadResult or ReleaseLease. The renewal lane has
// at most one RenewLease. Every call is answered by exactly one event, in finite time:
// its own answer, or CallFailed. After AbortWork the call in the work lane must end
// soon, and is still answered once (CallFailed with kCancelled will do, and so will its
// real answer, if that came first).
//
// The daemon keeps the last spec and the last weights that it fetched (not through a
// restart), since the agent asks for neither again while it needs the same ones.
// FetchWeights may drop the weights before it, FetchSpec both. The update of a Train is
// kept until the next Train.
//
// Nothing that a server sends can break the machine: an event that does not fit the
// state is dropped.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/id.h"
#include "base/prng.h"
#include "base/result.h"
#include "base/time.h"

namespace dnc::agent {

enum class TaskKind : std::uint8_t { kTrain, kEvaluate };

// What the server leased; the fields are those of sched::Task.
struct Task {
  ProjectId project;
  TaskKind kind = TaskKind::kTrain;
  std::uint64_t version = 0;
  std::uint32_t epoch = 0;
  std::uint32_t task_index = 0;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;

  friend auto operator<=>(const Task&, const Task&) = default;
};

struct Metrics {
  std::uint64_t samples = 0;
  std::int64_t loss_sum_micro = 0;
  std::uint64_t correct = 0;
  std::uint64_t compute_us = 0;

  friend auto operator<=>(const Metrics&, const Metrics&) = default;
};

enum class Call : std::uint8_t {
  kRequestLease,
  kFetchSpec,
  kFetchWeights,
  kTrain,
  kUploadResult,
  kReleaseLease,
  kRenewLease,
};

// "request a lease", "fetch the weights": for messages.
const char* CallName(Call call);

// ---- Events.

struct Started {};
// Answers RequestLease. A renewal is due each `renew_every`, but not more often than
// each 100 ms.
struct LeaseGranted {
  LeaseId lease;
  Task task;
  Duration renew_every;
};
// Answers RequestLease, best after a long poll. The next one is asked at once if
// AgentOptions::request_interval_min has passed since the last.
struct NoWork {};
struct SpecReady {};     // Answers FetchSpec.
struct WeightsReady {};  // Answers FetchWeights.
// During Train, at any rate; goes out with the renewals.
struct TrainingProgress {
  std::uint64_t samples_done = 0;
};
struct TrainingDone {
  Metrics metrics;
};  // Answers Train.
// Answers UploadResult. Not accepted: the lease is over, `reason` says why.
struct UploadAnswered {
  bool accepted = false;
  std::string reason;
};
struct ReleaseAnswered {};  // Answers ReleaseLease, whatever the server said.
// Answers RenewLease. Not accepted: the lease is over.
struct RenewAnswered {
  bool accepted = false;
  std::string reason;
};
// Answers any call. By code: kUnauthenticated and kPermissionDenied end the agent.
// kStale ends the lease (and so does kNotFound for RenewLease). kUnavailable, kIo,
// kResourceExhausted, kInternal and kCancelled are tried again with back-off. Any other
// gives the lease back as failed; without a lease it ends the agent.
struct CallFailed {
  Call call = Call::kRequestLease;
  Error error;
};
// `finish_current`: finish and upload the task in hand first. Otherwise the work is
// aborted and the lease given back. A second request may turn the first into the second.
struct StopRequested {
  bool finish_current = false;
};
struct TimePassed {};  // Due at next_deadline().

using Event = std::variant<Started, LeaseGranted, NoWork, SpecReady, WeightsReady, TrainingProgress,
                           TrainingDone, UploadAnswered, ReleaseAnswered, RenewAnswered, CallFailed,
                           StopRequested, TimePassed>;

// ---- Effects, in the order in which they must be run.

struct RequestLease {};
struct FetchSpec {
  ProjectId project;
};
struct FetchWeights {
  ProjectId project;
  std::uint64_t version = 0;
};
// Train (or evaluate) the task from the spec and weights last fetched.
struct Train {
  LeaseId lease;
  Task task;
};
struct AbortWork {};  // End the call in the work lane; see above.
// Upload what the last Train made (bytes, then result). May come again after a failure.
struct UploadResult {
  LeaseId lease;
  Task task;
  Metrics metrics;
};
struct RenewLease {
  LeaseId lease;
  std::uint64_t samples_done = 0;
};
struct ReleaseLease {
  LeaseId lease;
  bool failed = false;
  std::string reason;
};
// For the owner's eyes: `call` failed and is tried again after `wait`.
struct RetryScheduled {
  Call call = Call::kRequestLease;
  Error error;
  std::uint32_t attempt = 0;
  Duration wait;
};
// For the owner's eyes: the lease ended without a counted result.
struct LeaseLost {
  LeaseId lease;
  std::string reason;
};
// The last effect: drop whatever is in flight and leave. An error: why it gave up;
// none: it was asked to stop.
struct Exit {
  Status status;
};

using Effect = std::variant<RequestLease, FetchSpec, FetchWeights, Train, AbortWork, UploadResult,
                            RenewLease, ReleaseLease, RetryScheduled, LeaseLost, Exit>;

struct AgentOptions {
  std::uint64_t seed = 0;  // Of the jitter.
  // The wait before a call is tried again: doubles from the first to the last, less
  // up to a half by jitter.
  Duration backoff_min = Duration::Milliseconds(500);
  Duration backoff_max = Duration::Seconds(30);
  // Exits with kUnavailable when calls to the server have failed for this long without
  // an answer between them; 0: never.
  Duration give_up_after = Duration::Seconds(0);
  // Between two lease requests, when the first found no work.
  Duration request_interval_min = Duration::Seconds(1);
  // Tries of one Train (its data may be out of reach) before the lease is given back.
  std::uint32_t train_attempts_max = 6;
  // After StopRequested{finish_current = false}: Exit at the latest.
  Duration stop_grace = Duration::Seconds(3);
};

// Each state with how it is entered and left.
enum class State : std::uint8_t {
  // Entered: at the beginning. Left: Started -> kRequesting; a stop -> kExited.
  kNew,
  // Entered: RequestLease went out. Left: LeaseGranted -> kFetchingSpec (or what is
  // needed first); NoWork or failure -> kWaiting; a stop -> kAborting.
  kRequesting,
  // Without a lease and without a call. Entered: no work, a failed request, a lease given
  // back as failed, or a lease lost so soon that asking at once would be a busy loop. Left: the
  // deadline -> kRequesting; a stop -> kExited.
  kWaiting,
  // With a lease. Entered: FetchSpec went out. Left: SpecReady -> kFetchingWeights or
  // kTraining; retryable failure -> kBackingOff; stale -> kRequesting; others -> kReleasing.
  kFetchingSpec,
  // The same for FetchWeights; WeightsReady -> kTraining.
  kFetchingWeights,
  // Entered: Train went out. Left: TrainingDone -> kUploading; the rest as above.
  kTraining,
  // Entered: UploadResult went out. Left: UploadAnswered -> kRequesting (or kExited, if
  // stopping); retryable failure -> kBackingOff; stale -> kRequesting; others -> kReleasing.
  kUploading,
  // With a lease, without a call in the work lane. Entered: a retryable failure.
  // Left: the deadline -> the state of the failed call; a lost lease -> kRequesting.
  kBackingOff,
  // Entered: AbortWork went out: the lease was lost, or a stop. Left: the call in the
  // work lane was answered -> kReleasing (a lease to give back), kRequesting, kExited.
  kAborting,
  // Entered: ReleaseLease went out. Left: any answer -> kWaiting, or kExited if stopping.
  kReleasing,
  // Entered: Exit went out. Never left; every event is dropped.
  kExited,
};

const char* StateName(State state);

struct AgentView {
  State state = State::kNew;
  bool stopping = false;
  LeaseId lease;  // 0: none.
  Task task;      // Of the lease.
  std::uint64_t samples_done = 0;
  std::uint64_t tasks_accepted = 0;
  std::uint64_t samples_accepted = 0;
  std::uint64_t results_refused = 0;
  std::uint64_t leases_lost = 0;
};

class Agent {
 public:
  explicit Agent(const AgentOptions& options);

  // Appends what must be done, in order. Total: an event that does not fit is dropped.
  // A `now` before the last one is taken for the last one.
  void Apply(Instant now, const Event& event, std::vector<Effect>* effects);
  // When TimePassed is due; Instant::Never() if only an answer can move it on.
  Instant next_deadline() const;

  const AgentView& view() const { return view_; }
  // Asserts what must always hold: a call in flight or a deadline, unless new or exited.
  void CheckInvariants() const;

 private:
  struct Turn;  // What one Apply knows; agent.cc.

  AgentOptions options_;
  Prng prng_;
  AgentView view_;
  Instant now_;
  Instant failing_since_ = Instant::Never();  // The first failure since the server's last answer.
  std::optional<Call> work_call_;             // In flight in the work lane.
  LeaseId renewal_in_flight_;                 // 0: the renewal lane is free.
  Duration renew_every_;
  Instant renew_at_ = Instant::Never();
  Instant wake_at_ = Instant::Never();  // End of kWaiting or kBackingOff.
  Instant exit_at_ = Instant::Never();  // End of the grace after a stop.
  Instant requested_at_;
  Call retry_call_ = Call::kFetchSpec;  // What kBackingOff tries again.
  std::uint32_t attempts_ = 0;          // Failures of the current work call in a row.
  std::uint32_t renew_attempts_ = 0;
  std::uint32_t failures_ = 0;  // Leases given back as failed, in a row.
  Metrics metrics_;             // Of the training that is being uploaded.
  ProjectId spec_held_;
  ProjectId weights_project_held_;
  std::uint64_t weights_version_held_ = 0;
  bool release_failed_ = false;  // What kReleasing gave the lease back as.
  LeaseId lost_lease_;           // What kAborting has lost, and why.
  std::string lost_reason_;
};

}  // namespace dnc::agent
