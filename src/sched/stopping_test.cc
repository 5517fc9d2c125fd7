// Projects that end before their last epoch: when, with which version, and that neither
// the number of providers, nor their order, nor a restart has a say in it.

#include "sched/state.h"
#include "testing/testing.h"

namespace dnc::sched {
namespace {

using dnc::test::FailsWith;
using dnc::test::Succeeds;
using ::testing::HasSubstr;

constexpr ProjectId kProject{1};
constexpr ProviderId kAnna{11};
constexpr ProviderId kBen{12};
constexpr std::uint64_t kStepsPerEpoch = 2;

ProjectConfig Config(StoppingRule rule, std::uint32_t epochs = 9) {
  return {.train_samples = 20,
          .validation_samples = 10,
          .epochs = epochs,
          .total_tasks = 3,
          .task_size = 2,
          .stopping = rule};
}

class StoppingTest : public ::testing::Test {
 protected:
  std::vector<Effect> Do(const Event& event) {
    std::vector<Effect> effects;
    if (restarts_) {
      auto restored = Scheduler::Restore(scheduler_.Snapshot(), options_);
      EXPECT_THAT(restored, Succeeds());
      scheduler_ = std::move(restored).value();
    }
    scheduler_.Apply(now_, event, &effects);
    scheduler_.CheckInvariants();
    return effects;
  }
  static bool Has(const std::vector<Effect>& effects, auto predicate) {
    return std::any_of(effects.begin(), effects.end(), predicate);
  }
  std::optional<GrantLease> Request(ProviderId provider) {
    for (const Effect& effect : Do(LeaseRequested{provider})) {
      if (const auto* grant = std::get_if<GrantLease>(&effect)) return *grant;
    }
    return std::nullopt;
  }
  // The figures of a task follow from its epoch: figures_ in hundredths a sample.
  std::vector<Effect> Finish(const GrantLease& grant) {
    const Task& task = grant.task;
    const std::uint64_t samples = task.end - task.begin;
    const std::uint32_t epoch = task.kind == TaskKind::kTrain ? task.epoch : task.epoch - 1;
    const int figure = figures_.at(std::min<std::size_t>(epoch, figures_.size() - 1));
    return Do(
        ResultSubmitted{grant.provider,
                        grant.lease,
                        Sha256({}),
                        {.samples = samples,
                         .loss_sum_micro = static_cast<std::int64_t>(samples) * figure * 10'000,
                         .correct = samples * static_cast<std::uint64_t>(figure) / 100}});
  }
  bool Fold() {
    std::vector<Effect> pending;
    scheduler_.PendingEffects(&pending);
    if (pending.empty()) return false;
    const auto& fold = std::get<FoldStep>(pending.front());
    Do(StepFolded{fold.project, fold.step, Sha256(AsBytes(std::to_string(fold.step)))});
    return true;
  }
  // Works until nothing is left; the providers finish in the order given.
  void Run(const std::vector<ProviderId>& providers) {
    for (int round = 0; round < 200; ++round) {
      bool moved = false;
      std::vector<GrantLease> grants;
      for (const ProviderId provider : providers) {
        if (const auto grant = Request(provider)) grants.push_back(*grant);
      }
      for (auto it = grants.rbegin(); it != grants.rend(); ++it) {
        Finish(*it);
        moved = true;
      }
      moved |= Fold();
      if (!moved) return;
    }
    ADD_FAILURE() << "the project does not end";
  }
  ProjectView View() { return *scheduler_.FindProject(kProject); }
  void Begin(const ProjectConfig& config) {
    scheduler_ = Scheduler(options_);
    Do(ProjectSubmitted{kProject, config});
  }

