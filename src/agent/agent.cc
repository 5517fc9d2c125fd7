#include "agent/agent.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/human.h"

namespace dnc::agent {

namespace {

constexpr Duration kRenewEveryMin = Duration::Milliseconds(100);
constexpr Duration kTick = Duration::Microseconds(1);

bool EndsTheAgent(ErrorCode code) {
  return code == ErrorCode::kUnauthenticated || code == ErrorCode::kPermissionDenied;
}

bool IsRetryable(ErrorCode code) {
  return code == ErrorCode::kUnavailable || code == ErrorCode::kIo ||
         code == ErrorCode::kResourceExhausted || code == ErrorCode::kInternal ||
         code == ErrorCode::kCancelled;
}

// A lease is held and worked on: it must be renewed.
bool IsWorking(State state) {
  return state == State::kFetchingSpec || state == State::kFetchingWeights ||
         state == State::kTraining || state == State::kUploading || state == State::kBackingOff;
}

std::uint64_t SamplesOf(const Task& task) {
  return task.end > task.begin ? task.end - task.begin : 0;
}

}  // namespace

const char* CallName(Call call) {
  switch (call) {
    case Call::kRequestLease:
      return "request a lease";
    case Call::kFetchSpec:
      return "fetch the project's model";
    case Call::kFetchWeights:
      return "fetch the weights";
    case Call::kTrain:
      return "train";
    case Call::kUploadResult:
      return "upload the result";
    case Call::kReleaseLease:
      return "give the lease back";
    case Call::kRenewLease:
      return "renew the lease";
  }
  return "";
}

const char* StateName(State state) {
  switch (state) {
    case State::kNew:
      return "new";
    case State::kRequesting:
      return "requesting";
    case State::kWaiting:
      return "waiting";
    case State::kFetchingSpec:
      return "fetching model";
    case State::kFetchingWeights:
      return "fetching weights";
    case State::kTraining:
      return "training";
    case State::kUploading:
      return "uploading";
    case State::kBackingOff:
      return "backing off";
    case State::kAborting:
      return "aborting";
    case State::kReleasing:
      return "releasing";
    case State::kExited:
      return "exited";
  }
  return "";
}

struct Agent::Turn {
  Agent& a;
  std::vector<Effect>& effects;

  template <typename E>
  void Emit(E effect) {
    effects.emplace_back(std::move(effect));
  }

  // ---- Moves.

  void StartCall(Call call, State state) {
    DNC_ASSERT(!a.work_call_.has_value());
    a.work_call_ = call;
    a.view_.state = state;
    a.wake_at_ = Instant::Never();
  }

  void WaitUntil(Instant at, State state) {
    a.view_.state = state;
    a.wake_at_ = std::max(at, a.now_ + kTick);
  }

  void Request() {
    if (a.view_.stopping) return Leave({});
    StartCall(Call::kRequestLease, State::kRequesting);
    a.requested_at_ = a.now_;
    Emit(RequestLease{});
  }

  // After a lease that brought nothing, or no lease at all.
  void RequestPaced() {
    if (a.view_.stopping) return Leave({});
    const Instant at = a.requested_at_ + a.options_.request_interval_min;
    if (at <= a.now_) return Request();
    WaitUntil(at, State::kWaiting);
  }

  // The next call that the lease needs.
  void Advance() {
    const Task& task = a.view_.task;
    if (a.spec_held_ != task.project) {
      a.spec_held_ = {};
      a.weights_project_held_ = {};
      StartCall(Call::kFetchSpec, State::kFetchingSpec);
      return Emit(FetchSpec{task.project});
    }
    if (a.weights_project_held_ != task.project || a.weights_version_held_ != task.version) {
      a.weights_project_held_ = {};
      StartCall(Call::kFetchWeights, State::kFetchingWeights);
      return Emit(FetchWeights{task.project, task.version});
    }
    a.view_.samples_done = 0;
    StartCall(Call::kTrain, State::kTraining);
    Emit(Train{a.view_.lease, task});
  }

  void Upload() {
    StartCall(Call::kUploadResult, State::kUploading);
    Emit(UploadResult{a.view_.lease, a.view_.task, a.metrics_});
  }

  void Release(bool failed, const std::string& reason) {
    a.renew_at_ = Instant::Never();
    a.release_failed_ = failed;
    StartCall(Call::kReleaseLease, State::kReleasing);
    Emit(ReleaseLease{a.view_.lease, failed, reason});
  }

