// Local training with the real loader over a real (memory) store, and least squares
// in place of libtorch.

#include "training/local_training.h"

#include <cstring>

#include "base/prng.h"
#include "shard/content_id.h"
#include "shard/shard_writer.h"
#include "shard/statistics.h"
#include "testing/testing.h"
#include "trainer/fake_trainer.h"

namespace dnc::training {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kSamples = 1000;
constexpr int kFeatures = 4;

constexpr char kModelJson[] = R"({
  "class_name": "Sequential",
  "config": {"name": "line", "layers": [
    {"class_name": "InputLayer", "config": {"batch_input_shape": [null, 4], "name": "in"}},
    {"class_name": "Dense", "config": {"name": "out", "units": 1, "activation": "linear"}}]},
  "compile": {"optimizer": {"class_name": "SGD", "learning_rate": 0.05}, "loss": "mse"}})";

// y = 1 x0 + 2 x1 + 3 x2 + 4 x3 + 5, without noise.
array::SampleBlock MakeSamples(std::uint64_t count, Prng* prng) {
  array::SampleBlock block;
  block.sample_count = count;
  ByteWriter x;
  ByteWriter y;
  for (std::uint64_t i = 0; i < count; ++i) {
    float label = 5;
    for (int f = 0; f < kFeatures; ++f) {
      const auto feature = static_cast<float>(prng->Unit() - 0.5);
      label += static_cast<float>(f + 1) * feature;
      x.Put(feature);
    }
    y.Put(label);
  }
  block.columns = {std::move(x).Take(), std::move(y).Take()};
  return block;
}

class LocalTrainingTest : public ::testing::Test {
 protected:
  LocalTrainingTest() : store_(store::MakeMemoryStore()) {
    const array::ColumnSpec x{.name = "x", .dtype = array::DType::kFloat32, .shape = {kFeatures}};
    const array::ColumnSpec y{.name = "y", .dtype = array::DType::kFloat32, .shape = {}};
    manifest_.name = "line";
    manifest_.columns = {x, y};
    Prng prng(11);
    AddSplit("train", kSamples, &prng);
    AddSplit("validation", 100, &prng);
    const auto model = model::ParseModel(kModelJson, "model.json");
    EXPECT_THAT(model, test::Succeeds());
    model_ = *model;
    options_.epochs = 3;
    options_.batch_size = 10;
    options_.validation_split = "validation";
    options_.checkpoint_every = Duration();
  }

  void AddSplit(const std::string& split, std::uint64_t samples, Prng* prng) {
    constexpr std::uint32_t kBlockSamples = 64;
    shard::ContentHasher hasher;
    shard::StatisticsAccumulator statistics(manifest_.columns);
    auto object = store_->Create();
    ASSERT_THAT(object, test::Succeeds());
    shard::ShardWriter writer(manifest_.columns, {.block_samples = kBlockSamples},
                              [&](ByteSpan bytes) {
                                hasher.Update(bytes);
                                return (*object)->Write(bytes);
                              });
    for (std::uint64_t done = 0; done < samples; done += kBlockSamples) {
      const auto block = MakeSamples(std::min<std::uint64_t>(kBlockSamples, samples - done), prng);
      statistics.Add(block);
      ASSERT_THAT(writer.Append(block), test::Succeeds());
    }
    ASSERT_THAT(writer.Finish(), test::Succeeds());
    const auto identity = hasher.Finish();
    ASSERT_THAT((*object)->Commit(identity.cid), test::Succeeds());
    manifest_.splits.push_back(
        {.name = split, .samples = samples, .statistics = statistics.Compute()});
    manifest_.shards.push_back({.cid = identity.cid,
                                .split = split,
                                .bytes = identity.bytes,
                                .samples = samples,
                                .block_samples = kBlockSamples,
                                .leaves = identity.leaves});
  }

  Result<LocalTrainingOutcome> Train(LocalTrainingObserver* observer = nullptr) {
    trainer::FakeTrainer trainer;
    return TrainLocally(model_, manifest_, *store_, &trainer, options_, observer);
  }

  std::unique_ptr<store::ObjectStore> store_;
  shard::Manifest manifest_;
  model::Model model_;
  LocalTrainingOptions options_;
  test::TemporaryFolder folder_;
};