  SchedulerOptions options_;
  Scheduler scheduler_{options_};
  Instant now_{1'700'000'000'000'000};
  std::vector<int> figures_;
  bool restarts_ = false;  // Before every event.
};

TEST_F(StoppingTest, EndsAfterTheEpochThatPatienceRunsOutIn) {
  figures_ = {90, 70, 70, 80, 10};
  for (const Monitor monitor : {Monitor::kValidationLoss, Monitor::kLoss}) {
    SCOPED_TRACE(MonitorName(monitor));
    Begin(Config({.monitor = monitor, .patience = 2}));
    Run({kAnna});
    const ProjectView view = View();
    EXPECT_EQ(view.phase, ProjectPhase::kFinished);
    EXPECT_TRUE(view.stopped_early);
    EXPECT_EQ(view.best, (BestSoFar{.epochs = 4, .best = 2}));
    EXPECT_EQ(view.version, 4 * kStepsPerEpoch);
    EXPECT_EQ(view.model_version, 4 * kStepsPerEpoch);
    EXPECT_EQ(view.tasks_done, 12u);
    EXPECT_EQ(view.tasks_total, 27u);
    EXPECT_EQ(view.evaluations.size(), 4u);
    EXPECT_FALSE(Request(kAnna));
  }
}

TEST_F(StoppingTest, AnAccuracyIsBetterWhenItIsHigher) {
  figures_ = {50, 70, 60, 60, 99};
  for (const Monitor monitor : {Monitor::kValidationAccuracy, Monitor::kAccuracy}) {
    Begin(Config({.monitor = monitor, .patience = 2, .restore_best = true}));
    Run({kAnna, kBen});
    EXPECT_EQ(View().best, (BestSoFar{.epochs = 4, .best = 2}));
    EXPECT_EQ(View().model_version, 2 * kStepsPerEpoch);
  }
}

TEST_F(StoppingTest, TheSameWithOneProviderWithTwoAndWithARestartBeforeEveryEvent) {
  figures_ = {90, 70, 75, 60, 61, 62, 63, 1};
  for (const Monitor monitor : {Monitor::kValidationLoss, Monitor::kLoss}) {
    for (const bool restarts : {false, true}) {
      for (const auto& providers : {std::vector{kAnna}, {kAnna, kBen}, {kBen, kAnna}}) {
        restarts_ = restarts;
        Begin(Config({.monitor = monitor, .patience = 3, .restore_best = true}));
        Run(providers);
        EXPECT_EQ(View().phase, ProjectPhase::kFinished);
        EXPECT_EQ(View().best, (BestSoFar{.epochs = 7, .best = 4}));
        EXPECT_EQ(View().version, 7 * kStepsPerEpoch);
        EXPECT_EQ(View().model_version, 4 * kStepsPerEpoch);
      }
    }
  }
}

TEST_F(StoppingTest, NothingOfTheNextEpochIsGivenOutBeforeTheVerdict) {
  figures_ = {90};
  Begin(Config({.monitor = Monitor::kValidationLoss, .patience = 1}));
  for (std::uint64_t i = 0; i < 3; ++i) {
    Finish(*Request(kAnna));
    Fold();
  }
  EXPECT_EQ(View().version, kStepsPerEpoch);
  const auto evaluation = Request(kAnna);
  ASSERT_TRUE(evaluation);
  EXPECT_EQ(evaluation->task.kind, TaskKind::kEvaluate);
  EXPECT_FALSE(scheduler_.HasWorkFor(now_, kBen));
  EXPECT_FALSE(Request(kBen));
  EXPECT_EQ(View().best.epochs, 0u);
  const auto effects = Finish(*evaluation);
  EXPECT_TRUE(
      Has(effects, [](const Effect& e) { return std::holds_alternative<WorkAvailable>(e); }));
  EXPECT_EQ(View().best.epochs, 1u);
  EXPECT_EQ(Request(kBen)->task.kind, TaskKind::kTrain);
}

TEST_F(StoppingTest, AnEvaluationIsCountedOnce) {
  figures_ = {90};
  Begin(Config({.monitor = Monitor::kValidationLoss, .patience = 9}));
  for (int i = 0; i < 3; ++i) {
    Finish(*Request(kAnna));
    Fold();
  }
  const auto first = Request(kAnna);
  now_ = now_ + Duration::Seconds(10);
  const auto backup = Request(kBen);
  ASSERT_TRUE(first && backup && backup->backup);
  EXPECT_EQ(backup->task, first->task);
  Finish(*backup);
  Finish(*first);
  Finish(*backup);
  EXPECT_EQ(View().best, (BestSoFar{.epochs = 1, .best = 1}));
}

TEST_F(StoppingTest, BesideATrainingFigureEvaluationsGoOnAndAreWaitedForAtTheEnd) {
  figures_ = {90, 95};
  Begin(Config({.monitor = Monitor::kLoss, .patience = 1}));
  for (int i = 0; i < 6; ++i) {
    const auto grant = Request(kAnna);
    EXPECT_EQ(grant->task.kind, TaskKind::kTrain);
    Finish(*grant);
    Fold();
  }
  EXPECT_EQ(View().phase, ProjectPhase::kRunning);
  EXPECT_EQ(View().best, (BestSoFar{.epochs = 2, .best = 1}));
  for (int i = 0; i < 2; ++i) Finish(*Request(kAnna));
  EXPECT_EQ(View().phase, ProjectPhase::kFinished);
  EXPECT_EQ(View().evaluations.size(), 2u);
  EXPECT_EQ(View().version, 2 * kStepsPerEpoch);
}

TEST_F(StoppingTest, WithPatienceLeftItEndsWithItsLastEpochAndHandsOutTheBest) {
  figures_ = {90, 50, 60};
  Begin(Config({.patience = 2, .restore_best = true}, 3));
  Run({kAnna});
  EXPECT_EQ(View().phase, ProjectPhase::kFinished);
  EXPECT_FALSE(View().stopped_early);
  EXPECT_EQ(View().version, 3 * kStepsPerEpoch);
  EXPECT_EQ(View().model_version, 2 * kStepsPerEpoch);
  // Patience that runs out with the last epoch ends nothing early.
  Begin(Config({.patience = 1}, 3));
  Run({kAnna});
  EXPECT_FALSE(View().stopped_early);
}

TEST_F(StoppingTest, HandsOutTheNewestUntilThereIsABestOneAndTheBestWhenItIsCancelled) {
  figures_ = {50, 90};
  Begin(Config({.patience = 8, .restore_best = true}));
  Finish(*Request(kAnna));
  Finish(*Request(kAnna));
  Fold();
  EXPECT_EQ(View().version, 1u);
  EXPECT_EQ(View().model_version, 1u);
  for (int i = 0; i < 8; ++i) {
    if (const auto grant = Request(kAnna)) Finish(*grant);
    Fold();
  }
  EXPECT_GT(View().version, 2 * kStepsPerEpoch);
  EXPECT_EQ(View().model_version, kStepsPerEpoch);
  Do(ProjectCancelled{kProject});
  EXPECT_EQ(View().model_version, kStepsPerEpoch);
  EXPECT_FALSE(View().stopped_early);
}

TEST_F(StoppingTest, WhatIsBetterByMinDeltaAloneIsNotBetter) {
  const StoppingRule rule{.monitor = Monitor::kLoss, .min_delta_nano = 250'000'000};
  const Metrics best{.samples = 4, .loss_sum_micro = 8'000'000};
  EXPECT_FALSE(IsBetterEpoch(rule, {.samples = 4, .loss_sum_micro = 7'000'000}, best));
  EXPECT_TRUE(IsBetterEpoch(rule, {.samples = 4, .loss_sum_micro = 6'999'999}, best));
  const StoppingRule accuracy{.monitor = Monitor::kAccuracy, .min_delta_nano = 250'000'000};
  EXPECT_FALSE(IsBetterEpoch(accuracy, {.samples = 4, .correct = 2}, {.samples = 4, .correct = 1}));
  EXPECT_TRUE(IsBetterEpoch(accuracy, {.samples = 4, .correct = 3}, {.samples = 4, .correct = 1}));
  // Nothing overflows at the ends of the ranges.
  const StoppingRule wide{.monitor = Monitor::kLoss, .min_delta_nano = kMinDeltaNanoMax};
  EXPECT_TRUE(IsBetterEpoch(wide, {.samples = 1, .loss_sum_micro = INT64_MIN},
                            {.samples = 1, .loss_sum_micro = INT64_MAX}));
  EXPECT_FALSE(IsBetterEpoch(wide, {.samples = kSamplesMax, .loss_sum_micro = INT64_MIN},
                             {.samples = kSamplesMax, .loss_sum_micro = INT64_MAX}));
}

TEST_F(StoppingTest, RefusesARuleThatCannotBeFollowed) {
  ProjectConfig config = Config({.monitor = Monitor::kValidationAccuracy});
  config.validation_samples = 0;
  EXPECT_THAT(CheckConfig(config),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("val_accuracy")));
  config.stopping->monitor = Monitor::kAccuracy;
  EXPECT_THAT(CheckConfig(config), Succeeds());
  config.stopping->min_delta_nano = kMinDeltaNanoMax + 1;
  EXPECT_THAT(CheckConfig(config), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("min_delta")));
}

}  // namespace
}  // namespace dnc::sched