  void Released() {
    DropLease();
    if (a.view_.stopping) return Leave({});
    if (!a.release_failed_) return RequestPaced();
    ++a.failures_;
    WaitUntil(a.now_ + Backoff(a.failures_), State::kWaiting);
  }

  void DropLease() {
    a.view_.lease = {};
    a.view_.samples_done = 0;
    a.renew_at_ = Instant::Never();
    a.renew_attempts_ = 0;
    a.attempts_ = 0;
  }

  // The server holds the lease for ended.
  void LoseLease(const std::string& reason) {
    const LeaseId lease = a.view_.lease;
    const bool in_call = a.work_call_.has_value();
    if (a.view_.state == State::kReleasing) return;  // It is being given back anyway.
    a.lost_lease_ = lease;
    a.lost_reason_ = reason;
    DropLease();
    if (a.view_.state == State::kAborting) return;
    if (in_call) return Abort();
    ReportLoss();
    RequestPaced();
  }

  void ReportLoss() {
    if (!a.lost_lease_) return;
    ++a.view_.leases_lost;
    Emit(LeaseLost{std::exchange(a.lost_lease_, {}), std::move(a.lost_reason_)});
    a.lost_reason_.clear();
  }

  void Abort() {
    a.view_.state = State::kAborting;
    a.renew_at_ = Instant::Never();
    Emit(AbortWork{});
  }

  // The aborted call has ended.
  void Aborted() {
    ReportLoss();
    if (a.view_.lease) return Release(false, "the provider was stopped by its owner");
    RequestPaced();
  }

  void Leave(Status status) {
    ReportLoss();
    a.view_.state = State::kExited;
    DropLease();
    a.work_call_.reset();
    a.renewal_in_flight_ = {};
    a.wake_at_ = Instant::Never();
    a.exit_at_ = Instant::Never();
    Emit(Exit{std::move(status)});
  }

  // ---- Failures.

  Duration Backoff(std::uint32_t attempt) {
    Duration wait = a.options_.backoff_min;
    for (std::uint32_t i = 1; i < attempt && wait < a.options_.backoff_max; ++i) wait = wait * 2;
    wait = std::max(std::min(wait, a.options_.backoff_max), kTick);
    // Jitter, so that providers that failed together do not come back together.
    const auto half = static_cast<std::uint64_t>(wait.us / 2);
    return std::max(wait - Duration{static_cast<std::int64_t>(a.prng_.Below(half + 1))}, kTick);
  }

  void Contact() { a.failing_since_ = Instant::Never(); }

  // True if it gave up.
  bool GaveUp(const Error& error) {
    a.failing_since_ = std::min(a.failing_since_, a.now_);
    const Duration limit = a.options_.give_up_after;
    if (limit <= Duration{} || a.now_ - a.failing_since_ < limit) return false;
    Leave(Error{ErrorCode::kUnavailable, "the server has not answered for " +
                                             FormatDuration(a.now_ - a.failing_since_) +
                                             ", last: " + error.message});
    return true;
  }

  // The wait before `call` is tried again, not beyond the moment of giving up.
  Duration Retry(Call call, const Error& error, std::uint32_t attempt, Duration wait_max) {
    Duration wait = std::min(Backoff(attempt), wait_max);
    if (a.options_.give_up_after > Duration{} && a.failing_since_ != Instant::Never()) {
      wait = std::min(wait, a.failing_since_ + a.options_.give_up_after - a.now_);
    }
    wait = std::max(wait, kTick);
    Emit(RetryScheduled{call, error, attempt, wait});
    return wait;
  }

  void RequestFailed(const Error& error) {
    if (!IsRetryable(error.code) && error.code != ErrorCode::kStale) return Leave(error);
    if (GaveUp(error)) return;
    const Duration wait = Retry(Call::kRequestLease, error, ++a.attempts_, a.options_.backoff_max);
    WaitUntil(a.now_ + wait, State::kWaiting);
  }

