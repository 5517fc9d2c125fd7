#include "cli/status_text.h"

#include "testing/testing.h"

namespace dnc::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

proto::ProjectStatus Example() {
  proto::ProjectStatus status;
  status.summary.name = "photos";
  status.summary.version = 3;
  status.summary.steps_total = 12;
  status.summary.tasks_done = 12;
  status.summary.tasks_total = 48;
  status.has_last_step = true;
  status.last_step = {
      .step = 2, .samples = 4000, .loss = 0.5, .accuracy = 0.8, .samples_per_second = 2345.6};
  status.evaluations = {
      {.version = 2, .epochs = 1, .samples = 100, .loss = 0.25, .accuracy = 0.875}};
  proto::ProviderStatus provider;
  provider.name = "kitchen-pc";
  provider.has_task = true;
  provider.task = {.epoch = 1, .task_index = 5, .begin = 1000, .end = 2000};
  provider.samples_done = 250;
  provider.tasks_accepted = 7;
  provider.bytes_in = 1024;
  provider.bytes_out = 2048;
  status.providers = {provider};
  return status;
}

TEST(StatusTextTest, ShowsStepTasksSpeedLossAccuracyAndTimeLeft) {
  const auto lines = StatusLines(Example(), {.tasks = 6, .elapsed = Duration::Seconds(60)});
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0],
            "photos: running, step 3/12, tasks 12/48, 2,346 samples/s, loss 0.5000; validation "
            "loss 0.2500, accuracy 0.8750 (epoch 1), 6 min 0 s left");
  EXPECT_EQ(lines[1], "  kitchen-pc: task 5 of epoch 2 25%, 7 tasks, in 2 KiB, out 1 KiB");
}

TEST(StatusTextTest, ClaimsNoTimeLeftBeforeATaskHasEnded) {
  EXPECT_THAT(StatusLines(Example(), {}).front(), Not(HasSubstr("left")));
}

TEST(StatusTextTest, SaysWhichEpochIsTheBestAndWhetherItStoppedEarly) {
  proto::ProjectStatus status = Example();
  EXPECT_THAT(StatusLines(status, {}).front(), Not(HasSubstr("best")));
  status.stopping = proto::StoppingStatus{.epochs = 2, .best_epoch = 1, .model_version = 2};
  status.evaluations.push_back(
      {.version = 4, .epochs = 2, .samples = 100, .loss = 0.5, .accuracy = 0.75});
  EXPECT_THAT(StatusLines(status, {}).front(), HasSubstr("; epoch 1 is the best"));
  EXPECT_EQ(ModelEvaluation(status), "loss 0.2500, accuracy 0.8750 (epoch 1)");
  EXPECT_EQ(NewestEvaluation(status), "loss 0.5000, accuracy 0.7500 (epoch 2)");
  status.stopping->stopped_early = true;
  status.summary.phase = proto::Phase::kFinished;
  const std::string line =
      StatusLines(status, {.tasks = 6, .elapsed = Duration::Seconds(60)}).front();
  EXPECT_THAT(line, HasSubstr("stopped early after epoch 2; epoch 1 is the best"));
  EXPECT_THAT(line, Not(HasSubstr("left")));
}

TEST(StatusTextTest, ShowsRefusalsAndFailure) {
  proto::ProjectStatus status = Example();
  status.providers[0].has_task = false;
  status.providers[0].results_refused = 2;
  status.failure = "task 5 failed on 8 leases";
  const auto lines = StatusLines(status, {});
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_THAT(lines[1], HasSubstr("idle"));
  EXPECT_THAT(lines[1], HasSubstr("(2 refused)"));
  EXPECT_THAT(lines[2], HasSubstr("failed on 8"));
}

}  // namespace
}  // namespace dnc::cli
