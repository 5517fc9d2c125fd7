#include "agent/agent.h"

#include "testing/testing.h"

namespace dnc::agent {
namespace {

using dnc::test::FailsWith;
using dnc::test::Succeeds;
using ::testing::HasSubstr;

constexpr Task kTask{.project = {1}, .version = 4, .task_index = 2, .begin = 20, .end = 30};
constexpr Duration kRenewEvery = Duration::Seconds(5);

Error Unavailable() { return {ErrorCode::kUnavailable, "connection refused"}; }

class AgentTest : public ::testing::Test {
 protected:
  // Applies, and keeps the effects for Take.
  void Do(const Event& event) {
    effects_.clear();
    agent_.Apply(now_, event, &effects_);
    agent_.CheckInvariants();
  }
  template <typename E>
  std::optional<E> Find() const {
    for (const Effect& effect : effects_) {
      if (const auto* e = std::get_if<E>(&effect)) return *e;
    }
    return std::nullopt;
  }
  template <typename E>
  bool Has() const {
    return Find<E>().has_value();
  }
  void Wait(Duration duration) {
    now_ = now_ + duration;
    Do(TimePassed{});
  }
  void WaitUntilDeadline() { Wait(agent_.next_deadline() - now_); }
  State state() const { return agent_.view().state; }

  void Grant(const Task& task, std::uint64_t lease = 70) {
    Do(LeaseGranted{{lease}, task, kRenewEvery});
  }
  void ReachTraining() {
    Do(Started{});
    Grant(kTask);
    Do(SpecReady{});
    Do(WeightsReady{});
    ASSERT_EQ(state(), State::kTraining);
  }
  void ReachUploading() {
    ReachTraining();
    Do(TrainingDone{{.samples = 10}});
    ASSERT_EQ(state(), State::kUploading);
  }
  void Restart(AgentOptions options) { agent_ = Agent(options); }