  // With a lease: spec, weights, training or upload.
  void WorkFailed(Call call, const Error& error) {
    if (EndsTheAgent(error.code)) return Leave(error);
    if (error.code == ErrorCode::kStale) {
      Contact();
      return LoseLease(error.message);
    }
    const std::string reason = std::string("could not ") + CallName(call) + ": " + error.message;
    if (!IsRetryable(error.code)) return Release(true, reason);
    ++a.attempts_;
    if (call == Call::kTrain) {
      // What failed is this machine or the data; the server may be well.
      if (a.attempts_ >= a.options_.train_attempts_max) return Release(true, reason);
    } else if (GaveUp(error)) {
      return;
    }
    const Duration wait = Retry(call, error, a.attempts_, a.options_.backoff_max);
    a.retry_call_ = call;
    WaitUntil(a.now_ + wait, State::kBackingOff);
  }

  void RenewFailed(const Error& error) {
    const LeaseId lease = std::exchange(a.renewal_in_flight_, {});
    if (!lease) return;
    if (EndsTheAgent(error.code)) return Leave(error);
    const bool current = lease == a.view_.lease;
    if (error.code == ErrorCode::kStale || error.code == ErrorCode::kNotFound) {
      Contact();
      if (current) LoseLease(error.message);
      return;
    }
    if (!current || !IsWorking(a.view_.state)) return;
    if (GaveUp(error)) return;
    const Duration wait = Retry(Call::kRenewLease, error, ++a.renew_attempts_, a.renew_every_);
    a.renew_at_ = a.now_ + wait;
  }

  // ---- Events.

  // Takes the answer of `call`, if that is what is in flight.
  bool TakeAnswer(Call call) {
    if (a.work_call_ != call) return false;
    a.work_call_.reset();
    return true;
  }

  void Handle(const Started&) {
    if (a.view_.state == State::kNew) Request();
  }

  void Handle(const LeaseGranted& event) {
    if (!TakeAnswer(Call::kRequestLease)) return;
    Contact();
    a.attempts_ = 0;
    const bool aborting = a.view_.state == State::kAborting;
    if (!event.lease || !event.task.project) {
      return aborting ? Aborted() : RequestPaced();
    }
    a.view_.lease = event.lease;
    a.view_.task = event.task;
    a.view_.samples_done = 0;
    if (aborting) return Aborted();
    a.renew_every_ = std::max(event.renew_every, kRenewEveryMin);
    a.renew_at_ = a.now_ + a.renew_every_;
    Advance();
  }

  void Handle(const NoWork&) {
    if (!TakeAnswer(Call::kRequestLease)) return;
    Contact();
    a.attempts_ = 0;
    if (a.view_.state == State::kAborting) return Aborted();
    RequestPaced();
  }

  void Handle(const SpecReady&) {
    if (!TakeAnswer(Call::kFetchSpec)) return;
    Contact();
    a.attempts_ = 0;
    a.spec_held_ = a.view_.task.project;
    if (a.view_.state == State::kAborting) return Aborted();
    Advance();
  }

  void Handle(const WeightsReady&) {
    if (!TakeAnswer(Call::kFetchWeights)) return;
    Contact();
    a.attempts_ = 0;
    a.weights_project_held_ = a.view_.task.project;
    a.weights_version_held_ = a.view_.task.version;
    if (a.view_.state == State::kAborting) return Aborted();
    Advance();
  }

  void Handle(const TrainingProgress& event) {
    if (a.view_.state != State::kTraining) return;
    a.view_.samples_done =
        std::max(a.view_.samples_done, std::min(event.samples_done, SamplesOf(a.view_.task)));
  }

  void Handle(const TrainingDone& event) {
    if (!TakeAnswer(Call::kTrain)) return;
    a.attempts_ = 0;
    if (a.view_.state == State::kAborting) return Aborted();
    a.metrics_ = event.metrics;
    a.view_.samples_done = SamplesOf(a.view_.task);
    Upload();
  }

  void Handle(const UploadAnswered& event) {
    if (!TakeAnswer(Call::kUploadResult)) return;
    Contact();
    const bool aborting = a.view_.state == State::kAborting;
    if (event.accepted) {
      ++a.view_.tasks_accepted;
      a.view_.samples_accepted += SamplesOf(a.view_.task);
      a.failures_ = 0;
      a.lost_lease_ = {};  // It ended well, whatever a renewal was told.
    } else {
      ++a.view_.results_refused;
      if (a.view_.lease) a.lost_lease_ = a.view_.lease;
      a.lost_reason_ = event.reason;
    }
    DropLease();
    if (aborting) return Aborted();
    ReportLoss();
    if (event.accepted) return Request();
    RequestPaced();
  }

