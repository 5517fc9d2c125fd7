// The agent against a daemon that keeps the contract of agent.h and a server that does
// anything: every answer and failure at every point, stops, silence, stray events.
// First every order up to a depth, then long runs drawn from seeds. The daemon here
// checks what the agent asks of it: one call a lane, one lease at a time, training only
// from what was fetched, and never a state from which nothing follows.

#include "agent/agent.h"
#include "testing/testing.h"

namespace dnc::agent {
namespace {

constexpr Duration kRenewEvery = Duration::Seconds(5);

class Daemon {
 public:
  explicit Daemon(const AgentOptions& options) : agent_(options) { Apply(Started{}); }

  bool exited() const { return exited_; }
  bool busy() const { return call_.has_value(); }
  Instant now() const { return now_; }
  Instant deadline() const { return agent_.next_deadline(); }
  std::uint64_t accepted() const { return agent_.view().tasks_accepted; }
  State state() const { return agent_.view().state; }

  // What the world may do next, in a fixed order.
  std::vector<Event> Choices() const {
    std::vector<Event> events = {StopRequested{true}, StopRequested{false}};
    const auto may_fail = [&](Call call) {
      for (const ErrorCode code : {ErrorCode::kUnavailable, ErrorCode::kStale, ErrorCode::kCorrupt,
                                   ErrorCode::kUnauthenticated}) {
        events.push_back(CallFailed{call, {code, "fault on purpose"}});
      }
    };
    if (call_) {
      for (const Event& answer : Answers()) events.push_back(answer);
      may_fail(*call_);
    }
    if (renewing_) {
      events.push_back(RenewAnswered{true, ""});
      events.push_back(RenewAnswered{false, "no"});
      may_fail(Call::kRenewLease);
    }
    if (deadline() != Instant::Never()) events.push_back(TimePassed{});
    // A stray: an answer to what nobody asked.
    if (call_ != Call::kUploadResult) events.push_back(UploadAnswered{true, ""});
    return events;
  }

  // The good answers to the call in flight.
  std::vector<Event> Answers() const {
    switch (*call_) {
      case Call::kRequestLease: {
        Task task{.project = {1 + granted_ % 2}, .version = granted_ / 2, .end = 10};
        return {LeaseGranted{{granted_ + 1}, task, kRenewEvery}, NoWork{}};
      }
      case Call::kFetchSpec:
        return {SpecReady{}};
      case Call::kFetchWeights:
        return {WeightsReady{}};
      case Call::kTrain:
        return {TrainingDone{{.samples = 10}}};
      case Call::kUploadResult:
        return {UploadAnswered{true, ""}, UploadAnswered{false, "late"}};
      case Call::kReleaseLease:
        return {ReleaseAnswered{}};
      case Call::kRenewLease:
        break;
    }
    return {};
  }

  void Apply(const Event& event) {
    if (std::holds_alternative<TimePassed>(event)) now_ = std::max(now_, deadline());
    Note(event);
    std::vector<Effect> effects;
    agent_.Apply(now_, event, &effects);
    agent_.CheckInvariants();
    for (const Effect& effect : effects) {
      ASSERT_FALSE(exited_) << "an effect after Exit";
      std::visit([this](const auto& e) { Run(e); }, effect);
    }
    if (exited_) {
      EXPECT_EQ(deadline(), Instant::Never());
    } else {
      EXPECT_TRUE(call_ || deadline() != Instant::Never()) << "a dead state";
      EXPECT_EQ(agent_.view().lease, held_);
    }
  }

  void Wait(Duration duration) { now_ = now_ + duration; }

