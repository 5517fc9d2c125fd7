#include "provider/task_runner.h"

#include <limits>

#include "provider/scripted_grid.h"
#include "provider/trainers_for_test.h"
#include "testing/testing.h"
#include "update/update.h"

namespace dnc::provider {
namespace {

using ::testing::HasSubstr;

constexpr ProjectId kProject{7};
constexpr std::uint64_t kMemory = std::uint64_t{1} << 30;

agent::Task TrainTask(std::uint32_t task_index) {
  return {.project = kProject,
          .kind = agent::TaskKind::kTrain,
          .version = 0,
          .epoch = 1,
          .task_index = task_index,
          .begin = std::uint64_t{task_index} * 24,
          .end = std::uint64_t{task_index} * 24 + 24};
}

agent::Task EvaluationTask() {
  return {.project = kProject, .kind = agent::TaskKind::kEvaluate, .begin = 0, .end = 24};
}

// A runner on a scripted server, whose uploads are caught.
class Runner {
 public:
  explicit Runner(ScriptedGrid* grid, std::uint64_t memory_bytes = kMemory)
      : calls_(MakeCalls(grid)),
        cache_(*LeafCache::Open("", 0)),
        runner_({.limits = {.cores = 1, .memory_bytes = memory_bytes}, .cancelled = &cancelled_},
                calls_.get(), cache_.get(), [this] { return MakeHookedTrainer(&hooks_); }) {}

  Status Fetch() {
    DNC_TRY(runner_.FetchProject(kProject));
    return runner_.FetchWeights(kProject, 0);
  }
  Result<agent::Metrics> Run(const agent::Task& task) {
    return runner_.Run(task, [](std::uint64_t) {});
  }
  TaskRunner* operator->() { return &runner_; }
  TrainerHooks& hooks() { return hooks_; }
  std::atomic<bool>& cancelled() { return cancelled_; }

 private:
  std::unique_ptr<ServerCalls> MakeCalls(ScriptedGrid* grid) {
    ServerCallsOptions options;
    options.work_cancelled = &cancelled_;
    options.renewals_cancelled = &cancelled_;
    options.releases_cancelled = &cancelled_;
    return *grid->MakeCalls(options);
  }

  std::atomic<bool> cancelled_{false};
  TrainerHooks hooks_;
  std::unique_ptr<ServerCalls> calls_;
  std::unique_ptr<LeafCache> cache_;
  TaskRunner runner_;
};

class TaskRunnerTest : public ::testing::Test {
 protected:
  // What a runner would upload now.
  Bytes UpdateOf(Runner* runner) {
    // The server forgets leases of its own; the bytes are read where they are decoded.
    EXPECT_THAT((*runner)->Upload(LeaseId{1}, {}), test::Succeeds());
    return grid_.last_update();
  }