  void Handle(const ReleaseAnswered&) {
    if (!TakeAnswer(Call::kReleaseLease)) return;
    Contact();
    Released();
  }

  void Handle(const RenewAnswered& event) {
    const LeaseId lease = std::exchange(a.renewal_in_flight_, {});
    if (!lease) return;
    Contact();
    if (lease != a.view_.lease) return;
    if (!event.accepted) return LoseLease(event.reason);
    a.renew_attempts_ = 0;
    if (IsWorking(a.view_.state)) a.renew_at_ = a.now_ + a.renew_every_;
  }

  void Handle(const CallFailed& event) {
    if (event.call == Call::kRenewLease) return RenewFailed(event.error);
    if (!TakeAnswer(event.call)) return;
    if (a.view_.state == State::kAborting) {
      return EndsTheAgent(event.error.code) ? Leave(event.error) : Aborted();
    }
    if (event.call == Call::kRequestLease) return RequestFailed(event.error);
    if (event.call != Call::kReleaseLease) return WorkFailed(event.call, event.error);
    // Not tried again: the lease expires by itself, and the next request ends it too.
    if (EndsTheAgent(event.error.code)) return Leave(event.error);
    Released();
  }

  void Handle(const StopRequested& event) {
    a.view_.stopping = true;
    const State state = a.view_.state;
    if (state == State::kNew || state == State::kWaiting) return Leave({});
    if (IsWorking(state) && event.finish_current) return;
    a.exit_at_ = std::min(a.exit_at_, a.now_ + std::max(a.options_.stop_grace, kTick));
    if (state == State::kAborting || state == State::kReleasing) return;
    if (state == State::kBackingOff) return Release(false, "the provider was stopped by its owner");
    Abort();
  }

  void Handle(const TimePassed&) {}

  // After each event, whatever it was.
  void FireTimers() {
    if (a.exit_at_ <= a.now_) return Leave({});
    if (a.wake_at_ <= a.now_) {
      a.wake_at_ = Instant::Never();
      if (a.view_.state == State::kWaiting) {
        Request();
      } else if (a.retry_call_ == Call::kUploadResult) {
        Upload();
      } else {
        Advance();
      }
    }
    if (a.renew_at_ <= a.now_ && !a.renewal_in_flight_) {
      a.renew_at_ = Instant::Never();
      a.renewal_in_flight_ = a.view_.lease;
      Emit(RenewLease{a.view_.lease, a.view_.samples_done});
    }
  }
};

Agent::Agent(const AgentOptions& options) : options_(options), prng_(options.seed) {}

void Agent::Apply(Instant now, const Event& event, std::vector<Effect>* effects) {
  if (view_.state == State::kExited) return;
  now_ = std::max(now_, now);
  Turn turn{*this, *effects};
  std::visit([&turn](const auto& e) { turn.Handle(e); }, event);
  if (view_.state != State::kExited) turn.FireTimers();
}

Instant Agent::next_deadline() const {
  Instant at = std::min(wake_at_, exit_at_);
  // While the lane is busy with the lease before, its answer is what is waited for.
  if (!renewal_in_flight_) at = std::min(at, renew_at_);
  return at;
}

void Agent::CheckInvariants() const {
  const State state = view_.state;
  const bool waits = state == State::kWaiting || state == State::kBackingOff;
  DNC_ASSERT((wake_at_ != Instant::Never()) == waits);
  const bool idle = state == State::kNew || state == State::kExited;
  DNC_ASSERT(work_call_.has_value() == (!waits && !idle));
  DNC_ASSERT(next_deadline() > now_);
  if (IsWorking(state)) {
    DNC_ASSERT(static_cast<bool>(view_.lease));
    // It is renewed, or will be.
    DNC_ASSERT(renew_at_ != Instant::Never() || renewal_in_flight_ == view_.lease);
  } else {
    DNC_ASSERT(renew_at_ == Instant::Never());
    const bool ending = state == State::kAborting || state == State::kReleasing;
    DNC_ASSERT(ending || !view_.lease);
  }
  DNC_ASSERT(state != State::kReleasing || view_.lease);
  DNC_ASSERT(state == State::kAborting || !lost_lease_);
}

}  // namespace dnc::agent
