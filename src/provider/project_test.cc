#include "provider/project.h"

#include "provider/scripted_grid.h"
#include "testing/testing.h"
#include "training/grid_window.h"

namespace dnc::provider {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;

constexpr std::uint64_t kMemory = std::uint64_t{1} << 30;

// What a server might send, with one thing wrong.
class ProjectTest : public ::testing::Test {
 protected:
  Result<Project> Parse() { return ParseProject(work_, {1, kMemory}); }
  void Replace(std::string* text, const std::string& from, const std::string& to) {
    const auto at = text->find(from);
    ASSERT_NE(at, std::string::npos);
    text->replace(at, from.size(), to);
  }

  ScriptedGrid grid_{{}};
  proto::ProjectWork work_ = grid_.work();
};

TEST_F(ProjectTest, TakesWhatAnHonestServerSends) {
  const auto project = Parse();
  ASSERT_THAT(project, test::Succeeds());
  EXPECT_EQ(project->name, "line");
  EXPECT_EQ(project->model.weight_count, 4u);
  EXPECT_EQ(project->TrainerOptionsFor(3).threads, 3);
  EXPECT_EQ(project->TrainerOptionsFor(3).batch_size_max, 8u);
}

TEST_F(ProjectTest, RefusesAModelOfAnUnknownLayer) {
  Replace(&work_.model_json, "\"Dense\"", "\"Lambda\"");
  EXPECT_THAT(Parse(), test::FailsWith(ErrorCode::kUnsupported, HasSubstr("Lambda")));
}

TEST_F(ProjectTest, RefusesAModelThatIsNotCompiled) {
  work_.model_json.resize(work_.model_json.find("\"compile\""));
  work_.model_json.resize(work_.model_json.rfind(','));
  work_.model_json += "}";
  EXPECT_THAT(Parse(), test::FailsWith(ErrorCode::kCorrupt, HasSubstr("compile")));
}

TEST_F(ProjectTest, RefusesWhatIsNoManifest) {
  work_.manifest_json = "[]";
  EXPECT_FALSE(Parse().ok());
  work_.manifest_json.resize(work_.manifest_json.size() / 2);
  EXPECT_FALSE(Parse().ok());
}

TEST_F(ProjectTest, RefusesAnotherCountOfWeightsThanTheModels) {
  ++work_.weight_count;
  EXPECT_THAT(Parse(), test::FailsWith(ErrorCode::kCorrupt, AllOf(HasSubstr("5"), HasSubstr("4"))));
}

TEST_F(ProjectTest, RefusesABatchSizeOfZero) {
  work_.fit.batch_size = 0;
  EXPECT_THAT(Parse(), test::FailsWith(ErrorCode::kCorrupt, HasSubstr("batch size")));
}

TEST_F(ProjectTest, RefusesASplitThatTheDataDoNotHave) {
  work_.fit.train_split = "training";
  EXPECT_THAT(Parse(), test::FailsWith(ErrorCode::kCorrupt, HasSubstr("training")));
  work_.fit.train_split = "train";
  work_.fit.validation_split = "nothing";
  EXPECT_THAT(Parse(), test::FailsWith(ErrorCode::kCorrupt, HasSubstr("nothing")));
}

TEST_F(ProjectTest, RefusesWeightsThatTheDataDoNotHave) {
  work_.fit.sample_weight = "v";
  EXPECT_THAT(Parse(), test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("\"v\"")));
  work_.fit.sample_weight = "x";
  EXPECT_THAT(Parse(), test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("one number")));
  work_.fit.sample_weight = "";
  work_.fit.class_weight = {{"hat", 2}};
  EXPECT_THAT(Parse(), test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("hat")));
  work_.fit.class_weight.clear();
  work_.fit.class_weight_balanced = true;
  EXPECT_THAT(Parse(), test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("not counted")));
}

TEST_F(ProjectTest, RefusesAProjectThatNeedsMoreMemoryThanIsLentAndShowsTheArithmetic) {
  EXPECT_THAT(ParseProject(work_, {2, 300 << 20}),
              test::FailsWith(ErrorCode::kTooLarge,
                              AllOf(HasSubstr("\"line\" needs about"),
                                    HasSubstr("programs 328 MiB"), HasSubstr("lends 300 MiB"))));
  // A wide layer: 3 x 20,000,000 weights and as many biases.
  Replace(&work_.model_json, "\"units\": 1", "\"units\": 20000000");
  work_.weight_count = 80'000'000;
  EXPECT_THAT(Parse(), test::FailsWith(AnyOf(ErrorCode::kTooLarge, ErrorCode::kInvalidArgument)));
}

TEST_F(ProjectTest, RefusesATaskBeyondTheData) {
  const auto project = Parse();
  ASSERT_THAT(project, test::Succeeds());
  EXPECT_THAT(TrainPlan(*project, 0, 0, 24), test::Succeeds());
  EXPECT_THAT(TrainPlan(*project, 0, 96, 120), test::FailsWith(ErrorCode::kCorrupt));
  EXPECT_THAT(EvaluationPlan(*project, 24, 48), test::FailsWith(ErrorCode::kCorrupt));
}

TEST_F(ProjectTest, TheWindowHangsOnTheManifestAlone) {
  const auto small = ParseProject(work_, {1, 500 << 20});
  const auto large = ParseProject(work_, {1, std::uint64_t{64} << 30});
  ASSERT_THAT(small, test::Succeeds());
  ASSERT_THAT(large, test::Succeeds());
  EXPECT_EQ(TrainPlan(*small, 0, 0, 24)->options().window_samples,
            TrainPlan(*large, 0, 0, 24)->options().window_samples);
}

TEST(GridWindowTest, IsAboutEightMebibytesOfSamples) {
  shard::Manifest manifest;
  manifest.columns = {{"x", array::DType::kUint8, {1024}, {}}};
  manifest.splits = {{"train", 1'000'000, {}}, {"small", 3, {}}, {"empty", 0, {}}};
  manifest.shards.resize(1);
  manifest.shards[0].split = "train";
  manifest.shards[0].block_samples = 512;
  EXPECT_EQ(training::GridWindowSamples(manifest, "train"), 8192u);
  EXPECT_EQ(training::GridWindowSamples(manifest, "small"), 3u);
  EXPECT_EQ(training::GridWindowSamples(manifest, "empty"), 1u);
  // A block that is larger has to be decoded anyway.
  manifest.shards[0].block_samples = 10'000;
  EXPECT_EQ(training::GridWindowSamples(manifest, "train"), 10'000u);
  manifest.columns[0].shape = {1 << 30};
  manifest.shards[0].block_samples = 1;
  EXPECT_EQ(training::GridWindowSamples(manifest, "train"), 1u);
}

}  // namespace
}  // namespace dnc::provider
