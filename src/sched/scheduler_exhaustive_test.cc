// Two providers and three tasks, and every order in which things can happen to them:
// requests, results, failures, renewals, forgeries, repeats, silence, pauses, folds. At
// each state that is reached the scheduler is restored from its snapshot (a crash
// there), compared with a replay of all events, judged by a naive witness, and healed:
// once the providers behave, the project must finish.

#include <deque>
#include <set>

#include "sched/grid_witness.h"
#include "sched/scheduler.h"
#include "sched/state.h"
#include "testing/testing.h"

namespace dnc::sched {
namespace {

using test::GridWitness;
using test::UpdateOf;
using test::WeightsOf;

constexpr ProjectId kProject{7};
constexpr ProviderId kProviders[] = {{1}, {2}};

struct Step {
  Instant now;
  Event event;
};

struct Node {
  Bytes snapshot;
  GridWitness witness;
  std::vector<Step> path;
};

SchedulerOptions SmallOptions() {
  SchedulerOptions options;
  options.task_failures_max = 2;  // Few states, and still every way out of them.
  return options;
}

// The state without what does not matter for what follows: absolute times, the
// numbers of leases, counters that are only shown.
std::string Fingerprint(const Scheduler& scheduler) {
  const Scheduler::State& state = scheduler.state();
  std::string text;
  const auto put = [&text](auto number) { text += std::to_string(number) + ","; };
  const auto ago = [&](Instant at) { put((at - state.now).us); };
  for (const auto& [id, project] : state.projects) {
    put(static_cast<int>(project.phase));
    put(project.step);
    put(project.us_per_1024_samples);
    for (const TaskState& task : project.tasks) {
      put(task.done ? 1 : 0);
      put(task.failures);
      text += task.update.Hex().substr(0, 4);
    }
    for (const auto& [version, task] : project.open_evaluations) {
      put(version);
      put(task.failures);
    }
    for (const EvaluationView& evaluation : project.evaluations) put(evaluation.version);
    put(project.best.epochs);
    put(project.best.best);
    put(project.best_metrics.loss_sum_micro);
    put(project.epoch_metrics.loss_sum_micro);
  }
  for (const auto& [id, provider] : state.providers) {
    text += "p";
    put(id.value);
    put(provider.failures);
    put(std::max<std::int64_t>(0, (provider.backoff_until - state.now).us));
    put(provider.accepted_lease ? 1 : 0);
    put(provider.ended_lease ? 1 + static_cast<int>(provider.ended_how) : 0);
    put(provider.ended_lease < provider.accepted_lease ? 1 : 0);
  }
  for (const auto& [id, lease] : state.leases) {
    text += "l";
    put(lease.provider.value);
    put(static_cast<int>(lease.task.kind));
    put(lease.task.key);
    put(lease.backup ? 1 : 0);
    ago(lease.granted);
    ago(lease.expires);
    put(std::max<std::int64_t>(0, (lease.backup_from - state.now).us));
    put(lease.samples_done);
  }
  return text;
}

// Losses that grow from the first epoch on, so that it is the best one.
std::int64_t LossOf(const Task& task) {
  const std::uint32_t epoch = task.kind == TaskKind::kTrain ? task.epoch + 1 : task.epoch;
  return static_cast<std::int64_t>((task.end - task.begin) * epoch);
}

class Explorer {
 public:
  // `last_version`: with which the project has to end; 0: with that of its last step.
  explicit Explorer(const ProjectConfig& config, std::uint64_t last_version = 0)
      : config_(config), last_version_(last_version) {}

  // Visits every state within `depth` events of the start; returns how many.
  std::size_t Run(int depth) {
    Node start{Scheduler(options_).Snapshot(), GridWitness(options_), {}};
    Visit(start, {Instant{1'000'000}, ProjectSubmitted{kProject, config_}});
    for (int i = 1; i < depth && !::testing::Test::HasFailure(); ++i) {
      std::deque<Node> level;
      level.swap(next_);
      while (!level.empty() && !::testing::Test::HasFailure()) {
        const Node node = std::move(level.front());
        level.pop_front();
        for (const Step& step : Choices(node)) Visit(node, step);
      }
    }
    return seen_.size();
  }