// Stops after a number of batches.
class StopAfter final : public LocalTrainingObserver {
 public:
  explicit StopAfter(int batches) : left_(batches) {}
  bool OnProgress(const LocalProgress&) override { return --left_ > 0; }
  Status OnEpoch(const std::vector<EpochReport>&, bool is_best,
                 const std::function<Result<std::vector<float>>()>&) override {
    ++epochs;
    if (is_best) best = epochs;
    return {};
  }
  void OnResumed(const Checkpoint&) override { ++resumed; }

  int epochs = 0;
  int best = 0;
  int resumed = 0;

 private:
  int left_;
};

EpochReport Report(double loss, double validation_loss, std::uint64_t correct) {
  EpochReport report;
  report.train = {.samples = 10, .loss_sum = 10 * loss, .correct = correct};
  report.validation = {.samples = 10, .loss_sum = 10 * validation_loss, .correct = correct};
  return report;
}

TEST(BestEpochTest, TheFirstIsTheBestUntilOneIsBetterByEnough) {
  const std::vector<EpochReport> history = {Report(3, 2, 5), Report(2, 1.5, 5), Report(1, 1.4, 8),
                                            Report(0.5, 1.6, 7)};
  EXPECT_EQ(BestEpoch(history, {.monitor = Monitor::kLoss}), 3u);
  EXPECT_EQ(BestEpoch(history, {.monitor = Monitor::kValidationLoss}), 2u);
  EXPECT_EQ(BestEpoch(history, {.monitor = Monitor::kValidationLoss, .min_delta = 0.2}), 1u);
  EXPECT_EQ(BestEpoch(history, {.monitor = Monitor::kAccuracy}), 2u);
  EXPECT_EQ(BestEpoch(history, {.monitor = Monitor::kValidationAccuracy, .min_delta = 0.5}), 0u);
}

TEST_F(LocalTrainingTest, StopsEarlyAndResumesToTheSameEnd) {
  options_.epochs = 200;
  options_.patience = 2;
  options_.best.min_delta = 1e-3;
  const auto whole = Train();
  ASSERT_THAT(whole, test::Succeeds());
  EXPECT_TRUE(whole->stopped_early);
  const std::size_t best = BestEpoch(whole->history, options_.best);
  EXPECT_EQ(whole->history.size(), best + 3);
  EXPECT_GT(whole->history.back().steps, whole->history.front().steps);

  options_.checkpoint_path = folder_ / "stopping.checkpoint";
  options_.resume = true;
  StopAfter stop(45);
  EXPECT_THAT(Train(&stop), test::FailsWith(ErrorCode::kCancelled, HasSubstr("--resume")));
  StopAfter last(1'000'000);
  const auto resumed = Train(&last);
  ASSERT_THAT(resumed, test::Succeeds());
  EXPECT_EQ(last.resumed, 1);
  EXPECT_EQ(resumed->weights, whole->weights);
  EXPECT_EQ(resumed->history.size(), whole->history.size());
  EXPECT_EQ(last.best + stop.epochs, static_cast<int>(best) + 1);
}

TEST_F(LocalTrainingTest, EarlyStoppingAsksForWhatItWatches) {
  options_.validation_split.clear();
  options_.patience = 1;
  EXPECT_THAT(Train(), test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("val_loss")));
  options_.best.monitor = Monitor::kLoss;
  EXPECT_THAT(Train(), test::Succeeds());
}

TEST_F(LocalTrainingTest, BeginsAtGivenWeights) {
  const auto first = Train();
  ASSERT_THAT(first, test::Succeeds());
  LocalTrainingOptions fresh = options_;
  options_.weights = first->weights;
  options_.optimizer_state = first->optimizer_state;
  const auto second = Train();
  ASSERT_THAT(second, test::Succeeds());
  EXPECT_LT(second->history[0].train.loss(), first->history[2].train.loss());
  EXPECT_NE(RunDigest(model_, manifest_, options_), RunDigest(model_, manifest_, fresh));
}

