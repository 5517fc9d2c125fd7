// A checkpoint is read back after a crash, so these tests damage one on purpose.

#include "training/checkpoint.h"

#include "testing/testing.h"

namespace dnc::training {
namespace {

using ::testing::HasSubstr;

Checkpoint Example() {
  Checkpoint checkpoint;
  checkpoint.run.bytes.fill(7);
  checkpoint.epochs_done = 2;
  checkpoint.samples_done = 640;
  checkpoint.totals = {.samples = 640, .loss_sum = 12.5, .correct = 600, .sums = {1.5, 640}};
  checkpoint.history = {
      {.epoch = 1,
       .train = {.samples = 1000, .loss_sum = 900, .correct = 10},
       .validation = trainer::Totals{.samples = 50, .loss_sum = 4, .correct = 40}},
      {.epoch = 2, .train = {.samples = 1000, .loss_sum = 300, .correct = 700}, .validation = {}}};
  checkpoint.weights = {1.5F, -2, 3.25F};
  checkpoint.optimizer_state = {std::byte{1}, std::byte{2}};
  return checkpoint;
}

class CheckpointTest : public ::testing::Test {
 protected:
  CheckpointTest() { EXPECT_THAT(SaveCheckpoint(Example(), path_), test::Succeeds()); }

  Result<Checkpoint> Load() const { return LoadCheckpoint(path_, Example().run, 3); }

  test::TemporaryFolder folder_;
  std::string path_ = folder_ / "model.h5.checkpoint";
};

TEST_F(CheckpointTest, ComesBackAsItWas) {
  const auto loaded = Load();
  ASSERT_THAT(loaded, test::Succeeds());
  const Checkpoint expected = Example();
  EXPECT_EQ(loaded->epochs_done, expected.epochs_done);
  EXPECT_EQ(loaded->samples_done, expected.samples_done);
  EXPECT_EQ(loaded->totals.loss_sum, expected.totals.loss_sum);
  EXPECT_EQ(loaded->totals.sums, expected.totals.sums);
  EXPECT_EQ(loaded->weights, expected.weights);
  EXPECT_EQ(loaded->optimizer_state, expected.optimizer_state);
  ASSERT_EQ(loaded->history.size(), 2u);
  EXPECT_EQ(loaded->history[0].validation->correct, 40u);
  EXPECT_FALSE(loaded->history[1].validation.has_value());
  EXPECT_EQ(loaded->history[1].train.correct, 700u);
}

TEST_F(CheckpointTest, RefusesAnyOneByteChanged) {
  const std::string intact = *ReadFile(path_, 1 << 20);
  for (std::size_t offset = 0; offset < intact.size(); ++offset) {
    SCOPED_TRACE(offset);
    std::string damaged = intact;
    damaged[offset] = static_cast<char>(damaged[offset] ^ 0x10);
    ASSERT_THAT(WriteFileAtomically(path_, AsBytes(damaged)), test::Succeeds());
    EXPECT_THAT(Load(),
                test::FailsWith(testing::AnyOf(ErrorCode::kCorrupt, ErrorCode::kUnsupported)));
  }
}

TEST_F(CheckpointTest, RefusesAnyTruncation) {
  const std::string intact = *ReadFile(path_, 1 << 20);
  for (std::size_t size = 0; size < intact.size(); ++size) {
    SCOPED_TRACE(size);
    ASSERT_THAT(WriteFileAtomically(path_, AsBytes(intact.substr(0, size))), test::Succeeds());
    EXPECT_THAT(Load(), test::FailsWith(ErrorCode::kCorrupt, HasSubstr("checkpoint")));
  }
}

TEST_F(CheckpointTest, RefusesThatOfAnotherRun) {
  EXPECT_THAT(LoadCheckpoint(path_, Digest{}, 3),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("another run")));
}

TEST_F(CheckpointTest, RefusesAnotherCountOfWeightsNamingBoth) {
  EXPECT_THAT(LoadCheckpoint(path_, Example().run, 4),
              test::FailsWith(ErrorCode::kCorrupt, testing::AllOf(HasSubstr("3"), HasSubstr("4"))));
}

TEST_F(CheckpointTest, SaysWhereItWasLookedFor) {
  EXPECT_THAT(LoadCheckpoint(folder_ / "none", Digest{}, 3),
              test::FailsWith(ErrorCode::kNotFound, HasSubstr("none")));
}

}  // namespace
}  // namespace dnc::training
