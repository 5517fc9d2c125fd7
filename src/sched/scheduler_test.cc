#include "sched/scheduler.h"

#include "sched/state.h"
#include "testing/testing.h"

namespace dnc::sched {
namespace {

using dnc::test::FailsWith;
using dnc::test::Succeeds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr ProjectId kProject{1};
constexpr ProviderId kAnna{11};
constexpr ProviderId kBen{12};
constexpr ProviderId kCleo{13};
constexpr Duration kSecond = Duration::Seconds(1);

Digest DigestOf(int n) { return Sha256(AsBytes(std::to_string(n))); }

// Hides the effects: each helper does one event and gives the effect that matters.
class SchedulerTest : public ::testing::Test {
 protected:
  std::vector<Effect> Do(const Event& event) {
    std::vector<Effect> effects;
    scheduler_.Apply(now_, event, &effects);
    scheduler_.CheckInvariants();
    return effects;
  }
  template <typename E>
  static std::vector<E> Only(const std::vector<Effect>& effects) {
    std::vector<E> found;
    for (const Effect& effect : effects) {
      if (const auto* e = std::get_if<E>(&effect)) found.push_back(*e);
    }
    return found;
  }
  void Submit(ProjectConfig config, ProjectId id = kProject) { Do(ProjectSubmitted{id, config}); }
  std::optional<GrantLease> Request(ProviderId provider) {
    const auto grants = Only<GrantLease>(Do(LeaseRequested{provider}));
    return grants.empty() ? std::nullopt : std::optional(grants.front());
  }
  Answer Submit(const GrantLease& grant, int update) {
    last_effects_ = Do(ResultSubmitted{grant.provider,
                                       grant.lease,
                                       DigestOf(update),
                                       {.samples = grant.task.end - grant.task.begin}});
    return Only<Answer>(last_effects_).at(0);
  }
  Answer Fail(const GrantLease& grant, const std::string& reason) {
    last_effects_ = Do(LeaseReleased{grant.provider, grant.lease, true, reason});
    return Only<Answer>(last_effects_).at(0);
  }
  bool Woken() const { return !Only<WorkAvailable>(last_effects_).empty(); }
  void Wait(Duration duration) {
    now_ = now_ + duration;
    last_effects_ = Do(TimePassed{});
  }
  // One provider does all that is there to do, folds included.
  void RunAlone(ProviderId provider, ProjectId id = kProject) {
    for (int i = 0; i < 100; ++i) {
      if (const auto grant = Request(provider)) {
        ASSERT_TRUE(Submit(*grant, i).accepted);
        continue;
      }
      std::vector<Effect> pending;
      scheduler_.PendingEffects(&pending);
      if (pending.empty()) return;
      Do(StepFolded{id, scheduler_.FindProject(id)->version, DigestOf(1'000 + i)});
    }
  }
  ProjectView View(ProjectId id = kProject) { return *scheduler_.FindProject(id); }

  SchedulerOptions options_;
  Scheduler scheduler_{options_};
  Instant now_{1'700'000'000'000'000};
  std::vector<Effect> last_effects_;
};

TEST_F(SchedulerTest, CutsAnEpochIntoTasksThatCoverEverySampleOnce) {
  Submit({.train_samples = 10, .total_tasks = 3, .task_size = 3});
  const auto a = Request(kAnna), b = Request(kBen), c = Request(kCleo);
  ASSERT_TRUE(a && b && c);
  EXPECT_EQ(a->task, (Task{kProject, TaskKind::kTrain, 0, 0, 0, 0, 3}));
  EXPECT_EQ(b->task, (Task{kProject, TaskKind::kTrain, 0, 0, 1, 3, 6}));
  EXPECT_EQ(c->task, (Task{kProject, TaskKind::kTrain, 0, 0, 2, 6, 10}));
  EXPECT_FALSE(a->backup || b->backup || c->backup);
}

TEST_F(SchedulerTest, CutsTheLargestEpochWithoutOverflow) {
  Submit({.train_samples = kSamplesMax, .total_tasks = UINT32_MAX, .task_size = 1u << 10});
  const auto grant = Request(kAnna);
  ASSERT_TRUE(grant);
  EXPECT_EQ(grant->task.end, kSamplesMax / UINT32_MAX);
  EXPECT_EQ(View().steps_total, 1u << 22);
  EXPECT_EQ(View().tasks_total, UINT32_MAX);
}

TEST_F(SchedulerTest, FoldsAStepInTaskOrderWhateverTheOrderOfArrival) {
  Submit({.train_samples = 10, .total_tasks = 3, .task_size = 3});
  const auto a = Request(kAnna), b = Request(kBen), c = Request(kCleo);
  EXPECT_TRUE(Submit(*c, 3).accepted);
  EXPECT_TRUE(Submit(*a, 1).accepted);
  EXPECT_TRUE(Only<FoldStep>(last_effects_).empty());
  EXPECT_TRUE(Submit(*b, 2).accepted);
  const auto folds = Only<FoldStep>(last_effects_);
  ASSERT_EQ(folds.size(), 1u);
  EXPECT_EQ(folds[0].step, 0u);
  ASSERT_EQ(folds[0].inputs.size(), 3u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(folds[0].inputs[i].task_index, static_cast<std::uint32_t>(i));
    EXPECT_EQ(folds[0].inputs[i].update, DigestOf(i + 1));
    EXPECT_EQ(folds[0].inputs[i].samples, i == 2 ? 4u : 3u);
  }
}

TEST_F(SchedulerTest, OpensTheNextStepOnlyWhenTheFoldIsDurable) {
  Submit({.train_samples = 30, .total_tasks = 3, .task_size = 2});
  const auto a = Request(kAnna), b = Request(kBen);
  Submit(*a, 1);
  Submit(*b, 2);
  EXPECT_FALSE(scheduler_.HasWorkFor(now_, kAnna));
  EXPECT_FALSE(Request(kAnna));
  last_effects_ = Do(StepFolded{kProject, 0, DigestOf(100)});
  EXPECT_TRUE(Woken());
  const auto next = Request(kAnna);
  ASSERT_TRUE(next);
  EXPECT_EQ(next->task, (Task{kProject, TaskKind::kTrain, 1, 0, 2, 20, 30}));
  EXPECT_EQ(View().version, 1u);
  EXPECT_EQ(View().weights, DigestOf(100));
}

TEST_F(SchedulerTest, IgnoresAFoldOfAnotherStepAndARepeatedOne) {
  Submit({.train_samples = 30, .total_tasks = 3, .task_size = 1});
  Do(StepFolded{kProject, 0, DigestOf(1)});  // Nothing is ready.
  Submit(*Request(kAnna), 1);
  Do(StepFolded{kProject, 1, DigestOf(2)});
  Do(StepFolded{{99}, 0, DigestOf(3)});
  EXPECT_EQ(View().version, 0u);
  Do(StepFolded{kProject, 0, DigestOf(4)});
  Do(StepFolded{kProject, 0, DigestOf(5)});
  EXPECT_EQ(View().version, 1u);
  EXPECT_EQ(View().weights, DigestOf(4));
}

TEST_F(SchedulerTest, AsksForTheFoldAgainAfterARestart) {
  Submit({.train_samples = 30, .total_tasks = 3, .task_size = 1});
  Submit(*Request(kAnna), 1);
  auto restored = Scheduler::Restore(scheduler_.Snapshot(), options_);
  ASSERT_THAT(restored, Succeeds());
  std::vector<Effect> effects;
  restored->PendingEffects(&effects);
  const auto folds = Only<FoldStep>(effects);
  ASSERT_EQ(folds.size(), 1u);
  EXPECT_EQ(folds[0].inputs[0].update, DigestOf(1));
}

TEST_F(SchedulerTest, EvaluatesTheEndOfEachEpochBesideTheStepsThatFollow) {
  Submit({.train_samples = 20,
          .validation_samples = 7,
          .epochs = 2,
          .total_tasks = 2,
          .task_size = 2});
  const auto a = Request(kAnna), b = Request(kBen);
  Submit(*a, 1);
  Submit(*b, 2);
  Do(StepFolded{kProject, 0, DigestOf(100)});
  EXPECT_EQ(Request(kAnna)->task.kind, TaskKind::kTrain) << "training comes first";
  EXPECT_EQ(Request(kBen)->task.kind, TaskKind::kTrain);
  const auto evaluation = Request(kCleo);
  ASSERT_TRUE(evaluation);
  EXPECT_EQ(evaluation->task, (Task{kProject, TaskKind::kEvaluate, 1, 1, 0, 0, 7}));
  last_effects_ = Do(ResultSubmitted{
      kCleo, evaluation->lease, {}, {.samples = 7, .loss_sum_micro = -5, .correct = 6}});
  const auto evaluated = Only<VersionEvaluated>(last_effects_);
  ASSERT_EQ(evaluated.size(), 1u);
  EXPECT_EQ(evaluated[0].metrics.correct, 6u);
  ASSERT_EQ(View().evaluations.size(), 1u);
  EXPECT_EQ(View().evaluations[0].version, 1u);
  EXPECT_EQ(View().evaluations[0].epochs, 1u);
}

TEST_F(SchedulerTest, FinishesWhenAllStepsAreFoldedAndAllEvaluationsAreIn) {
  Submit({.train_samples = 20,
          .validation_samples = 7,
          .epochs = 2,
          .total_tasks = 3,
          .task_size = 2});
  RunAlone(kAnna);
  const ProjectView view = View();
  EXPECT_EQ(view.phase, ProjectPhase::kFinished);
  EXPECT_EQ(view.version, 4u);
  EXPECT_EQ(view.tasks_done, 6u);
  EXPECT_EQ(view.tasks_total, 6u);
  EXPECT_EQ(view.evaluations.size(), 2u);
  EXPECT_EQ(view.evaluations[1].version, 4u);
  EXPECT_EQ(view.ended, now_);
  EXPECT_FALSE(Request(kAnna));
}

TEST_F(SchedulerTest, FinishesWithTheLastFoldWhenThereIsNothingToEvaluate) {
  Submit({.train_samples = 20, .total_tasks = 1, .task_size = 1});
  Submit(*Request(kAnna), 1);
  const auto ended = Only<ProjectEnded>(Do(StepFolded{kProject, 0, DigestOf(9)}));
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_EQ(ended[0].phase, ProjectPhase::kFinished);
  EXPECT_EQ(scheduler_.next_deadline(), Instant::Never());
}

TEST_F(SchedulerTest, ExpiresASilentLeaseByTimeAloneAndWakesTheOthers) {
  Submit({.train_samples = 20, .total_tasks = 1, .task_size = 1});
  const auto a = Request(kAnna);
  ASSERT_TRUE(a);
  EXPECT_EQ(a->deadline, now_ + Duration::Seconds(15));
  Wait(Duration::Seconds(15));
  EXPECT_TRUE(Woken());
  EXPECT_EQ(View().tasks_leased, 0u);
  const Answer answer = Submit(*a, 1);
  EXPECT_FALSE(answer.accepted);
  EXPECT_THAT(answer.reason, HasSubstr("expired: it was not renewed for 15000 ms"));
  const auto again = Request(kBen);
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->backup);
  EXPECT_GT(again->lease, a->lease);
}

TEST_F(SchedulerTest, RefusesTheResultOfALeaseThatExpiredBeforeAnyTimerFired) {
  Submit({.train_samples = 20, .total_tasks = 1, .task_size = 1});
  const auto a = Request(kAnna);
  now_ = now_ + Duration::Seconds(15);
  EXPECT_FALSE(Submit(*a, 1).accepted);
}

TEST_F(SchedulerTest, KeepsALeaseThatIsRenewed) {
  Submit({.train_samples = 20, .total_tasks = 1, .task_size = 1});
  const auto a = Request(kAnna);
  for (int i = 0; i < 5; ++i) {
    Wait(Duration::Seconds(14));
    const auto answers = Only<Answer>(Do(LeaseRenewed{kAnna, a->lease, 4u + i}));
    EXPECT_TRUE(answers.at(0).accepted);
  }
  EXPECT_EQ(scheduler_.providers().at(0).samples_done, 8u);
  EXPECT_TRUE(Submit(*a, 1).accepted);
}

TEST_F(SchedulerTest, BacksUpASilentLeaseLongBeforeItExpires) {
  Submit({.train_samples = 20, .total_tasks = 2, .task_size = 2});
  const auto a = Request(kAnna);
  const auto b = Request(kBen);
  Wait(Duration::Milliseconds(400));
  Submit(*b, 2);  // 10 samples in 400 ms: a backup from 600 ms on, for leases to come.
  EXPECT_FALSE(Request(kBen)) << "too early for a backup";
  EXPECT_EQ(scheduler_.next_deadline(), a->deadline - Duration::Seconds(13));
  Wait(Duration::Milliseconds(1'600));
  EXPECT_TRUE(Woken());
  const auto backup = Request(kBen);
  ASSERT_TRUE(backup);
  EXPECT_TRUE(backup->backup);
  EXPECT_EQ(backup->task, a->task);
  EXPECT_FALSE(Request(kCleo)) << "no third lease of one task";
}

TEST_F(SchedulerTest, TimesABackupByWhatTasksTakeOnceThatIsKnown) {
  Submit({.train_samples = 40, .total_tasks = 4, .task_size = 2});
  Submit(*Request(kAnna), 1);
  const auto b = Request(kBen);
  Wait(Duration::Seconds(4));
  Submit(*b, 2);
  Do(StepFolded{kProject, 0, DigestOf(9)});
  // The mean of a task done at once and one of 4 s, the newer counting an eighth: 0.5 s.
  const auto slow = Request(kAnna);
  ASSERT_TRUE(slow);
  const Duration delay = scheduler_.state().leases.at(slow->lease).backup_from - now_;
  EXPECT_NEAR(delay.seconds(), 0.75, 0.01);
}

TEST_F(SchedulerTest, NeverOffersABackupBeforeTheShortestDelay) {
  Submit({.train_samples = 40, .total_tasks = 4, .task_size = 4});
  Submit(*Request(kAnna), 1);  // In no time at all.
  const auto slow = Request(kAnna);
  EXPECT_EQ(scheduler_.state().leases.at(slow->lease).backup_from - now_,
            Duration::Milliseconds(500));
}

TEST_F(SchedulerTest, BacksUpTheLeaseThatSeemsToEndLast) {
  Submit({.train_samples = 30, .total_tasks = 3, .task_size = 3});
  const auto a = Request(kAnna), b = Request(kBen), c = Request(kCleo);
  Wait(Duration::Seconds(3));
  Do(LeaseRenewed{kAnna, a->lease, 9});
  Do(LeaseRenewed{kBen, b->lease, 2});
  Do(LeaseRenewed{kCleo, c->lease, 5});
  EXPECT_EQ(Request({21})->task, b->task);
  EXPECT_EQ(Request({22})->task, c->task);
  EXPECT_EQ(Request({23})->task, a->task);
  EXPECT_FALSE(Request({24}));
}

TEST_F(SchedulerTest, BacksUpALeaseWithoutProgressFirstAndTheOldestOfEquals) {
  Submit({.train_samples = 40, .total_tasks = 4, .task_size = 4});
  const auto a = Request(kAnna), b = Request(kBen);
  Wait(Duration::Milliseconds(1));
  const auto c = Request(kCleo), d = Request({14});
  Wait(Duration::Seconds(3));
  Do(LeaseRenewed{kAnna, a->lease, 1});
  EXPECT_EQ(Request({21})->task, b->task);
  EXPECT_EQ(Request({22})->task, c->task);
  EXPECT_EQ(Request({23})->task, d->task);
  EXPECT_EQ(Request({24})->task, a->task);
}

TEST_F(SchedulerTest, CountsTheFirstResultOfATaskAndRevokesTheOtherLease) {
  Submit({.train_samples = 20, .total_tasks = 2, .task_size = 2});
  const auto a = Request(kAnna);
  Submit(*Request(kBen), 2);
  Wait(Duration::Seconds(2));
  const auto backup = Request(kBen);
  EXPECT_TRUE(Submit(*backup, 3).accepted);
  const auto revoked = Only<RevokeLease>(last_effects_);
  ASSERT_EQ(revoked.size(), 1u);
  EXPECT_EQ(revoked[0].provider, kAnna);
  EXPECT_EQ(revoked[0].lease, a->lease);
  ASSERT_EQ(Only<FoldStep>(last_effects_).size(), 1u);
  EXPECT_EQ(Only<FoldStep>(last_effects_)[0].inputs[0].update, DigestOf(3));
  const Answer late = Submit(*a, 4);
  EXPECT_FALSE(late.accepted);
  EXPECT_THAT(late.reason, HasSubstr("another provider's result counted first"));
  const auto renewed = Only<Answer>(Do(LeaseRenewed{kAnna, a->lease, 1}));
  EXPECT_FALSE(renewed.at(0).accepted);
}

TEST_F(SchedulerTest, AnswersARepeatedResultAsBeforeWithoutCountingItTwice) {
  Submit({.train_samples = 20, .total_tasks = 2, .task_size = 2});
  const auto a = Request(kAnna);
  EXPECT_TRUE(Submit(*a, 1).accepted);
  EXPECT_TRUE(Submit(*a, 1).accepted);
  const Answer other = Submit(*a, 2);
  EXPECT_FALSE(other.accepted);
  EXPECT_THAT(other.reason, HasSubstr("another result of this lease"));
  const ProviderView view = scheduler_.providers().at(0);
  EXPECT_EQ(view.tasks_accepted, 1u);
  EXPECT_EQ(view.samples_accepted, 10u);
  EXPECT_EQ(view.results_refused, 1u);
  EXPECT_EQ(View().tasks_done, 1u);
}

TEST_F(SchedulerTest, RefusesAResultForAnotherProvidersLease) {
  Submit({.train_samples = 20, .total_tasks = 2, .task_size = 2});
  const auto a = Request(kAnna), b = Request(kBen);
  GrantLease forged = *a;
  forged.provider = kBen;
  EXPECT_THAT(Submit(forged, 1).reason, HasSubstr("belongs to another provider"));
  forged.provider = kCleo;  // Never seen.
  EXPECT_THAT(Submit(forged, 1).reason, HasSubstr("not known"));
  forged = *b;
  forged.lease = {4'711};
  EXPECT_THAT(Submit(forged, 1).reason, HasSubstr("not current"));
  forged.lease = {};
  EXPECT_FALSE(Submit(forged, 1).accepted);
  EXPECT_TRUE(Submit(*a, 1).accepted);
  EXPECT_EQ(scheduler_.providers().size(), 2u) << "a forged event made a provider";
}

TEST_F(SchedulerTest, RefusesAResultOfAnotherNumberOfSamplesAndLeasesTheTaskAgain) {
  Submit({.train_samples = 20, .total_tasks = 2, .task_size = 2});
  const auto a = Request(kAnna);
  last_effects_ = Do(ResultSubmitted{kAnna, a->lease, DigestOf(1), {.samples = 9}});
  const Answer answer = Only<Answer>(last_effects_).at(0);
  EXPECT_FALSE(answer.accepted);
  EXPECT_THAT(answer.reason, HasSubstr("of 9 samples"));
  EXPECT_THAT(answer.reason, HasSubstr("the task has 10"));
  EXPECT_TRUE(Woken());
  EXPECT_FALSE(scheduler_.HasWorkFor(now_, kAnna)) << "it must wait";
  EXPECT_EQ(Request(kBen)->task, a->task);
}

TEST_F(SchedulerTest, RefusesMoreCorrectAnswersThanSamples) {
  Submit({.train_samples = 20, .total_tasks = 2, .task_size = 2});
  const auto a = Request(kAnna);
  last_effects_ = Do(ResultSubmitted{kAnna, a->lease, DigestOf(1), {.samples = 10, .correct = 11}});
  EXPECT_FALSE(Only<Answer>(last_effects_).at(0).accepted);
}

TEST_F(SchedulerTest, MakesAFailingProviderWaitTwiceAsLongEachTimeUpToALimit) {
  options_.task_failures_max = 100;
  scheduler_ = Scheduler(options_);
  Submit({.train_samples = 20, .total_tasks = 2, .task_size = 2});
  for (const int seconds : {1, 2, 4, 8, 16, 32, 64, 64}) {
    const auto grant = Request(kAnna);
    ASSERT_TRUE(grant);
    EXPECT_TRUE(Fail(*grant, "no memory").accepted);
    EXPECT_TRUE(Woken());
    EXPECT_EQ(scheduler_.next_deadline(), now_ + kSecond * seconds);
    EXPECT_FALSE(scheduler_.HasWorkFor(now_ + kSecond * seconds - Duration{1}, kAnna));
    EXPECT_TRUE(scheduler_.HasWorkFor(now_ + kSecond * seconds, kAnna));
    Wait(kSecond * seconds);
    EXPECT_TRUE(Woken());
  }
  Submit(*Request(kAnna), 1);
  Fail(*Request(kAnna), "no memory");
  EXPECT_EQ(scheduler_.next_deadline(), now_ + kSecond) << "a good result forgives";
}

TEST_F(SchedulerTest, FailsTheProjectWhenATaskFailedTooOften) {
  Submit({.train_samples = 20, .total_tasks = 2, .task_size = 2});
  const auto other = Request({100});
  for (std::uint64_t i = 1; i <= 8; ++i) {
    const auto grant = Request({i});
    ASSERT_TRUE(grant);
    ASSERT_EQ(grant->task.task_index, 1u);
    Fail(*grant, "layer 3 has no kernel");
  }
  EXPECT_EQ(View().phase, ProjectPhase::kFailed);
  EXPECT_EQ(View().failure, "task 1 of epoch 0 failed 8 times, last with: layer 3 has no kernel");
  EXPECT_EQ(Only<ProjectEnded>(last_effects_).at(0).phase, ProjectPhase::kFailed);
  EXPECT_EQ(Only<RevokeLease>(last_effects_).at(0).lease, other->lease);
  EXPECT_FALSE(Woken());
}

TEST_F(SchedulerTest, CutsAStrangersReasonBetweenTwoCharacters) {
  options_.task_failures_max = 1;
  scheduler_ = Scheduler(options_);
  Submit({.train_samples = 20, .total_tasks = 2, .task_size = 2});
  std::string reason;
  for (int i = 0; i < 1'000; ++i) reason += "\xC3\xA9";
  Fail(*Request(kAnna), reason);
  EXPECT_LE(View().failure.size(), kReasonBytesMax);
  EXPECT_GE(View().failure.size(), kReasonBytesMax - 1);
  EXPECT_EQ(View().failure.back(), '\xA9');
}

TEST_F(SchedulerTest, GivesNoLeaseWhilePausedButCountsWhatRuns) {
  Submit({.train_samples = 20, .total_tasks = 2, .task_size = 1});
  const auto a = Request(kAnna);
  last_effects_ = Do(ProjectPaused{kProject});
  EXPECT_TRUE(Only<RevokeLease>(last_effects_).empty());
  EXPECT_FALSE(Request(kBen));
  EXPECT_TRUE(Submit(*a, 1).accepted);
  ASSERT_EQ(Only<FoldStep>(last_effects_).size(), 1u);
  Do(StepFolded{kProject, 0, DigestOf(9)});
  EXPECT_EQ(View().version, 1u);
  EXPECT_FALSE(Request(kBen));
  last_effects_ = Do(ProjectResumed{kProject});
  EXPECT_TRUE(Woken());
  EXPECT_TRUE(Request(kBen));
}

TEST_F(SchedulerTest, RevokesEverythingWhenAProjectIsCancelled) {
  Submit({.train_samples = 20, .total_tasks = 2, .task_size = 2});
  const auto a = Request(kAnna);
  ASSERT_TRUE(Request(kBen));
  last_effects_ = Do(ProjectCancelled{kProject});
  const auto revoked = Only<RevokeLease>(last_effects_);
  ASSERT_EQ(revoked.size(), 2u);
  EXPECT_THAT(revoked[0].reason, HasSubstr("cancelled"));
  EXPECT_EQ(Only<ProjectEnded>(last_effects_).at(0).phase, ProjectPhase::kCancelled);
  EXPECT_THAT(Submit(*a, 1).reason, HasSubstr("the project is over"));
  for (const Event& event : {Event(ProjectResumed{kProject}), Event(ProjectPaused{kProject}),
                             Event(ProjectCancelled{kProject})}) {
    EXPECT_TRUE(Do(event).empty());
  }
  EXPECT_EQ(View().phase, ProjectPhase::kCancelled);
  EXPECT_FALSE(Request(kBen));
  EXPECT_EQ(scheduler_.next_deadline(), Instant::Never());
}

TEST_F(SchedulerTest, GivesARestartedProviderANewLeaseInPlaceOfItsOld) {
  Submit({.train_samples = 20, .total_tasks = 2, .task_size = 2});
  const auto first = Request(kAnna);
  EXPECT_TRUE(scheduler_.HasWorkFor(now_, kAnna));
  const auto second = Request(kAnna);
  ASSERT_TRUE(second);
  EXPECT_NE(second->lease, first->lease);
  EXPECT_EQ(second->task, first->task);
  EXPECT_EQ(View().contributors, 1u);
  EXPECT_THAT(Submit(*first, 1).reason, HasSubstr("asked for another"));
  EXPECT_TRUE(Submit(*second, 1).accepted);
}

TEST_F(SchedulerTest, ServesTheProjectWithTheFewestLeasesFirst) {
  Submit({.train_samples = 20, .total_tasks = 4, .task_size = 4}, {1});
  Submit({.train_samples = 20, .total_tasks = 4, .task_size = 4}, {2});
  std::vector<std::uint64_t> order;
  for (std::uint64_t i = 1; i <= 4; ++i) order.push_back(Request({i})->task.project.value);
  EXPECT_THAT(order, ElementsAre(1, 2, 1, 2));
}

TEST_F(SchedulerTest, KeepsToTheProjectsLimitOfContributors) {
  Submit({.train_samples = 20, .total_tasks = 4, .task_size = 4, .contributors_max = 2});
  const auto a = Request(kAnna);
  ASSERT_TRUE(Request(kBen));
  EXPECT_FALSE(Request(kCleo));
  EXPECT_TRUE(Request(kAnna)) << "one who contributes already may go on";
  const auto again = scheduler_.providers().at(0).lease;
  last_effects_ = Do(LeaseReleased{kAnna, again, false, ""});
  EXPECT_TRUE(Woken());
  EXPECT_TRUE(Request(kCleo));
  EXPECT_FALSE(Submit(*a, 1).accepted);
}

TEST_F(SchedulerTest, MeasuresAProvidersSpeed) {
  Submit({.train_samples = 20, .total_tasks = 2, .task_size = 2});
  const auto a = Request(kAnna);
  Do(ResultSubmitted{kAnna, a->lease, DigestOf(1), {.samples = 10, .compute_us = 5'000}});
  EXPECT_EQ(scheduler_.providers().at(0).us_per_1000_samples, 500'000u);
}

TEST_F(SchedulerTest, SurvivesMetricsOfAbsurdSize) {
  Submit({.train_samples = 20, .total_tasks = 2, .task_size = 2});
  for (const auto& grant : {*Request(kAnna), *Request(kBen)}) {
    const Metrics absurd{.samples = 10, .loss_sum_micro = INT64_MIN, .compute_us = UINT64_MAX};
    Do(ResultSubmitted{grant.provider, grant.lease, DigestOf(1), absurd});
  }
  Do(StepFolded{kProject, 0, DigestOf(9)});
  EXPECT_EQ(View().last_step->metrics.loss_sum_micro, INT64_MIN);
  EXPECT_EQ(View().last_step->metrics.compute_us, UINT64_MAX);
}

TEST_F(SchedulerTest, TakesATimeThatWentBackForTheLastOne) {
  Submit({.train_samples = 20, .total_tasks = 2, .task_size = 2});
  const auto a = Request(kAnna);
  const Instant before = now_;
  now_ = {-5};
  EXPECT_EQ(Request(kBen)->deadline, a->deadline);
  now_ = Instant::Never();
  Do(TimePassed{});  // Far ahead, but no overflow.
  now_ = before;
  EXPECT_FALSE(Submit(*a, 1).accepted);
}

TEST_F(SchedulerTest, ForgetsAProviderThatWasSilentForLong) {
  Submit({.train_samples = 20, .total_tasks = 2, .task_size = 2});
  Fail(*Request(kAnna), "no memory");
  now_ = now_ + options_.provider_silence_max;
  Request(kBen);
  ASSERT_EQ(scheduler_.providers().size(), 1u);
  EXPECT_EQ(scheduler_.providers()[0].provider, kBen);
}

TEST_F(SchedulerTest, IgnoresWhatCannotBe) {
  EXPECT_TRUE(Do(ProjectSubmitted{kProject, {}}).empty());
  EXPECT_TRUE(Do(ProjectSubmitted{{}, {.train_samples = 1}}).empty());
  EXPECT_TRUE(Do(LeaseRequested{{}}).empty());
  EXPECT_TRUE(Do(ProjectPaused{kProject}).empty());
  EXPECT_TRUE(scheduler_.projects().empty());
  EXPECT_FALSE(scheduler_.FindProject(kProject).has_value());
  Submit({.train_samples = 20, .total_tasks = 2, .task_size = 2});
  EXPECT_TRUE(Do(ProjectSubmitted{kProject, {.train_samples = 5}}).empty());
  EXPECT_EQ(View().config.train_samples, 20u);
}

TEST(CheckConfigTest, NamesTheFieldThatCannotBe) {
  EXPECT_THAT(CheckConfig({.train_samples = 1}), Succeeds());
  const auto refuses = [](ProjectConfig config, const char* what) {
    EXPECT_THAT(CheckConfig(config), FailsWith(ErrorCode::kInvalidArgument, HasSubstr(what)));
  };
  refuses({}, "train_samples is 0");
  refuses({.train_samples = 5, .epochs = 0}, "epochs is 0");
  refuses({.train_samples = 5, .total_tasks = 0}, "total_tasks is 0");
  refuses({.train_samples = 5, .total_tasks = 6}, "total_tasks is 6, but there are only 5");
  refuses({.train_samples = 5, .total_tasks = 5, .task_size = 0}, "task_size is 0");
  refuses({.train_samples = 5, .total_tasks = 5, .task_size = 6},
          "task_size is 6, but total_tasks is 5");
  refuses({.train_samples = 1u << 22, .total_tasks = 1u << 21, .task_size = 1u << 21},
          "at most 1048576");
  refuses({.train_samples = kSamplesMax + 1}, "at most 281474976710656");
}

}  // namespace
}  // namespace dnc::sched