  ScriptedGrid grid_{{}};
};

TEST_F(TaskRunnerTest, AnUpdateIsWhatTrainingAddsToTheWeights) {
  Runner runner(&grid_);
  ASSERT_THAT(runner.Fetch(), test::Succeeds());
  const auto metrics = runner.Run(TrainTask(0));
  ASSERT_THAT(metrics, test::Succeeds());
  EXPECT_EQ(metrics->samples, 24u);
  EXPECT_GT(metrics->loss_sum_micro, 0);
  EXPECT_GT(metrics->compute_us, 0u);
  const auto update = update::Decode(UpdateOf(&runner), 4);
  ASSERT_THAT(update, test::Succeeds());
  // Towards y = x0 - 2 x1 + x2 / 2 + 3 from a bias of zero.
  EXPECT_GT((*update)[3], 0.1f);
  EXPECT_LT((*update)[3], 3.5f);
}

TEST_F(TaskRunnerTest, AResultHangsOnTheTaskAlone) {
  Runner fresh(&grid_);
  ASSERT_THAT(fresh.Fetch(), test::Succeeds());
  ASSERT_THAT(fresh.Run(TrainTask(1)), test::Succeeds());
  const Bytes expected = UpdateOf(&fresh);

  // Another memory limit, and other tasks before it on the same trainer.
  Runner used(&grid_, 4 * kMemory);
  ASSERT_THAT(used.Fetch(), test::Succeeds());
  ASSERT_THAT(used.Run(TrainTask(3)), test::Succeeds());
  EXPECT_NE(UpdateOf(&used), expected);
  ASSERT_THAT(used.Run(EvaluationTask()), test::Succeeds());
  ASSERT_THAT(used.Run(TrainTask(1)), test::Succeeds());
  EXPECT_EQ(UpdateOf(&used), expected);
  EXPECT_EQ(used.hooks().configured, 1);
}

TEST_F(TaskRunnerTest, SamplesCountAsTheProjectSaysInTrainingAlone) {
  Runner plain(&grid_);
  ASSERT_THAT(plain.Fetch(), test::Succeeds());
  const auto evaluated = plain.Run(EvaluationTask());
  ASSERT_THAT(plain.Run(TrainTask(1)), test::Succeeds());
  const Bytes unweighted = UpdateOf(&plain);
  grid_.fault.on_work = [](proto::ProjectWork* work) { work->fit.sample_weight = "w"; };
  Runner weighted(&grid_);
  ASSERT_THAT(weighted.Fetch(), test::Succeeds());
  EXPECT_TRUE(weighted->project()->TrainerOptionsFor(1).weighted);
  const auto again = weighted.Run(EvaluationTask());
  ASSERT_THAT(again, test::Succeeds());
  EXPECT_EQ(again->loss_sum_micro, evaluated->loss_sum_micro);
  ASSERT_THAT(weighted.Run(TrainTask(1)), test::Succeeds());
  const Bytes expected = UpdateOf(&weighted);
  EXPECT_NE(expected, unweighted);
  // Whatever was done before it.
  ASSERT_THAT(weighted.Run(TrainTask(3)), test::Succeeds());
  ASSERT_THAT(weighted.Run(TrainTask(1)), test::Succeeds());
  EXPECT_EQ(UpdateOf(&weighted), expected);
}

TEST_F(TaskRunnerTest, AnEvaluationChangesNothingAndUploadsNothing) {
  Runner runner(&grid_);
  ASSERT_THAT(runner.Fetch(), test::Succeeds());
  const auto first = runner.Run(EvaluationTask());
  ASSERT_THAT(first, test::Succeeds());
  EXPECT_EQ(first->samples, 24u);
  EXPECT_EQ(runner->update_bytes(), 0u);
  ASSERT_THAT(runner.Run(TrainTask(0)), test::Succeeds());
  EXPECT_GT(runner->update_bytes(), 0u);
  const auto second = runner.Run(EvaluationTask());
  ASSERT_THAT(second, test::Succeeds());
  EXPECT_EQ(second->loss_sum_micro, first->loss_sum_micro);
  EXPECT_EQ(runner->update_bytes(), 0u);
}

TEST_F(TaskRunnerTest, FetchesWhatAFailedFetchLeftBehind) {
  Runner runner(&grid_);
  EXPECT_THAT(runner.Run(TrainTask(0)), test::Succeeds());
  EXPECT_EQ(grid_.calls("GetWork"), 1);
  EXPECT_EQ(grid_.calls("GetWeights"), 1);
}

TEST_F(TaskRunnerTest, ReportsADeadTrainerWithItsLastWordsAndStartsAnother) {
  Runner runner(&grid_);
  ASSERT_THAT(runner.Fetch(), test::Succeeds());
  ASSERT_THAT(runner.Run(TrainTask(1)), test::Succeeds());
  const Bytes expected = UpdateOf(&runner);
  runner.hooks().on_submit = [](const std::atomic<bool>&) -> Status {
    return Error{ErrorCode::kUnavailable, "the trainer died: out of luck"};
  };
  EXPECT_THAT(runner.Run(TrainTask(1)),
              test::FailsWith(ErrorCode::kUnavailable, HasSubstr("out of luck")));
  runner.hooks().on_submit = nullptr;
  EXPECT_THAT(runner.Run(TrainTask(1)), test::Succeeds());
  EXPECT_EQ(UpdateOf(&runner), expected);
  EXPECT_EQ(runner.hooks().started, 2);
}

TEST_F(TaskRunnerTest, ACancelledTaskKeepsTheTrainerAndLeavesNoTraceInTheNext) {
  Runner runner(&grid_);
  ASSERT_THAT(runner.Fetch(), test::Succeeds());
  ASSERT_THAT(runner.Run(TrainTask(1)), test::Succeeds());
  const Bytes expected = UpdateOf(&runner);
  const auto cancelled =
      runner->Run(TrainTask(2), [&](std::uint64_t) { runner.cancelled() = true; });
  EXPECT_THAT(cancelled, test::FailsWith(ErrorCode::kCancelled));
  runner.cancelled() = false;
  const auto metrics = runner.Run(TrainTask(1));
  ASSERT_THAT(metrics, test::Succeeds());
  EXPECT_EQ(metrics->samples, 24u);
  EXPECT_EQ(UpdateOf(&runner), expected);
  EXPECT_EQ(runner.hooks().started, 1);
}

TEST_F(TaskRunnerTest, RefusesWeightsThatAreNotThoseOfTheModel) {
  Runner runner(&grid_);
  ASSERT_THAT(runner->FetchProject(kProject), test::Succeeds());
  const auto send = [&](Bytes wrong) {
    grid_.fault.on_weights = [wrong](Bytes* bytes) { *bytes = wrong; };
    return runner->FetchWeights(kProject, 0);
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(send(update::Encode(std::vector<float>{1, 2, 3})),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("version 0")));
  EXPECT_THAT(send(update::Encode(std::vector<float>{1, 2, nan, 4})),
              test::FailsWith(ErrorCode::kCorrupt, HasSubstr("not finite")));
  Bytes damaged = update::Encode(std::vector<float>{1, 2, 3, 4});
  damaged.back() ^= std::byte{1};
  EXPECT_THAT(send(damaged), test::FailsWith(ErrorCode::kCorrupt));
  EXPECT_THAT(send({}), test::FailsWith(ErrorCode::kCorrupt));
}

TEST_F(TaskRunnerTest, RefusesShardsThatAreNotThoseOfTheManifest) {
  Runner runner(&grid_);
  ASSERT_THAT(runner.Fetch(), test::Succeeds());
  grid_.fault.on_object = [](std::span<std::byte> out) { out[0] ^= std::byte{1}; };
  EXPECT_THAT(runner.Run(TrainTask(0)), test::FailsWith(ErrorCode::kCorrupt));
  grid_.fault.on_object = nullptr;
  EXPECT_THAT(runner.Run(TrainTask(0)), test::Succeeds());
}

TEST_F(TaskRunnerTest, AShardThatTheServerLacksIsNoLostLease) {
  Runner runner(&grid_);
  ASSERT_THAT(runner.Fetch(), test::Succeeds());
  grid_.fault.on_call = [](const std::string& call) -> std::optional<Error> {
    if (call != "GetObjectRange") return std::nullopt;
    return Error{ErrorCode::kNotFound, "no such object"};
  };
  EXPECT_THAT(runner.Run(TrainTask(0)),
              test::FailsWith(ErrorCode::kCorrupt, HasSubstr("no such object")));
}

TEST_F(TaskRunnerTest, RefusesTasksBeyondTheData) {
  Runner runner(&grid_);
  ASSERT_THAT(runner.Fetch(), test::Succeeds());
  agent::Task task = TrainTask(0);
  task.end = 97;
  EXPECT_THAT(runner.Run(task), test::FailsWith(ErrorCode::kCorrupt, HasSubstr("97")));
  task.begin = task.end = 10;
  EXPECT_THAT(runner.Run(task), test::FailsWith(ErrorCode::kCorrupt));
  task.begin = 200;
  task.end = 224;
  EXPECT_THAT(runner.Run(task), test::FailsWith(ErrorCode::kCorrupt));
}

TEST_F(TaskRunnerTest, RefusesAnotherProjectThanTheOneAskedFor) {
  Runner runner(&grid_);
  EXPECT_THAT(runner->FetchProject(ProjectId{8}),
              test::FailsWith(ErrorCode::kCorrupt, HasSubstr("project 8")));
}

}  // namespace
}  // namespace dnc::provider