 private:
  // What the daemon knows from its own answers.
  void Note(const Event& event) {
    const std::optional<Call> call = call_;
    if (const auto* granted = std::get_if<LeaseGranted>(&event)) {
      ++granted_;
      held_ = granted->lease;
      task_ = granted->task;
      call_.reset();
    } else if (std::holds_alternative<SpecReady>(event)) {
      spec_ = task_.project;
      call_.reset();
    } else if (std::holds_alternative<WeightsReady>(event)) {
      weights_ = {task_.project, task_.version};
      call_.reset();
    } else if (std::holds_alternative<TrainingDone>(event)) {
      trained_ = held_;
      call_.reset();
    } else if (std::holds_alternative<NoWork>(event)) {
      call_.reset();
    } else if (std::holds_alternative<UploadAnswered>(event)) {
      if (call != Call::kUploadResult) return;
      held_ = {};
      call_.reset();
    } else if (std::holds_alternative<ReleaseAnswered>(event)) {
      held_ = {};
      call_.reset();
    } else if (const auto* renewed = std::get_if<RenewAnswered>(&event)) {
      EndRenewal(!renewed->accepted);
    } else if (const auto* failed = std::get_if<CallFailed>(&event)) {
      const bool stale = failed->error.code == ErrorCode::kStale;
      if (failed->call == Call::kRenewLease) return EndRenewal(stale);
      call_.reset();
      if (failed->call == Call::kReleaseLease) held_ = {};
      if (stale && failed->call != Call::kRequestLease && !aborting_) held_ = {};
    }
    if (!call_) aborting_ = false;
  }
  void EndRenewal(bool lost) {
    const bool releasing = call_ == Call::kReleaseLease;
    if (lost && renewing_ == held_ && !releasing) held_ = {};
    renewing_ = {};
  }

  void Start(Call call) {
    EXPECT_FALSE(call_.has_value()) << "two calls at once in the work lane";
    call_ = call;
  }
  void Run(const RequestLease&) {
    EXPECT_FALSE(held_) << "a second lease asked for";
    Start(Call::kRequestLease);
  }
  void Run(const FetchSpec& effect) {
    EXPECT_EQ(effect.project, task_.project);
    spec_ = {};
    weights_ = {};
    Start(Call::kFetchSpec);
  }
  void Run(const FetchWeights& effect) {
    EXPECT_EQ(effect.project, task_.project);
    EXPECT_EQ(effect.version, task_.version);
    EXPECT_EQ(spec_, task_.project);
    weights_ = {};
    Start(Call::kFetchWeights);
  }
  void Run(const Train& effect) {
    EXPECT_EQ(effect.lease, held_);
    EXPECT_EQ(effect.task, task_);
    EXPECT_EQ(spec_, task_.project);
    EXPECT_EQ(weights_, std::make_pair(task_.project, task_.version));
    Start(Call::kTrain);
  }
  void Run(const UploadResult& effect) {
    EXPECT_EQ(effect.lease, held_);
    EXPECT_EQ(trained_, held_) << "an upload of what was not trained";
    Start(Call::kUploadResult);
  }
  void Run(const ReleaseLease& effect) {
    EXPECT_TRUE(effect.lease);
    EXPECT_EQ(effect.lease, held_);
    Start(Call::kReleaseLease);
  }
  void Run(const RenewLease& effect) {
    EXPECT_TRUE(effect.lease);
    EXPECT_EQ(effect.lease, held_);
    EXPECT_FALSE(renewing_) << "two renewals at once";
    renewing_ = effect.lease;
  }
  void Run(const AbortWork&) {
    EXPECT_TRUE(call_.has_value()) << "nothing to abort";
    EXPECT_FALSE(aborting_) << "aborted twice";
    aborting_ = true;
  }
  void Run(const RetryScheduled& effect) {
    EXPECT_GT(effect.wait, Duration{});
    EXPECT_LE(effect.wait, Duration::Seconds(30));
  }
  void Run(const LeaseLost& effect) { EXPECT_TRUE(effect.lease); }
  void Run(const Exit&) { exited_ = true; }