  std::size_t finished() const { return finished_; }
  std::size_t failed() const { return failed_; }

 private:
  Scheduler Restored(const Bytes& snapshot) const {
    auto restored = Scheduler::Restore(snapshot, options_);
    EXPECT_THAT(restored, dnc::test::Succeeds());
    return std::move(restored).value();
  }

  // All that can happen next, the absurd included.
  std::vector<Step> Choices(const Node& node) const {
    const Scheduler scheduler = Restored(node.snapshot);
    const Instant now = scheduler.state().now;
    std::vector<Step> steps;
    const auto add = [&](Event event) { steps.push_back({now, std::move(event)}); };
    for (const ProviderId provider : kProviders) {
      const ProviderId other = provider == kProviders[0] ? kProviders[1] : kProviders[0];
      add(LeaseRequested{provider});
      if (const auto id = node.witness.LeaseOf(provider)) {
        const Task& task = node.witness.leases().at(*id).task;
        const Metrics metrics{
            .samples = task.end - task.begin, .loss_sum_micro = LossOf(task), .correct = 1};
        add(ResultSubmitted{provider, *id, UpdateOf(task, provider), metrics});
        add(ResultSubmitted{provider, *id, UpdateOf(task, provider), {.samples = 1'000}});
        add(ResultSubmitted{other, *id, UpdateOf(task, other), metrics});
        add(LeaseReleased{provider, *id, false, ""});
        add(LeaseReleased{provider, *id, true, "out of memory"});
        add(LeaseRenewed{provider, *id, (task.end - task.begin) / 2});
        add(LeaseRenewed{other, *id, 1});
      }
      // The provider's last lease that is over, again.
      for (auto it = node.witness.leases().rbegin(); it != node.witness.leases().rend(); ++it) {
        if (it->second.provider != provider || node.witness.LeaseOf(provider) == it->first) {
          continue;
        }
        const Task& task = it->second.task;
        add(ResultSubmitted{
            provider, it->first, UpdateOf(task, provider), {.samples = task.end - task.begin}});
        add(ResultSubmitted{
            provider, it->first, UpdateOf(task, other), {.samples = task.end - task.begin}});
        add(LeaseRenewed{provider, it->first, 1});
        break;
      }
    }
    if (const auto view = scheduler.FindProject(kProject); view.has_value()) {
      add(StepFolded{kProject, view->version, WeightsOf(kProject, view->version + 1)});
      if (view->version > 0) add(StepFolded{kProject, view->version - 1, Digest{}});
      add(StepFolded{kProject, view->version + 1, Digest{}});
      add(ProjectPaused{kProject});
      add(ProjectResumed{kProject});
    }
    if (const Instant at = scheduler.next_deadline(); at != Instant::Never()) {
      steps.push_back({at, TimePassed{}});
    }
    return steps;
  }

  void Visit(const Node& from, const Step& step) {
    Scheduler scheduler = Restored(from.snapshot);
    Node node{{}, from.witness, from.path};
    node.path.push_back(step);
    std::vector<Effect> effects;
    ApplyAndJudge(scheduler, node.witness, step, &effects);
    if (!seen_.insert(Fingerprint(scheduler)).second) return;
    scheduler.CheckInvariants();
    node.snapshot = scheduler.Snapshot();
    CheckCrash(scheduler, node, effects);
    Heal(node);
    if (::testing::Test::HasFailure()) ADD_FAILURE() << Describe(node.path);
    next_.push_back(std::move(node));
  }

  // Applies one event, and checks that nobody who waits is forgotten.
  void ApplyAndJudge(Scheduler& scheduler, GridWitness& witness, const Step& step,
                     std::vector<Effect>* effects) const {
    bool idle_before[2];
    const Instant before = scheduler.state().now;
    for (int i = 0; i < 2; ++i) {
      idle_before[i] =
          !witness.LeaseOf(kProviders[i]) && !scheduler.HasWorkFor(before, kProviders[i]);
    }
    const auto* request = std::get_if<LeaseRequested>(&step.event);
    const bool promised = request != nullptr && scheduler.HasWorkFor(step.now, request->provider);
    scheduler.Apply(step.now, step.event, effects);
    witness.Observe(step.now, step.event, *effects);
    bool woken = false;
    bool granted = false;
    for (const Effect& effect : *effects) {
      woken |= std::holds_alternative<WorkAvailable>(effect);
      granted |= std::holds_alternative<GrantLease>(effect);
    }
    EXPECT_EQ(granted, promised) << "HasWorkFor said otherwise";
    const Instant deadline = scheduler.next_deadline();
    EXPECT_GT(deadline, step.now);
    for (int i = 0; i < 2; ++i) {
      const ProviderId provider = kProviders[i];
      if (witness.LeaseOf(provider)) continue;
      const bool has_work = scheduler.HasWorkFor(step.now, provider);
      EXPECT_TRUE(woken || !(idle_before[i] && has_work)) << "a wake-up was lost";
      // Between two deadlines nothing changes by itself.
      const Instant late =
          deadline == Instant::Never() ? step.now + Duration::Minutes(60) : deadline - Duration{1};
      EXPECT_EQ(scheduler.HasWorkFor(late, provider), has_work);
    }
  }

  // A restart here goes on exactly as if there had been none.
  void CheckCrash(const Scheduler& scheduler, const Node& node,
                  const std::vector<Effect>& last_effects) const {
    Scheduler restored = Restored(node.snapshot);
    restored.CheckInvariants();
    EXPECT_EQ(restored.Snapshot(), node.snapshot);
    Scheduler replayed(options_);
    std::vector<Effect> effects;
    for (const Step& step : node.path) {
      effects.clear();
      const Result<Event> event = DecodeEvent(EncodeEvent(step.event));
      ASSERT_THAT(event, dnc::test::Succeeds());
      replayed.Apply(step.now, *event, &effects);
    }
    EXPECT_EQ(replayed.digest(), scheduler.digest());
    EXPECT_EQ(Fingerprint(replayed), Fingerprint(restored)) << "a snapshot that forgets";
    EXPECT_EQ(effects.size(), last_effects.size());
    effects.clear();
    restored.PendingEffects(&effects);
    EXPECT_EQ(effects.size(), node.witness.AwaitsFold(kProject) ? 1u : 0u);
    for (const Effect& effect : effects) node.witness.OnFold(std::get<FoldStep>(effect));
    // The same moment once more: every timer has had its say.
    effects.clear();
    restored.Apply(restored.state().now, TimePassed{}, &effects);
    EXPECT_TRUE(effects.empty()) << "a storm of events";
    EXPECT_EQ(restored.digest(), scheduler.digest());
  }

  // From here on everyone behaves. The project must end, and well, unless it failed.
  void Heal(const Node& node) {
    Scheduler scheduler = Restored(node.snapshot);
    GridWitness witness = node.witness;
    Instant now = scheduler.state().now;
    const auto apply = [&](Event event) {
      std::vector<Effect> effects;
      ApplyAndJudge(scheduler, witness, {now, std::move(event)}, &effects);
    };
    apply(ProjectResumed{kProject});
    for (int round = 0; round < 60; ++round) {
      const ProjectView view = *scheduler.FindProject(kProject);
      if (view.phase == ProjectPhase::kFinished) {
        EXPECT_EQ(view.version, last_version_ == 0 ? view.steps_total : last_version_);
        EXPECT_EQ(view.stopped_early, last_version_ != 0);
        if (last_version_ == 0) {
          EXPECT_EQ(view.tasks_done, view.tasks_total);
        } else {
          EXPECT_EQ(view.best.best, 1u);
        }
        EXPECT_EQ(view.weights, WeightsOf(kProject, view.version));
        ++finished_;
        return;
      }
      if (view.phase == ProjectPhase::kFailed) {
        EXPECT_THAT(view.failure, ::testing::HasSubstr("failed 2 times"));
        ++failed_;
        return;
      }
      bool moved = false;
      if (witness.AwaitsFold(kProject)) {
        apply(StepFolded{kProject, view.version, WeightsOf(kProject, view.version + 1)});
        moved = true;
      }
      for (const ProviderId provider : kProviders) {
        if (const auto id = witness.LeaseOf(provider)) {
          const Task task = witness.leases().at(*id).task;
          apply(
              ResultSubmitted{provider,
                              *id,
                              UpdateOf(task, provider),
                              {.samples = task.end - task.begin, .loss_sum_micro = LossOf(task)}});
          moved = true;
        } else if (scheduler.HasWorkFor(now, provider)) {
          apply(LeaseRequested{provider});
          moved = true;
        }
      }
      if (moved) continue;
      ASSERT_NE(scheduler.next_deadline(), Instant::Never()) << "nothing will ever happen";
      now = scheduler.next_deadline();
      apply(TimePassed{});
    }
    ADD_FAILURE() << "the project does not finish";
  }

  static std::string Describe(const std::vector<Step>& path) {
    std::string text = "path:";
    for (const Step& step : path) {
      text += " " + std::to_string(step.now.us) + ":" +
              HexEncode(EncodeEvent(step.event)).substr(0, 40);
    }
    return text;
  }

  const SchedulerOptions options_ = SmallOptions();
  const ProjectConfig config_;
  const std::uint64_t last_version_;
  std::set<std::string> seen_;
  std::deque<Node> next_;
  std::size_t finished_ = 0;
  std::size_t failed_ = 0;
};

TEST(SchedulerExhaustiveTest, FinishesFromEveryStateOfOneStepOfThreeTasks) {
  Explorer explorer({.train_samples = 10, .total_tasks = 3, .task_size = 3});
  EXPECT_GT(explorer.Run(7), 2'000u);
  EXPECT_GT(explorer.finished(), 0u);
  EXPECT_GT(explorer.failed(), 0u);
}

TEST(SchedulerExhaustiveTest, FinishesFromEveryStateOfTwoStepsWithAnEvaluation) {
  Explorer explorer(
      {.train_samples = 10, .validation_samples = 4, .total_tasks = 3, .task_size = 2});
  EXPECT_GT(explorer.Run(7), 2'000u);
  EXPECT_GT(explorer.finished(), 0u);
  EXPECT_GT(explorer.failed(), 0u);
}

TEST(SchedulerExhaustiveTest, FinishesFromEveryStateWithOneContributorAtATime) {
  Explorer explorer({.train_samples = 3, .total_tasks = 3, .task_size = 2, .contributors_max = 1});
  EXPECT_GT(explorer.Run(8), 1'000u);
  EXPECT_GT(explorer.finished(), 0u);
}

TEST(SchedulerExhaustiveTest, StopsAfterTheSameEpochFromEveryStateOfAWatchedValidation) {
  Explorer explorer({.train_samples = 4,
                     .validation_samples = 4,
                     .epochs = 4,
                     .stopping = StoppingRule{.patience = 1, .restore_best = true}},
                    2);
  EXPECT_GT(explorer.Run(8), 2'000u);
  EXPECT_GT(explorer.finished(), 0u);
  EXPECT_GT(explorer.failed(), 0u);
}

TEST(SchedulerExhaustiveTest, StopsAfterTheSameEpochFromEveryStateOfAWatchedTraining) {
  Explorer explorer({.train_samples = 4,
                     .validation_samples = 4,
                     .epochs = 4,
                     .stopping = StoppingRule{.monitor = Monitor::kLoss, .patience = 1}},
                    2);
  EXPECT_GT(explorer.Run(8), 2'000u);
  EXPECT_GT(explorer.finished(), 0u);
  EXPECT_GT(explorer.failed(), 0u);
}

}  // namespace
}  // namespace dnc::sched