  Agent agent_{AgentOptions{}};
  Instant now_{1'000'000'000};
  std::vector<Effect> effects_;
};

TEST_F(AgentTest, GoesFromLeaseToFetchToTrainToUploadAndAsksAgain) {
  Do(Started{});
  EXPECT_TRUE(Has<RequestLease>());
  Grant(kTask);
  EXPECT_EQ(Find<FetchSpec>()->project, kTask.project);
  Do(SpecReady{});
  EXPECT_EQ(Find<FetchWeights>()->version, 4u);
  Do(WeightsReady{});
  EXPECT_EQ(Find<Train>()->task, kTask);
  EXPECT_EQ(Find<Train>()->lease.value, 70u);
  Do(TrainingDone{{.samples = 10, .correct = 7}});
  EXPECT_EQ(Find<UploadResult>()->lease.value, 70u);
  EXPECT_EQ(Find<UploadResult>()->metrics.correct, 7u);
  Do(UploadAnswered{true, ""});
  EXPECT_TRUE(Has<RequestLease>());
  EXPECT_EQ(agent_.view().tasks_accepted, 1u);
  EXPECT_EQ(agent_.view().samples_accepted, 10u);
  EXPECT_FALSE(agent_.view().lease);
}

TEST_F(AgentTest, FetchesOnlyWhatItDoesNotHold) {
  ReachUploading();
  Do(UploadAnswered{true, ""});
  Task same = kTask;
  same.task_index = 3;
  Grant(same, 71);
  EXPECT_TRUE(Has<Train>()) << "the same version needs no fetch";
  Do(TrainingDone{{}});
  Do(UploadAnswered{true, ""});
  Task next = kTask;
  next.version = 5;
  Grant(next, 72);
  EXPECT_TRUE(Has<FetchWeights>());
  EXPECT_FALSE(Has<FetchSpec>());
  Do(WeightsReady{});
  Do(TrainingDone{{}});
  Do(UploadAnswered{true, ""});
  Task other = kTask;
  other.project = {2};
  Grant(other, 73);
  EXPECT_TRUE(Has<FetchSpec>());
  Do(SpecReady{});
  EXPECT_TRUE(Has<FetchWeights>()) << "of another project, though the version is the same";
}

TEST_F(AgentTest, FetchesAgainWhatAFailedFetchMayHaveDropped) {
  ReachUploading();
  Do(UploadAnswered{true, ""});
  Task next = kTask;
  next.version = 5;
  Grant(next, 71);
  Do(CallFailed{Call::kFetchWeights, {ErrorCode::kStale, "version 5 is gone"}});
  WaitUntilDeadline();
  Grant(kTask, 72);
  EXPECT_EQ(Find<FetchWeights>()->version, 4u);
}

TEST_F(AgentTest, AsksAgainAtOnceAfterALongPollAndLaterAfterAShortOne) {
  Do(Started{});
  now_ = now_ + Duration::Seconds(20);
  Do(NoWork{});
  EXPECT_TRUE(Has<RequestLease>());
  now_ = now_ + Duration::Milliseconds(10);
  Do(NoWork{});
  EXPECT_FALSE(Has<RequestLease>());
  EXPECT_EQ(agent_.next_deadline(), now_ + Duration::Milliseconds(990));
  WaitUntilDeadline();
  EXPECT_TRUE(Has<RequestLease>());
}

TEST_F(AgentTest, TakesAGrantOfNothingForNoWork) {
  Do(Started{});
  Do(LeaseGranted{});
  EXPECT_EQ(state(), State::kWaiting);
}

TEST_F(AgentTest, RenewsByTimerWithItsProgress) {
  ReachTraining();
  Do(TrainingProgress{4});
  EXPECT_EQ(agent_.next_deadline(), now_ + kRenewEvery);
  WaitUntilDeadline();
  EXPECT_EQ(Find<RenewLease>()->lease.value, 70u);
  EXPECT_EQ(Find<RenewLease>()->samples_done, 4u);
  EXPECT_EQ(agent_.next_deadline(), Instant::Never()) << "one renewal at a time";
  Do(TrainingProgress{1'000});
  Do(TrainingProgress{3});
  Do(RenewAnswered{true, ""});
  WaitUntilDeadline();
  EXPECT_EQ(Find<RenewLease>()->samples_done, 10u) << "never beyond the task, never back";
}

TEST_F(AgentTest, RenewsWhileItUploadsAndWhileItBacksOff) {
  ReachUploading();
  Wait(kRenewEvery);
  EXPECT_TRUE(Has<RenewLease>());
  Do(RenewAnswered{true, ""});
  Do(CallFailed{Call::kUploadResult, Unavailable()});
  bool renewed = false;
  for (int i = 0; i < 20 && !renewed; ++i) {
    WaitUntilDeadline();
    renewed = Has<RenewLease>();
    if (Has<UploadResult>()) Do(CallFailed{Call::kUploadResult, Unavailable()});
  }
  EXPECT_TRUE(renewed);
}

TEST_F(AgentTest, NeverRenewsInABusyLoop) {
  Do(Started{});
  Do(LeaseGranted{{70}, kTask, Duration{0}});
  EXPECT_EQ(agent_.next_deadline(), now_ + Duration::Milliseconds(100));
}

TEST_F(AgentTest, AbortsTheTrainingAtOnceWhenARenewalIsRefused) {
  ReachTraining();
  Wait(kRenewEvery);
  Do(RenewAnswered{false, "another result counted first"});
  EXPECT_TRUE(Has<AbortWork>());
  EXPECT_EQ(state(), State::kAborting);
  EXPECT_FALSE(Has<RequestLease>()) << "not before the training has ended";
  Do(CallFailed{Call::kTrain, {ErrorCode::kCancelled, "stopped"}});
  EXPECT_EQ(Find<LeaseLost>()->lease.value, 70u);
  EXPECT_EQ(Find<LeaseLost>()->reason, "another result counted first");
  EXPECT_TRUE(Has<RequestLease>());
  EXPECT_EQ(agent_.view().leases_lost, 1u);
}

TEST_F(AgentTest, DropsAResultThatComesAfterTheLeaseIsLost) {
  ReachTraining();
  Wait(kRenewEvery);
  Do(RenewAnswered{false, "expired"});
  Do(TrainingDone{{.samples = 10}});
  EXPECT_FALSE(Has<UploadResult>());
  EXPECT_TRUE(Has<RequestLease>());
}

TEST_F(AgentTest, CountsAnUploadThatWasAcceptedBeforeARenewalWasRefused) {
  ReachUploading();
  Wait(kRenewEvery);
  Do(RenewAnswered{false, "this lease's result counted"});
  Do(UploadAnswered{true, ""});
  EXPECT_EQ(agent_.view().tasks_accepted, 1u);
  EXPECT_EQ(agent_.view().leases_lost, 0u);
  EXPECT_FALSE(Has<LeaseLost>());
  EXPECT_TRUE(Has<RequestLease>());
}

TEST_F(AgentTest, IgnoresTheLateAnswerToARenewalOfTheLeaseBefore) {
  ReachTraining();
  Wait(kRenewEvery);  // In flight from here on.
  Do(TrainingDone{{}});
  Do(UploadAnswered{true, ""});
  Grant(kTask, 71);
  Wait(kRenewEvery);
  EXPECT_FALSE(Has<RenewLease>()) << "the lane is busy";
  Do(RenewAnswered{false, "the task is done"});
  EXPECT_EQ(state(), State::kTraining);
  EXPECT_EQ(agent_.view().lease.value, 71u);
  EXPECT_EQ(Find<RenewLease>()->lease.value, 71u) << "now that the lane is free";
}

TEST_F(AgentTest, ReportsARefusedResultAndAsksForOther) {
  ReachUploading();
  Wait(Duration::Seconds(2));
  Do(UploadAnswered{false, "another provider's result counted first"});
  EXPECT_EQ(Find<LeaseLost>()->reason, "another provider's result counted first");
  EXPECT_EQ(agent_.view().results_refused, 1u);
  EXPECT_TRUE(Has<RequestLease>());
}

TEST_F(AgentTest, BacksOffTwiceAsLongEachTimeWithJitterUpToTheLimit) {
  Do(Started{});
  Duration expected = Duration::Milliseconds(500);
  bool jittered = false;
  for (std::uint32_t attempt = 1; attempt <= 12; ++attempt) {
    Do(CallFailed{Call::kRequestLease, Unavailable()});
    const auto retry = Find<RetryScheduled>();
    ASSERT_TRUE(retry);
    EXPECT_EQ(retry->attempt, attempt);
    EXPECT_LE(retry->wait, expected);
    EXPECT_GE(retry->wait, expected / 2);
    jittered |= retry->wait != expected;
    EXPECT_EQ(agent_.next_deadline(), now_ + retry->wait);
    WaitUntilDeadline();
    EXPECT_TRUE(Has<RequestLease>());
    expected = std::min(expected * 2, Duration::Seconds(30));
  }
  EXPECT_TRUE(jittered);
  Do(NoWork{});
  WaitUntilDeadline();
  Do(CallFailed{Call::kRequestLease, Unavailable()});
  EXPECT_EQ(Find<RetryScheduled>()->attempt, 1u) << "an answer begins anew";
}

TEST_F(AgentTest, TriesEachCallOfALeaseAgain) {
  Do(Started{});
  Grant(kTask);
  Do(CallFailed{Call::kFetchSpec, Unavailable()});
  EXPECT_EQ(state(), State::kBackingOff);
  WaitUntilDeadline();
  EXPECT_TRUE(Has<FetchSpec>());
  Do(SpecReady{});
  Do(CallFailed{Call::kFetchWeights, {ErrorCode::kInternal, "500"}});
  WaitUntilDeadline();
  EXPECT_TRUE(Has<FetchWeights>());
  Do(WeightsReady{});
  Do(CallFailed{Call::kTrain, {ErrorCode::kIo, "disk"}});
  WaitUntilDeadline();
  EXPECT_TRUE(Has<Train>());
  Do(TrainingDone{{.samples = 10}});
  Do(CallFailed{Call::kUploadResult, {ErrorCode::kResourceExhausted, "full"}});
  WaitUntilDeadline();
  EXPECT_EQ(Find<UploadResult>()->metrics.samples, 10u) << "not trained again";
}

TEST_F(AgentTest, GivesTheLeaseBackAfterTrainingFailedTooOften) {
  ReachTraining();
  for (int i = 1; i < 6; ++i) {
    Do(CallFailed{Call::kTrain, {ErrorCode::kUnavailable, "no shard"}});
    ASSERT_EQ(state(), State::kBackingOff);
    while (!Has<Train>()) {
      WaitUntilDeadline();
      if (Has<RenewLease>()) agent_.Apply(now_, RenewAnswered{true, ""}, &effects_);
    }
  }
  Do(CallFailed{Call::kTrain, {ErrorCode::kUnavailable, "no shard"}});
  const auto release = Find<ReleaseLease>();
  ASSERT_TRUE(release);
  EXPECT_TRUE(release->failed);
  EXPECT_EQ(release->reason, "could not train: no shard");
}

TEST_F(AgentTest, GivesTheLeaseBackAtOnceWhenItCanNeverDoTheTask) {
  for (const Call call :
       {Call::kFetchSpec, Call::kFetchWeights, Call::kTrain, Call::kUploadResult}) {
    for (const ErrorCode code : {ErrorCode::kUnsupported, ErrorCode::kInvalidArgument,
                                 ErrorCode::kCorrupt, ErrorCode::kNotFound, ErrorCode::kTooLarge}) {
      SCOPED_TRACE(CallName(call));
      Restart({});
      Do(Started{});
      Grant(kTask);
      if (call > Call::kFetchSpec) Do(SpecReady{});
      if (call > Call::kFetchWeights) Do(WeightsReady{});
      if (call > Call::kTrain) Do(TrainingDone{{}});
      Do(CallFailed{call, {code, "layer Lambda is not known"}});
      ASSERT_TRUE(Has<ReleaseLease>());
      EXPECT_TRUE(Find<ReleaseLease>()->failed);
      EXPECT_THAT(Find<ReleaseLease>()->reason, HasSubstr("layer Lambda is not known"));
      Do(ReleaseAnswered{});
      EXPECT_EQ(state(), State::kWaiting) << "it does not come back at once";
      WaitUntilDeadline();
      EXPECT_TRUE(Has<RequestLease>());
    }
  }
}

TEST_F(AgentTest, GoesOnWhenTheLeaseCannotBeGivenBack) {
  ReachTraining();
  Do(CallFailed{Call::kTrain, {ErrorCode::kCorrupt, "bad"}});
  Do(CallFailed{Call::kReleaseLease, Unavailable()});
  EXPECT_EQ(state(), State::kWaiting);
  WaitUntilDeadline();
  EXPECT_TRUE(Has<RequestLease>());
}

TEST_F(AgentTest, LosesTheLeaseWhenACallSaysThatItIsStale) {
  ReachUploading();
  Wait(Duration::Seconds(1));
  Do(CallFailed{Call::kUploadResult, {ErrorCode::kStale, "the lease expired"}});
  EXPECT_EQ(Find<LeaseLost>()->reason, "the lease expired");
  EXPECT_FALSE(Has<ReleaseLease>());
  EXPECT_TRUE(Has<RequestLease>());
}

TEST_F(AgentTest, LosesTheLeaseWhenARenewalFailsAsStaleEvenWhileItBacksOff) {
  for (const ErrorCode code : {ErrorCode::kStale, ErrorCode::kNotFound}) {
    Restart({});
    ReachUploading();
    Wait(kRenewEvery);
    Do(CallFailed{Call::kUploadResult, Unavailable()});
    Do(CallFailed{Call::kRenewLease, {code, "the lease expired"}});
    EXPECT_TRUE(Has<LeaseLost>());
    EXPECT_TRUE(Has<RequestLease>());
    EXPECT_FALSE(Has<AbortWork>()) << "there was nothing to abort";
  }
}

TEST_F(AgentTest, DoesNotSpinOnLeasesThatAreStaleAtOnce) {
  Do(Started{});
  Grant(kTask);
  Do(CallFailed{Call::kFetchSpec, {ErrorCode::kStale, "gone"}});
  EXPECT_EQ(state(), State::kWaiting);
}

TEST_F(AgentTest, TriesAFailedRenewalAgainWithoutDisturbingTheTraining) {
  ReachTraining();
  Wait(kRenewEvery);
  Do(CallFailed{Call::kRenewLease, Unavailable()});
  EXPECT_EQ(state(), State::kTraining);
  EXPECT_EQ(Find<RetryScheduled>()->call, Call::kRenewLease);
  WaitUntilDeadline();
  EXPECT_TRUE(Has<RenewLease>());
}

TEST_F(AgentTest, EndsWhenItsTokenIsNotGood) {
  for (const ErrorCode code : {ErrorCode::kUnauthenticated, ErrorCode::kPermissionDenied}) {
    Restart({});
    Do(Started{});
    Do(CallFailed{Call::kRequestLease, {code, "the token has expired"}});
    EXPECT_THAT(Find<Exit>()->status, FailsWith(code, HasSubstr("the token has expired")));
    Restart({});
    ReachTraining();
    Wait(kRenewEvery);
    Do(CallFailed{Call::kRenewLease, {code, "the token has expired"}});
    EXPECT_THAT(Find<Exit>()->status, FailsWith(code));
    EXPECT_EQ(state(), State::kExited);
  }
}

TEST_F(AgentTest, EndsWhenARequestCanNeverSucceed) {
  Do(Started{});
  Do(CallFailed{Call::kRequestLease, {ErrorCode::kUnsupported, "API version 2 is needed"}});
  EXPECT_THAT(Find<Exit>()->status, FailsWith(ErrorCode::kUnsupported));
}

TEST_F(AgentTest, GivesUpWhenTheServerHasNotAnsweredForTheStatedTime) {
  Restart({.give_up_after = Duration::Seconds(10)});
  Do(Started{});
  now_ = now_ + Duration::Seconds(60);  // A long poll that fails at its end.
  Do(CallFailed{Call::kRequestLease, Unavailable()});
  const Instant first = now_;
  EXPECT_FALSE(Has<Exit>()) << "failures count from the first of them";
  while (!Has<Exit>()) {
    ASSERT_LE(now_, first + Duration::Seconds(10));
    WaitUntilDeadline();
    ASSERT_TRUE(Has<RequestLease>());
    Do(CallFailed{Call::kRequestLease, Unavailable()});
  }
  EXPECT_EQ(now_, first + Duration::Seconds(10));
  EXPECT_THAT(Find<Exit>()->status,
              FailsWith(ErrorCode::kUnavailable, HasSubstr("for 10 s, last: connection refused")));
}

TEST_F(AgentTest, GivesUpInTheMiddleOfTrainingToo) {
  Restart({.give_up_after = Duration::Seconds(10)});
  ReachTraining();
  for (int i = 0; i < 100 && !Has<Exit>(); ++i) {
    WaitUntilDeadline();
    Do(CallFailed{Call::kRenewLease, Unavailable()});
  }
  EXPECT_THAT(Find<Exit>()->status, FailsWith(ErrorCode::kUnavailable));
}

TEST_F(AgentTest, StopsAtOnceWhenItHoldsNothing) {
  Do(StopRequested{});
  EXPECT_THAT(Find<Exit>()->status, Succeeds());
  Restart({});
  Do(Started{});
  Do(NoWork{});
  Do(StopRequested{true});
  EXPECT_THAT(Find<Exit>()->status, Succeeds());
}

TEST_F(AgentTest, AbortsTheLongPollWhenItStops) {
  Do(Started{});
  Do(StopRequested{true});
  EXPECT_TRUE(Has<AbortWork>());
  Do(CallFailed{Call::kRequestLease, {ErrorCode::kCancelled, "stopped"}});
  EXPECT_THAT(Find<Exit>()->status, Succeeds());
}

TEST_F(AgentTest, GivesBackALeaseThatWasGrantedWhileItStops) {
  Do(Started{});
  Do(StopRequested{});
  Grant(kTask);
  EXPECT_EQ(Find<ReleaseLease>()->lease.value, 70u);
  EXPECT_FALSE(Find<ReleaseLease>()->failed);
  Do(ReleaseAnswered{});
  EXPECT_THAT(Find<Exit>()->status, Succeeds());
}

TEST_F(AgentTest, AbortsAndGivesTheLeaseBackWhenStopped) {
  ReachTraining();
  Do(StopRequested{false});
  EXPECT_TRUE(Has<AbortWork>());
  Do(CallFailed{Call::kTrain, {ErrorCode::kCancelled, "stopped"}});
  EXPECT_EQ(Find<ReleaseLease>()->reason, "the provider was stopped by its owner");
  EXPECT_FALSE(Find<ReleaseLease>()->failed);
  Do(CallFailed{Call::kReleaseLease, Unavailable()});
  EXPECT_THAT(Find<Exit>()->status, Succeeds());
}

TEST_F(AgentTest, FinishesTheTaskInHandWhenAskedTo) {
  ReachTraining();
  Do(StopRequested{true});
  EXPECT_TRUE(effects_.empty());
  Do(TrainingDone{{}});
  Do(UploadAnswered{true, ""});
  EXPECT_THAT(Find<Exit>()->status, Succeeds());
  EXPECT_EQ(agent_.view().tasks_accepted, 1u);
}

TEST_F(AgentTest, StopsAtOnceAfterAllWhenAskedASecondTime) {
  ReachTraining();
  Do(StopRequested{true});
  Do(StopRequested{false});
  EXPECT_TRUE(Has<AbortWork>());
}

TEST_F(AgentTest, LeavesAfterTheGraceEvenIfNobodyAnswers) {
  ReachTraining();
  Do(StopRequested{false});
  EXPECT_EQ(agent_.next_deadline(), now_ + Duration::Seconds(3));
  Do(StopRequested{false});
  EXPECT_FALSE(Has<AbortWork>()) << "once is enough";
  WaitUntilDeadline();
  EXPECT_THAT(Find<Exit>()->status, Succeeds());
  Do(TrainingDone{{}});
  EXPECT_TRUE(effects_.empty());
}

TEST_F(AgentTest, ReleasesInsteadOfRetryingWhenStoppedInABackOff) {
  ReachUploading();
  Do(CallFailed{Call::kUploadResult, Unavailable()});
  Do(StopRequested{false});
  EXPECT_TRUE(Has<ReleaseLease>());
}

TEST_F(AgentTest, DropsEventsThatDoNotFit) {
  const std::vector<Event> strays = {LeaseGranted{{9}, kTask, kRenewEvery},
                                     NoWork{},
                                     SpecReady{},
                                     WeightsReady{},
                                     TrainingProgress{3},
                                     TrainingDone{{}},
                                     UploadAnswered{true, ""},
                                     ReleaseAnswered{},
                                     RenewAnswered{false, "no"},
                                     CallFailed{Call::kTrain, Unavailable()},
                                     CallFailed{Call::kRenewLease, Unavailable()},
                                     TimePassed{}};
  for (const Event& event : strays) {
    Do(event);
    EXPECT_TRUE(effects_.empty()) << event.index();
    EXPECT_EQ(state(), State::kNew);
  }
  ReachTraining();
  for (const Event& event : strays) {
    if (std::holds_alternative<TrainingDone>(event) ||
        std::holds_alternative<TrainingProgress>(event) || event.index() == 10) {
      continue;  // These fit, or may.
    }
    Do(event);
    EXPECT_TRUE(effects_.empty()) << event.index();
    EXPECT_EQ(state(), State::kTraining);
  }
  Do(Started{});
  EXPECT_TRUE(effects_.empty());
}

TEST_F(AgentTest, TakesATimeThatWentBackForTheLastOne) {
  ReachTraining();
  const Instant renew_at = agent_.next_deadline();
  now_ = {-1};
  Do(TimePassed{});
  EXPECT_TRUE(effects_.empty());
  EXPECT_EQ(agent_.next_deadline(), renew_at);
}

TEST(AgentNamesTest, NamesEveryCallAndState) {
  for (int i = 0; i <= static_cast<int>(Call::kRenewLease); ++i) {
    EXPECT_STRNE(CallName(static_cast<Call>(i)), "");
  }
  for (int i = 0; i <= static_cast<int>(State::kExited); ++i) {
    EXPECT_STRNE(StateName(static_cast<State>(i)), "");
  }
}

}  // namespace
}  // namespace dnc::agent
