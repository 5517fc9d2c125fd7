#include "trainer/fake_trainer.h"

#include "testing/testing.h"
#include "trainer/conformance.h"

namespace dnc::trainer {
namespace {

using ::testing::HasSubstr;

class FakeTrainerConformanceTest : public ::testing::TestWithParam<conformance::Check> {};

TEST_P(FakeTrainerConformanceTest, Holds) {
  FakeTrainer trainer;
  GetParam().run(&trainer);
}

INSTANTIATE_TEST_SUITE_P(All, FakeTrainerConformanceTest, ::testing::ValuesIn(conformance::kChecks),
                         [](const auto& check) { return check.param.name; });

model::Model Parse(const std::string& layers, const std::string& optimizer) {
  const std::string json =
      R"({"class_name":"Sequential","config":{"name":"m","layers":[
        {"class_name":"InputLayer","config":{"name":"in","batch_input_shape":[null,3]}},)" +
      layers + R"(]},"compile":{"optimizer":)" + optimizer + R"(,"loss":"mse"}})";
  Result<model::Model> model = model::ParseModel(json, "test");
  EXPECT_THAT(model, test::Succeeds());
  return std::move(model).value();
}

constexpr const char* kSgd = R"({"class_name":"SGD","config":{"learning_rate":0.5}})";
constexpr const char* kDense = R"({"class_name":"Dense","config":{"name":"a","units":1}})";

TEST(FakeTrainerTest, RefusesModelsThatAreNotOneDenseLayerWithPlainSgd) {
  FakeTrainer trainer;
  const TrainerOptions options = conformance::RegressionOptions();
  const std::string two =
      std::string(kDense) + R"(,{"class_name":"Dense","config":{"name":"b","units":1}})";
  EXPECT_THAT(trainer.Configure(Parse(two, kSgd), options),
              test::FailsWith(ErrorCode::kUnsupported, HasSubstr("layer 'b' is one too many")));
  EXPECT_THAT(trainer.Configure(Parse(kDense, R"({"class_name":"Adam","config":{}})"), options),
              test::FailsWith(ErrorCode::kUnsupported, HasSubstr("SGD without momentum")));
  EXPECT_THAT(trainer.Drain(), test::FailsWith(ErrorCode::kInvalidArgument));
}

TEST(FakeTrainerTest, OneStepIsTheGradientOfTheMeanSquare) {
  FakeTrainer trainer;
  ASSERT_THAT(trainer.Configure(Parse(kDense, kSgd), conformance::RegressionOptions()),
              test::Succeeds());
  Result<BatchSlot> slot = trainer.AcquireSlot();
  ASSERT_THAT(slot, test::Succeeds());
  const float x[] = {1, 2, 3};
  const float y = 4;
  std::memcpy(slot->x[0].data(), x, sizeof(x));
  std::memcpy(slot->y[0].data(), &y, sizeof(y));
  ASSERT_THAT(trainer.Submit(*slot, BatchKind::kTrain, 1, 0), test::Succeeds());
  const Result<Totals> totals = trainer.Drain();
  ASSERT_THAT(totals, test::Succeeds());
  EXPECT_EQ(totals->loss(), 16);
  // w = 0.5 * 2 * 4 * x; bias the same with x = 1.
  EXPECT_EQ(*trainer.GetWeights(), (std::vector<float>{4, 8, 12, 4}));
}

TEST(FakeTrainerTest, CountsCorrectClassesByTheLargestOutput) {
  FakeTrainer trainer;
  ASSERT_THAT(trainer.Configure(conformance::ClassifierModel(), conformance::ClassifierOptions()),
              test::Succeeds());
  std::vector<float> weights(12, 0.0f);
  weights[9 + 1] = 1;  // The bias of class 1.
  ASSERT_THAT(trainer.SetWeights(weights), test::Succeeds());
  Result<BatchSlot> slot = trainer.AcquireSlot();
  ASSERT_THAT(slot, test::Succeeds());
  const std::uint8_t labels[] = {1, 0, 1, 2};
  std::memcpy(slot->y[0].data(), labels, sizeof(labels));
  ASSERT_THAT(trainer.Submit(*slot, BatchKind::kEvaluate, 4, 0), test::Succeeds());
  const Result<Totals> totals = trainer.Drain();
  ASSERT_THAT(totals, test::Succeeds());
  EXPECT_EQ(totals->correct, 2u);
  EXPECT_EQ(totals->accuracy(), 0.5);
}

}  // namespace
}  // namespace dnc::trainer