  Agent agent_;
  Instant now_{1'000'000};
  std::optional<Call> call_;
  bool aborting_ = false;
  LeaseId renewing_;
  LeaseId held_;
  LeaseId trained_;
  Task task_;
  ProjectId spec_;
  std::pair<ProjectId, std::uint64_t> weights_;
  std::uint64_t granted_ = 0;
  bool exited_ = false;
};

// After a hard stop everything that runs ends, and so does the agent, in its grace.
void ExpectStops(Daemon daemon) {
  const Instant start = daemon.now();
  daemon.Apply(StopRequested{false});
  for (int i = 0; i < 10 && !daemon.exited(); ++i) {
    ASSERT_NE(daemon.deadline(), Instant::Never()) << "it would wait for ever";
    daemon.Apply(TimePassed{});
  }
  EXPECT_TRUE(daemon.exited());
  EXPECT_LE(daemon.now() - start, Duration::Seconds(4));
}

// When all goes well again, a task gets done; and after a soft stop it ends.
void ExpectHeals(Daemon daemon) {
  const std::uint64_t before = daemon.accepted();
  for (int i = 0; i < 60 && !daemon.exited() && daemon.accepted() == before; ++i) {
    if (daemon.busy()) {
      daemon.Apply(daemon.Answers().front());
    } else {
      daemon.Apply(TimePassed{});
    }
  }
  EXPECT_TRUE(daemon.exited() || daemon.accepted() > before) << "no progress";
  daemon.Apply(StopRequested{true});
  for (int i = 0; i < 60 && !daemon.exited(); ++i) {
    daemon.Apply(daemon.busy() ? daemon.Answers().front() : Event(TimePassed{}));
  }
  EXPECT_TRUE(daemon.exited()) << "it does not stop";
}

std::size_t Search(const Daemon& daemon, int depth) {
  if (depth == 0 || daemon.exited() || ::testing::Test::HasFailure()) return 1;
  std::size_t visited = 1;
  for (const Event& event : daemon.Choices()) {
    Daemon next = daemon;
    next.Apply(event);
    if (!next.exited() && depth > 1) {
      ExpectStops(next);
      ExpectHeals(next);
    }
    if (::testing::Test::HasFailure()) {
      ADD_FAILURE() << "after event " << event.index() << " in state " << StateName(daemon.state());
      return visited;
    }
    visited += Search(next, depth - 1);
  }
  return visited;
}

TEST(AgentExhaustiveTest, EndsAndHealsFromEveryStateNearTheStart) {
  EXPECT_GT(Search(Daemon(AgentOptions{}), 7), 50'000u);
}

TEST(AgentExhaustiveTest, EndsAndHealsFromEveryStateNearATraining) {
  Daemon daemon{AgentOptions{}};
  for (int i = 0; i < 3; ++i) daemon.Apply(daemon.Answers().front());
  ASSERT_EQ(daemon.state(), State::kTraining);
  daemon.Apply(TimePassed{});  // A renewal is in flight.
  EXPECT_GT(Search(daemon, 6), 50'000u);
}

TEST(AgentExhaustiveTest, KeepsItsContractThroughLongRunsOfFaults) {
  std::uint64_t accepted = 0;
  for (std::uint64_t seed = 0; seed < 200 && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Prng prng(seed);
    Daemon daemon(AgentOptions{.seed = seed, .give_up_after = Duration::Minutes(seed % 3)});
    for (int i = 0; i < 500 && !daemon.exited() && !HasFailure(); ++i) {
      // Mostly good answers, or no run would get far.
      const std::vector<Event> choices = daemon.Choices();
      if (daemon.busy() && prng.Below(10) < 7) {
        daemon.Wait(Duration::Milliseconds(static_cast<std::int64_t>(prng.Below(3'000))));
        daemon.Apply(daemon.Answers().front());
        continue;
      }
      const Event& event = choices[prng.Below(choices.size())];
      const auto* failed = std::get_if<CallFailed>(&event);
      const bool ends = std::holds_alternative<StopRequested>(event) ||
                        (failed != nullptr && failed->error.code == ErrorCode::kUnauthenticated);
      if (ends && prng.Below(30) != 0) continue;
      daemon.Apply(event);
    }
    if (!daemon.exited()) {
      ExpectStops(daemon);
      ExpectHeals(daemon);
    }
    accepted += daemon.accepted();
  }
  EXPECT_GT(accepted, 1'000u);
}

TEST(AgentExhaustiveTest, DoesTheSameForTheSameSeed) {
  const auto waits = [](std::uint64_t seed) {
    Agent agent(AgentOptions{.seed = seed});
    std::vector<std::int64_t> found;
    std::vector<Effect> effects;
    agent.Apply({1}, Started{}, &effects);
    for (int i = 0; i < 10; ++i) {
      agent.Apply({1}, CallFailed{Call::kRequestLease, {ErrorCode::kUnavailable, ""}}, &effects);
      found.push_back(agent.next_deadline().us);
      agent.Apply(agent.next_deadline(), TimePassed{}, &effects);
    }
    return found;
  };
  EXPECT_EQ(waits(3), waits(3));
  EXPECT_NE(waits(3), waits(4));
}

}  // namespace
}  // namespace dnc::agent
