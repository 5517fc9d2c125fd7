// Fifty providers, six projects, and faults drawn from a seed: providers that die,
// fall silent, lose answers, repeat, forge and fail; a server that crashes, restores a
// snapshot and has its folds to do again; pauses. Then everyone behaves, and all must
// finish. Two of the projects stop early, and always after the same epoch. A naive witness
// judges every step.

#include <array>

#include "base/prng.h"
#include "sched/grid_witness.h"
#include "sched/scheduler.h"
#include "testing/testing.h"

namespace dnc::sched {
namespace {

using test::GridWitness;
using test::UpdateOf;
using test::WeightsOf;

constexpr std::uint64_t kProviderCount = 50;
constexpr std::array<ProjectConfig, 6> kProjects = {{
    {.train_samples = 1'000,
     .validation_samples = 100,
     .epochs = 3,
     .total_tasks = 40,
     .task_size = 16},
    {.train_samples = 77, .epochs = 2, .total_tasks = 77, .task_size = 10},
    {.train_samples = 500,
     .validation_samples = 7,
     .epochs = 5,
     .total_tasks = 5,
     .task_size = 5,
     .contributors_max = 3},
    {.train_samples = 64, .validation_samples = 64, .epochs = 20, .total_tasks = 1, .task_size = 1},
    {.train_samples = 300,
     .validation_samples = 50,
     .epochs = 40,
     .total_tasks = 7,
     .task_size = 3,
     .stopping = StoppingRule{.patience = 3, .min_delta_nano = 20'000, .restore_best = true}},
    {.train_samples = 90,
     .validation_samples = 9,
     .epochs = 40,
     .total_tasks = 4,
     .task_size = 2,
     .stopping = StoppingRule{.monitor = Monitor::kLoss, .patience = 4}},
}};
constexpr std::uint64_t kProjectCount = kProjects.size();

// The loss of a task follows from the task alone: it falls for six epochs and then rises.
std::int64_t LossOf(const Task& task) {
  const std::int64_t epoch = task.kind == TaskKind::kTrain ? task.epoch + 1 : task.epoch;
  const std::int64_t sample_loss = 1'000 + 100 * std::max(6 - epoch, epoch - 6);
  return static_cast<std::int64_t>(task.end - task.begin) * sample_loss;
}
// The epoch after which a project has to end.
std::uint64_t LastEpoch(const ProjectConfig& config) {
  return config.stopping ? 6 + config.stopping->patience : config.epochs;
}

// What a provider believes.
struct Belief {
  LeaseId lease;  // 0: none.
  Task task;
  Instant done_at;
};

class Grid {
 public:
  explicit Grid(std::uint64_t seed) : prng_(seed), witness_(options_), scheduler_(options_) {}

  void Run(int event_count) {
    for (std::uint64_t i = 0; i < kProjects.size(); ++i) {
      Apply(ProjectSubmitted{{i + 1}, kProjects[i]});
    }
    for (int i = 0; i < event_count && !::testing::Test::HasFailure(); ++i) {
      now_ = now_ + Duration::Microseconds(static_cast<std::int64_t>(prng_.Below(40'000)));
      if (prng_.Below(8) == 0 && scheduler_.next_deadline() != Instant::Never()) {
        now_ = std::max(now_, scheduler_.next_deadline());
        Apply(TimePassed{});
      }
      OneEvent();
      if (i % 64 == 0) scheduler_.CheckInvariants();
    }
    Heal();
  }

  Digest digest() const { return scheduler_.digest(); }
  std::uint64_t refused() const { return refused_; }
  std::uint64_t backups() const { return backups_; }

 private:
  bool Chance(std::uint64_t one_in) { return prng_.Below(one_in) == 0; }

  void Apply(const Event& event) {
    std::vector<Effect> effects;
    scheduler_.Apply(now_, event, &effects);
    witness_.Observe(now_, event, effects);
    ASSERT_GT(scheduler_.next_deadline(), now_);
    for (const Effect& effect : effects) {
      if (const auto* grant = std::get_if<GrantLease>(&effect)) {
        if (grant->backup) ++backups_;
        if (Chance(20) && !healing_) continue;  // The answer is lost.
        const std::uint64_t samples = grant->task.end - grant->task.begin;
        // Slow and quick ones; every tenth is hopeless.
        const std::uint64_t us = samples * (200 + 300 * (grant->provider.value % 10));
        const bool hopeless = grant->provider.value % 10 == 9 && !healing_;
        beliefs_[grant->provider.value] = {
            grant->lease, grant->task,
            now_ + Duration::Microseconds(static_cast<std::int64_t>(us)) * (hopeless ? 100 : 1)};
      } else if (const auto* answer = std::get_if<Answer>(&effect)) {
        if (!answer->accepted) ++refused_;
      }
    }
  }

  void OneEvent() {
    switch (prng_.Below(40)) {
      case 0:
        return Crash();
      case 1:
        return Apply(Chance(2) ? Event(ProjectPaused{{1 + prng_.Below(kProjectCount)}})
                               : Event(ProjectResumed{{1 + prng_.Below(kProjectCount)}}));
      case 2:
        return Apply(ProjectResumed{{1 + prng_.Below(kProjectCount)}});
      case 3:
        return Forge();
      case 4:
      case 5:
      case 6:
        return Folds();
      default:
        return ProviderActs({1 + prng_.Below(kProviderCount)});
    }
  }

  // The snapshot is all that is left; what was in flight is lost.
  void Crash() {
    auto restored = Scheduler::Restore(scheduler_.Snapshot(), options_);
    ASSERT_THAT(restored, dnc::test::Succeeds());
    ASSERT_EQ(restored->digest(), scheduler_.digest());
    scheduler_ = std::move(restored).value();
    Folds();
  }

  void Folds() {
    std::vector<Effect> effects;
    scheduler_.PendingEffects(&effects);
    for (const Effect& effect : effects) {
      const auto& fold = std::get<FoldStep>(effect);
      witness_.OnFold(fold);
      const StepFolded folded{fold.project, fold.step, WeightsOf(fold.project, fold.step + 1)};
      Apply(folded);
      if (Chance(4)) Apply(folded);
    }
  }

  void Forge() {
    const ProviderId provider{1 + prng_.Below(kProviderCount + 5)};
    const LeaseId lease{prng_.Below(500)};
    if (const auto own = witness_.LeaseOf(provider); own == lease) return;
    switch (prng_.Below(3)) {
      case 0:
        return Apply(ResultSubmitted{provider, lease, Sha256({}), {.samples = prng_.Below(100)}});
      case 1:
        return Apply(LeaseRenewed{provider, lease, prng_.Next()});
      default:
        return Apply(LeaseReleased{provider, lease, true, "forged"});
    }
  }

  void ProviderActs(ProviderId provider) {
    Belief& belief = beliefs_[provider.value];
    if (!belief.lease) {
      if (scheduler_.HasWorkFor(now_, provider) || Chance(10)) Apply(LeaseRequested{provider});
      return;
    }
    if (Chance(50)) {  // It dies, and starts again with nothing.
      belief = {};
      return;
    }
    if (now_ < belief.done_at) return Apply(LeaseRenewed{provider, belief.lease, prng_.Below(30)});
    const Belief done = std::exchange(belief, {});
    if (Chance(100)) return Apply(LeaseReleased{provider, done.lease, true, "no memory"});
    if (Chance(50)) return Apply(LeaseReleased{provider, done.lease, false, ""});
    Metrics metrics{.samples = done.task.end - done.task.begin,
                    .loss_sum_micro = LossOf(done.task),
                    .compute_us = 1'000};
    if (Chance(100)) ++metrics.samples;
    const ResultSubmitted result{provider, done.lease, UpdateOf(done.task, provider), metrics};
    Apply(result);
    if (Chance(8)) Apply(result);  // The answer was lost.
  }

  void Heal() {
    healing_ = true;
    for (std::uint64_t i = 1; i <= kProjects.size(); ++i) Apply(ProjectResumed{{i}});
    for (int round = 0; round < 3'000 && !::testing::Test::HasFailure(); ++round) {
      if (AllEnded()) return;
      Folds();
      for (std::uint64_t id = 1; id <= kProviderCount; ++id) {
        Belief& belief = beliefs_[id];
        if (!belief.lease) {
          if (scheduler_.HasWorkFor(now_, {id})) Apply(LeaseRequested{{id}});
        } else if (now_ >= belief.done_at) {
          const Belief done = std::exchange(belief, {});
          Apply(ResultSubmitted{
              {id},
              done.lease,
              UpdateOf(done.task, {id}),
              {.samples = done.task.end - done.task.begin, .loss_sum_micro = LossOf(done.task)}});
        }
      }
      now_ = now_ + Duration::Milliseconds(50);
      if (scheduler_.next_deadline() <= now_) Apply(TimePassed{});
    }
    EXPECT_TRUE(AllEnded()) << "not all projects finished";
  }

  bool AllEnded() {
    for (const ProjectId id : scheduler_.projects()) {
      const ProjectView view = *scheduler_.FindProject(id);
      if (view.phase == ProjectPhase::kFailed) {
        ADD_FAILURE() << view.failure;
      } else if (view.phase != ProjectPhase::kFinished) {
        return false;
      } else {
        const std::uint64_t last = LastEpoch(view.config);
        const std::uint64_t last_version = view.steps_total / view.config.epochs * last;
        EXPECT_EQ(view.version, last_version);
        EXPECT_EQ(view.weights, WeightsOf(id, last_version));
        EXPECT_EQ(view.tasks_done, view.config.total_tasks * last);
        EXPECT_EQ(view.evaluations.size(), view.config.validation_samples == 0 ? 0 : last);
        EXPECT_EQ(view.stopped_early, view.config.stopping.has_value());
        if (view.config.stopping) {
          EXPECT_EQ(view.best.best, 6u);
        }
      }
    }
    return true;
  }

  const SchedulerOptions options_{.task_failures_max = 30};
  Prng prng_;
  GridWitness witness_;
  Scheduler scheduler_;
  Instant now_{1'000'000'000};
  std::map<std::uint64_t, Belief> beliefs_;
  bool healing_ = false;
  std::uint64_t refused_ = 0;
  std::uint64_t backups_ = 0;
};

TEST(SchedulerRandomTest, FinishesEveryProjectWhateverTheSeedDoesToFiftyProviders) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Grid grid(seed);
    grid.Run(2'500);
    Grid again(seed);
    again.Run(2'500);
    ASSERT_EQ(grid.digest(), again.digest());
    EXPECT_GT(grid.refused(), 0u) << "the faults do not reach the scheduler";
    EXPECT_GT(grid.backups(), 0u) << "no backup was ever taken";
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace dnc::sched