TEST_F(LocalTrainingTest, LearnsTheLine) {
  options_.epochs = 20;
  const auto outcome = Train();
  ASSERT_THAT(outcome, test::Succeeds());
  ASSERT_EQ(outcome->weights.size(), 5u);
  for (int i = 0; i < 5; ++i) EXPECT_NEAR(outcome->weights[i], static_cast<float>(i + 1), 0.01);
  ASSERT_EQ(outcome->history.size(), 20u);
  EXPECT_EQ(outcome->history.back().train.samples, kSamples);
  ASSERT_TRUE(outcome->history.back().validation.has_value());
  EXPECT_EQ(outcome->history.back().validation->samples, 100u);
  EXPECT_LT(outcome->history.back().validation->loss(), outcome->history.front().train.loss());
  EXPECT_EQ(outcome->samples, 20 * kSamples);
}

TEST_F(LocalTrainingTest, EndsInTheSameBytesWhereverItWasStopped) {
  const auto undisturbed = Train();
  ASSERT_THAT(undisturbed, test::Succeeds());
  options_.checkpoint_path = folder_ / "checkpoint";
  options_.resume = true;
  for (const int batches : {1, 2, 15, 16, 17, 99, 100, 101, 250, 280}) {
    SCOPED_TRACE(batches);
    StopAfter stop(batches);
    const auto stopped = Train(&stop);
    ASSERT_THAT(stopped, test::FailsWith(ErrorCode::kCancelled));
    StopAfter run_on(1 << 30);
    const auto resumed = Train(&run_on);
    ASSERT_THAT(resumed, test::Succeeds());
    EXPECT_EQ(run_on.resumed, 1);
    EXPECT_EQ(stop.epochs + run_on.epochs, 3);
    EXPECT_EQ(resumed->weights, undisturbed->weights);
    ASSERT_EQ(resumed->history.size(), undisturbed->history.size());
    for (std::size_t i = 0; i < resumed->history.size(); ++i) {
      EXPECT_EQ(resumed->history[i].train.loss_sum, undisturbed->history[i].train.loss_sum);
    }
    std::filesystem::remove(options_.checkpoint_path);
  }
}

TEST_F(LocalTrainingTest, RefusesAMemoryBudgetThatIsTooSmall) {
  options_.memory_bytes = 100;
  EXPECT_THAT(Train(), test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("100 B")));
}

TEST_F(LocalTrainingTest, RefusesADatasetWithoutLabels) {
  manifest_.columns[1].name = "target";
  EXPECT_THAT(Train(), test::FailsWith(ErrorCode::kInvalidArgument,
                                       testing::AllOf(HasSubstr("x, target"), HasSubstr("y"))));
}

TEST_F(LocalTrainingTest, NamesTheSplitsWhenOneIsMissing) {
  options_.train_split = "training";
  EXPECT_THAT(Train(), test::FailsWith(ErrorCode::kNotFound, HasSubstr("train")));
}

TEST_F(LocalTrainingTest, PassesOnAMissingShard) {
  ASSERT_THAT(store_->Delete(manifest_.shards[0].cid), test::Succeeds());
  EXPECT_THAT(Train(), test::FailsWith(ErrorCode::kNotFound, HasSubstr(manifest_.shards[0].cid)));
}

TEST_F(LocalTrainingTest, EvaluatesASplitWithoutTraining) {
  const std::vector<float> perfect = {1, 2, 3, 4, 5};
  trainer::FakeTrainer trainer;
  std::uint64_t last_progress = 0;
  const auto totals = EvaluateSplit(model_, perfect, manifest_, "validation", *store_, &trainer,
                                    options_, [&](std::uint64_t done) {
                                      last_progress = done;
                                      return true;
                                    });
  ASSERT_THAT(totals, test::Succeeds());
  EXPECT_EQ(totals->samples, 100u);
  EXPECT_NEAR(totals->loss(), 0, 1e-9);
  EXPECT_EQ(last_progress, 100u);
  EXPECT_EQ(*trainer.GetWeights(), perfect);
}

TEST_F(LocalTrainingTest, AnotherSettingIsAnotherRun) {
  const Digest digest = RunDigest(model_, manifest_, options_);
  EXPECT_EQ(RunDigest(model_, manifest_, options_), digest);
  LocalTrainingOptions longer = options_;
  longer.epochs = 9;
  EXPECT_EQ(RunDigest(model_, manifest_, longer), digest) << "more epochs go on from a checkpoint";
  options_.seed = 1;
  EXPECT_NE(RunDigest(model_, manifest_, options_), digest);
}

}  // namespace
}  // namespace dnc::training
