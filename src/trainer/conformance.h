// What every Trainer must do, as checks for the tests of each: a test makes a trainer
// and hands it to these. They use two small models that every implementation
// computes, a linear regression and a linear classifier. Only tests include this.

#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "trainer/trainer.h"

namespace dnc::trainer::conformance {

// OK, or what failed, for EXPECT_EQ.
inline std::string Text(const Status& status) {
  if (status.ok()) return "ok";
  return std::string(ErrorCodeName(status.error().code)) + ": " + status.error().message;
}
template <typename T>
std::string Text(const Result<T>& result) {
  return Text(result.status());
}

// `outcome` is a Status or Result that fails with `code`, `words` in its message.
template <typename T>
void ExpectError(const T& outcome, ErrorCode code, const std::string& words) {
  ASSERT_FALSE(outcome.ok()) << "it succeeded; expected " << words;
  EXPECT_EQ(ErrorCodeName(outcome.error().code), std::string(ErrorCodeName(code)));
  EXPECT_NE(outcome.error().message.find(words), std::string::npos) << outcome.error().message;
}

inline model::Model DenseModel(const std::string& units, const std::string& loss,
                               const std::string& learning_rate, const std::string& activation) {
  const std::string json =
      R"({"class_name":"Sequential","config":{"name":"linear","layers":[
        {"class_name":"InputLayer","config":{"name":"in","batch_input_shape":[null,3]}},
        {"class_name":"Dense","config":{"name":"dense","units":)" +
      units + R"(,"activation":")" + activation + R"("}}]},
        "compile":{"optimizer":{"class_name":"SGD","config":{"learning_rate":)" +
      learning_rate + R"(}},"loss":")" + loss + R"(","metrics":["accuracy"]}})";
  Result<model::Model> model = model::ParseModel(json, "conformance");
  EXPECT_EQ(Text(model), "ok");
  return std::move(model).value();
}

inline model::Model RegressionModel(const std::string& learning_rate = "0.05") {
  return DenseModel("1", "mean_squared_error", learning_rate, "linear");
}
inline model::Model ClassifierModel() {
  return DenseModel("3", "sparse_categorical_crossentropy", "0.1", "softmax");
}

inline TrainerOptions RegressionOptions() {
  TrainerOptions options;
  options.batch_size_max = 4;
  options.x = {{"x", array::DType::kFloat32, {3}, {}}};
  options.y = {{"y", array::DType::kFloat32, {}, {}}};
  return options;
}
inline TrainerOptions ClassifierOptions() {
  TrainerOptions options = RegressionOptions();
  options.y = {{"y", array::DType::kUint8, {}, {}}};
  return options;
}

// Small numbers that repeat nowhere near.
inline float Feature(int sample, int index) {
  return static_cast<float>((sample * 37 + index * 17) % 101) / 101.0f;
}

// Puts one regression batch of `samples` samples, sample number `first` and on.
inline Status SubmitRegression(Trainer* trainer, BatchKind kind, int first, std::uint32_t samples) {
  DNC_ASSIGN(const BatchSlot slot, trainer->AcquireSlot());
  std::vector<float> x, y;
  for (int n = first; n < first + static_cast<int>(samples); ++n) {
    for (int i = 0; i < 3; ++i) x.push_back(Feature(n, i));
    y.push_back(2 * Feature(n, 0) - Feature(n, 1) + 0.5f);
  }
  std::memcpy(slot.x[0].data(), x.data(), x.size() * sizeof(float));
  std::memcpy(slot.y[0].data(), y.data(), y.size() * sizeof(float));
  return trainer->Submit(slot, kind, samples, static_cast<std::uint64_t>(first));
}

inline Status TrainRegression(Trainer* trainer, int first_batch, int batches) {
  for (int i = first_batch; i < first_batch + batches; ++i) {
    DNC_TRY(SubmitRegression(trainer, BatchKind::kTrain, 4 * i, 4));
  }
  return {};
}

inline Status SubmitLabels(Trainer* trainer, const std::vector<std::uint8_t>& labels) {
  DNC_ASSIGN(const BatchSlot slot, trainer->AcquireSlot());
  std::memset(slot.x[0].data(), 0, slot.x[0].size());
  std::memcpy(slot.y[0].data(), labels.data(), labels.size());
  return trainer->Submit(slot, BatchKind::kTrain, static_cast<std::uint32_t>(labels.size()), 0);
}

inline void CheckWeightsComeBackBitForBit(Trainer* trainer) {
  ASSERT_EQ(Text(trainer->Configure(RegressionModel(), RegressionOptions())), "ok");
  const Result<std::vector<float>> fresh = trainer->GetWeights();
  ASSERT_EQ(Text(fresh), "ok");
  EXPECT_EQ(*fresh, std::vector<float>(4, 0.0f));
  // Smallest, largest and negative zero: nothing may be rounded or flushed.
  const std::vector<float> weights = {1e-42f, std::numeric_limits<float>::max(), -0.0f, 0.1f};
  ASSERT_EQ(Text(trainer->SetWeights(weights)), "ok");
  const Result<std::vector<float>> back = trainer->GetWeights();
  ASSERT_EQ(Text(back), "ok");
  ASSERT_EQ(back->size(), weights.size());
  EXPECT_EQ(std::memcmp(back->data(), weights.data(), weights.size() * sizeof(float)), 0);
}

inline void CheckTotalsCountEverySampleOnce(Trainer* trainer) {
  ASSERT_EQ(Text(trainer->Configure(RegressionModel(), RegressionOptions())), "ok");
  // All weights 0: the loss is the mean of y squared.
  double expected = 0;
  for (int n = 0; n < 26; ++n) {
    const double y = 2 * Feature(n, 0) - Feature(n, 1) + 0.5;
    expected += y * y;
  }
  // More batches than there are slots, the last one short.
  for (int i = 0; i < 26; i += 4) {
    const auto samples = static_cast<std::uint32_t>(std::min(4, 26 - i));
    ASSERT_EQ(Text(SubmitRegression(trainer, BatchKind::kEvaluate, i, samples)), "ok");
  }
  const Result<Totals> totals = trainer->Drain();
  ASSERT_EQ(Text(totals), "ok");
  EXPECT_EQ(totals->samples, 26u);
  EXPECT_NEAR(totals->loss_sum, expected, 1e-4);
  const Result<Totals> after = trainer->Drain();
  ASSERT_EQ(Text(after), "ok");
  EXPECT_EQ(after->samples, 0u);
  EXPECT_EQ(after->loss_sum, 0);
}

inline void CheckItLearns(Trainer* trainer) {
  ASSERT_EQ(Text(trainer->Configure(RegressionModel("0.2"), RegressionOptions())), "ok");
  ASSERT_EQ(Text(TrainRegression(trainer, 0, 800)), "ok");
  ASSERT_EQ(Text(trainer->Drain()), "ok");
  const Result<std::vector<float>> weights = trainer->GetWeights();
  ASSERT_EQ(Text(weights), "ok");
  const float expected[] = {2.0f, -1.0f, 0.0f, 0.5f};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR((*weights)[i], expected[i], 0.02) << i;
}

inline std::vector<float> WeightsAfter(Trainer* trainer, int first, int batches) {
  EXPECT_EQ(Text(TrainRegression(trainer, first, batches)), "ok");
  const Result<std::vector<float>> weights = trainer->GetWeights();
  EXPECT_EQ(Text(weights), "ok");
  return weights.ok() ? *weights : std::vector<float>();
}

inline void CheckTheSameBatchesGiveTheSameBits(Trainer* trainer) {
  ASSERT_EQ(Text(trainer->Configure(RegressionModel(), RegressionOptions())), "ok");
  const std::vector<float> first = WeightsAfter(trainer, 0, 20);
  ASSERT_EQ(Text(trainer->Configure(RegressionModel(), RegressionOptions())), "ok");
  const std::vector<float> second = WeightsAfter(trainer, 0, 20);
  EXPECT_EQ(first, second);
  EXPECT_NE(first, std::vector<float>(4, 0.0f));
}

inline void CheckItResumesFromItsState(Trainer* trainer) {
  ASSERT_EQ(Text(trainer->Configure(RegressionModel(), RegressionOptions())), "ok");
  const std::vector<float> middle = WeightsAfter(trainer, 0, 10);
  const Result<Bytes> state = trainer->GetOptimizerState();
  ASSERT_EQ(Text(state), "ok");
  const std::vector<float> uninterrupted = WeightsAfter(trainer, 10, 10);

  ASSERT_EQ(Text(trainer->Configure(RegressionModel(), RegressionOptions())), "ok");
  ASSERT_EQ(Text(trainer->SetWeights(middle)), "ok");
  ASSERT_EQ(Text(trainer->SetOptimizerState(*state)), "ok");
  EXPECT_EQ(WeightsAfter(trainer, 10, 10), uninterrupted);
  // And an empty state is the initial one.
  ASSERT_EQ(Text(trainer->SetWeights(std::vector<float>(4, 0.0f))), "ok");
  ASSERT_EQ(Text(trainer->SetOptimizerState({})), "ok");
  EXPECT_EQ(WeightsAfter(trainer, 0, 10), middle);
}

inline void CheckOutputsComeInOrder(Trainer* trainer) {
  ASSERT_EQ(Text(trainer->Configure(RegressionModel(), RegressionOptions())), "ok");
  ASSERT_EQ(Text(trainer->SetWeights(std::vector<float>{1, 10, 100, 1000})), "ok");
  for (int i = 0; i < 6; ++i) {
    ASSERT_EQ(Text(SubmitRegression(trainer, BatchKind::kPredict, 3 * i, 3)), "ok");
  }
  const Result<std::vector<float>> outputs = trainer->TakeOutputs();
  ASSERT_EQ(Text(outputs), "ok");
  ASSERT_EQ(outputs->size(), 18u);
  for (int n = 0; n < 18; ++n) {
    const float expected = Feature(n, 0) + 10 * Feature(n, 1) + 100 * Feature(n, 2) + 1000;
    EXPECT_NEAR((*outputs)[static_cast<std::size_t>(n)], expected, 1e-3) << n;
  }
  const Result<std::vector<float>> none = trainer->TakeOutputs();
  ASSERT_EQ(Text(none), "ok");
  EXPECT_TRUE(none->empty());
}

inline void CheckScoresAreTotalsAndOutputs(Trainer* trainer) {
  ASSERT_EQ(Text(trainer->Configure(RegressionModel(), RegressionOptions())), "ok");
  ASSERT_EQ(Text(trainer->SetWeights(std::vector<float>{1, 10, 100, 1000})), "ok");
  ASSERT_EQ(Text(SubmitRegression(trainer, BatchKind::kEvaluate, 0, 3)), "ok");
  const Result<Totals> expected = trainer->Drain();
  ASSERT_EQ(Text(expected), "ok");
  ASSERT_EQ(Text(SubmitRegression(trainer, BatchKind::kScore, 0, 3)), "ok");
  const Result<Totals> totals = trainer->Drain();
  ASSERT_EQ(Text(totals), "ok");
  EXPECT_EQ(totals->samples, 3u);
  EXPECT_EQ(totals->loss_sum, expected->loss_sum);
  const Result<std::vector<float>> outputs = trainer->TakeOutputs();
  ASSERT_EQ(Text(outputs), "ok");
  ASSERT_EQ(outputs->size(), 3u);
  EXPECT_NEAR((*outputs)[2], Feature(2, 0) + 10 * Feature(2, 1) + 100 * Feature(2, 2) + 1000, 1e-3);
}

// Neither labels nor a compile section are needed to predict, and nothing else is done.
inline void CheckWithoutLabelsItOnlyPredicts(Trainer* trainer) {
  model::Model model = RegressionModel();
  model.has_compile = false;
  model.compile = {};
  TrainerOptions options = RegressionOptions();
  options.y.clear();
  ASSERT_EQ(Text(trainer->Configure(model, options)), "ok");
  ASSERT_EQ(Text(trainer->SetWeights(std::vector<float>{1, 10, 100, 1000})), "ok");
  const auto submit = [&](BatchKind kind) -> Status {
    DNC_ASSIGN(const BatchSlot slot, trainer->AcquireSlot());
    EXPECT_TRUE(slot.y.empty());
    std::memset(slot.x[0].data(), 0, slot.x[0].size());
    return trainer->Submit(slot, kind, 2, 0);
  };
  ASSERT_EQ(Text(submit(BatchKind::kPredict)), "ok");
  const Result<std::vector<float>> outputs = trainer->TakeOutputs();
  ASSERT_EQ(Text(outputs), "ok");
  EXPECT_EQ(*outputs, (std::vector<float>{1000, 1000}));
  for (const BatchKind kind : {BatchKind::kTrain, BatchKind::kEvaluate, BatchKind::kScore}) {
    ASSERT_EQ(Text(trainer->SetWeights(std::vector<float>{1, 10, 100, 1000})), "ok");
    ASSERT_EQ(Text(submit(kind)), "ok");
    const Result<Totals> totals = trainer->Drain();
    ASSERT_FALSE(totals.ok());
    EXPECT_EQ(totals.error().code, ErrorCode::kInvalidArgument);
  }
}

// A weight of 2 is two samples, one of 0 none: the mean over the samples stays.
inline void CheckWeightsCount(Trainer* trainer) {
  TrainerOptions options = RegressionOptions();
  options.weighted = true;
  ASSERT_EQ(Text(trainer->Configure(RegressionModel(), options)), "ok");
  const auto train = [&](const std::vector<int>& samples, const std::vector<float>& weights,
                         Totals* totals) -> std::vector<float> {
    EXPECT_EQ(Text(trainer->SetWeights(std::vector<float>{0.5f, 0.25f, 0, 0.125f})), "ok");
    EXPECT_EQ(Text(trainer->SetOptimizerState({})), "ok");
    const Result<BatchSlot> slot = trainer->AcquireSlot();
    EXPECT_EQ(Text(slot), "ok");
    if (!slot.ok() || slot->weights.size() < weights.size()) return {};
    for (std::size_t n = 0; n < samples.size(); ++n) {
      const float y = static_cast<float>(samples[n]);
      for (int i = 0; i < 3; ++i) {
        const float feature = Feature(samples[n], i);
        std::memcpy(slot->x[0].data() + (3 * n + static_cast<std::size_t>(i)) * sizeof feature,
                    &feature, sizeof feature);
      }
      std::memcpy(slot->y[0].data() + n * sizeof y, &y, sizeof y);
    }
    std::copy(weights.begin(), weights.end(), slot->weights.begin());
    EXPECT_EQ(Text(trainer->Submit(*slot, BatchKind::kTrain,
                                   static_cast<std::uint32_t>(samples.size()), 0)),
              "ok");
    const Result<Totals> drained = trainer->Drain();
    EXPECT_EQ(Text(drained), "ok");
    if (drained.ok()) *totals = *drained;
    const Result<std::vector<float>> after = trainer->GetWeights();
    EXPECT_EQ(Text(after), "ok");
    return after.ok() ? *after : std::vector<float>();
  };
  Totals plain, weighted;
  const std::vector<float> twice = train({0, 0, 1, 2}, {1, 1, 1, 1}, &plain);
  const std::vector<float> doubled = train({0, 1, 2, 3}, {2, 1, 1, 0}, &weighted);
  ASSERT_EQ(twice.size(), 4u);
  ASSERT_EQ(doubled.size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(twice[i], doubled[i], 1e-6) << i;
  EXPECT_NEAR(plain.loss(), weighted.loss(), 1e-5);
}

inline void CheckASlotIsTheSameUntilSubmitted(Trainer* trainer) {
  ASSERT_EQ(Text(trainer->Configure(RegressionModel(), RegressionOptions())), "ok");
  const Result<BatchSlot> first = trainer->AcquireSlot();
  ASSERT_EQ(Text(first), "ok");
  EXPECT_EQ(first->x[0].size(), 4 * 3 * sizeof(float));
  EXPECT_EQ(first->y[0].size(), 4 * sizeof(float));
  for (int i = 0; i < 10; ++i) {
    const Result<BatchSlot> again = trainer->AcquireSlot();
    ASSERT_EQ(Text(again), "ok");
    EXPECT_EQ(again->x[0].data(), first->x[0].data());
  }
}

inline void CheckWrongCallsAreRefused(Trainer* trainer) {
  const ErrorCode invalid = ErrorCode::kInvalidArgument;
  TrainerOptions options = RegressionOptions();
  options.threads = 100'000;
  ExpectError(trainer->Configure(RegressionModel(), options), invalid, "threads");
  options = RegressionOptions();
  options.batch_size_max = 0;
  ExpectError(trainer->Configure(RegressionModel(), options), invalid, "batch size 0");
  options.batch_size_max = 4'000'000'000;
  ExpectError(trainer->Configure(RegressionModel(), options), ErrorCode::kTooLarge, "batch_size");
  // None of these left a model behind.
  ExpectError(trainer->GetWeights(), invalid, "Configure");
  ExpectError(trainer->SetWeights({}), invalid, "Configure");
  ExpectError(trainer->AcquireSlot(), invalid, "Configure");
  ExpectError(trainer->Drain(), invalid, "Configure");
  ExpectError(trainer->TakeOutputs(), invalid, "Configure");
  ExpectError(trainer->GetOptimizerState(), invalid, "Configure");
  ExpectError(trainer->SetOptimizerState({}), invalid, "Configure");

  ASSERT_EQ(Text(trainer->Configure(RegressionModel(), RegressionOptions())), "ok");
  ExpectError(trainer->SetWeights(std::vector<float>(5)), invalid,
              "5 weights were given, but the model has 4");
  const Result<BatchSlot> slot = trainer->AcquireSlot();
  ASSERT_EQ(Text(slot), "ok");
  ExpectError(trainer->Submit(*slot, BatchKind::kTrain, 0, 0), invalid, "0 samples");
  ExpectError(trainer->Submit(*slot, BatchKind::kTrain, 5, 0), invalid, "1 to 4");
}

inline void CheckABadLabelIsNamedAndForgottenWithNewWeights(Trainer* trainer) {
  ASSERT_EQ(Text(trainer->Configure(ClassifierModel(), ClassifierOptions())), "ok");
  const Result<std::vector<float>> before = trainer->GetWeights();
  ASSERT_EQ(Text(before), "ok");
  ASSERT_EQ(Text(SubmitLabels(trainer, {0, 2, 7, 1})), "ok");
  ExpectError(trainer->Drain(), ErrorCode::kInvalidArgument, "label 7");
  // It is kept, and nothing is computed, until weights are set anew.
  ExpectError(trainer->Drain(), ErrorCode::kInvalidArgument, "3 classes");
  ExpectError(trainer->AcquireSlot(), ErrorCode::kInvalidArgument, "label 7");
  ASSERT_EQ(Text(trainer->SetWeights(*before)), "ok");
  ASSERT_EQ(Text(SubmitLabels(trainer, {0, 1, 2})), "ok");
  const Result<Totals> totals = trainer->Drain();
  ASSERT_EQ(Text(totals), "ok");
  EXPECT_EQ(totals->samples, 3u);
}

inline void CheckALossThatIsNotFiniteIsAnError(Trainer* trainer) {
  ASSERT_EQ(Text(trainer->Configure(RegressionModel(), RegressionOptions())), "ok");
  const std::vector<float> broken(4, std::numeric_limits<float>::quiet_NaN());
  ASSERT_EQ(Text(trainer->SetWeights(broken)), "ok");
  ASSERT_EQ(Text(TrainRegression(trainer, 0, 1)), "ok");  // Surfaces later.
  ExpectError(trainer->Drain(), ErrorCode::kInvalidArgument, "loss is not a number");
}

inline void CheckModelsThatDoNotFitAreRefused(Trainer* trainer) {
  TrainerOptions options = RegressionOptions();
  options.x[0].shape = {4};
  ExpectError(trainer->Configure(RegressionModel(), options), ErrorCode::kInvalidArgument, "(3,)");
  ExpectError(trainer->Drain(), ErrorCode::kInvalidArgument, "Configure");
  options = ClassifierOptions();
  options.y[0].class_names = {"a", "b", "c", "d"};
  ExpectError(trainer->Configure(ClassifierModel(), options), ErrorCode::kInvalidArgument,
              "4 classes");
}

inline void CheckBrokenStatesAreRefused(Trainer* trainer) {
  ASSERT_EQ(Text(trainer->Configure(RegressionModel(), RegressionOptions())), "ok");
  const Result<Bytes> state = trainer->GetOptimizerState();
  ASSERT_EQ(Text(state), "ok");
  for (std::size_t size = 1; size < state->size(); ++size) {
    ExpectError(trainer->SetOptimizerState(ByteSpan(*state).first(size)), ErrorCode::kCorrupt,
                "state");
  }
  Bytes longer = *state;
  longer.push_back(std::byte{0});
  ExpectError(trainer->SetOptimizerState(longer), ErrorCode::kCorrupt, "state");
  ExpectError(trainer->SetOptimizerState(Bytes(100'000)), ErrorCode::kCorrupt, "state");
  EXPECT_EQ(Text(trainer->SetOptimizerState(*state)), "ok");
}

// Leaves it stopped.
inline void CheckEverythingIsCancelledAfterStop(Trainer* trainer) {
  ASSERT_EQ(Text(trainer->Configure(RegressionModel(), RegressionOptions())), "ok");
  const Result<BatchSlot> slot = trainer->AcquireSlot();
  ASSERT_EQ(Text(slot), "ok");
  trainer->Stop();
  trainer->Stop();  // Twice is fine.
  const ErrorCode cancelled = ErrorCode::kCancelled;
  ExpectError(trainer->Submit(*slot, BatchKind::kTrain, 1, 0), cancelled, "stopped");
  ExpectError(trainer->Configure(RegressionModel(), RegressionOptions()), cancelled, "stopped");
  ExpectError(trainer->SetWeights(std::vector<float>(4)), cancelled, "stopped");
  ExpectError(trainer->GetWeights(), cancelled, "stopped");
  ExpectError(trainer->SetOptimizerState({}), cancelled, "stopped");
  ExpectError(trainer->GetOptimizerState(), cancelled, "stopped");
  ExpectError(trainer->AcquireSlot(), cancelled, "stopped");
  ExpectError(trainer->Drain(), cancelled, "stopped");
  ExpectError(trainer->TakeOutputs(), cancelled, "stopped");
}

struct Check {
  const char* name;  // A sentence, as a test's name.
  void (*run)(Trainer* trainer);
};

// All of them; the first wants a trainer that was never configured, the last stops it.
inline constexpr Check kChecks[] = {
    {"WrongCallsAreRefused", CheckWrongCallsAreRefused},
    {"WeightsComeBackBitForBit", CheckWeightsComeBackBitForBit},
    {"TotalsCountEverySampleOnce", CheckTotalsCountEverySampleOnce},
    {"ItLearns", CheckItLearns},
    {"TheSameBatchesGiveTheSameBits", CheckTheSameBatchesGiveTheSameBits},
    {"ItResumesFromItsState", CheckItResumesFromItsState},
    {"OutputsComeInOrder", CheckOutputsComeInOrder},
    {"WeightsCount", CheckWeightsCount},
    {"ScoresAreTotalsAndOutputs", CheckScoresAreTotalsAndOutputs},
    {"WithoutLabelsItOnlyPredicts", CheckWithoutLabelsItOnlyPredicts},
    {"ASlotIsTheSameUntilSubmitted", CheckASlotIsTheSameUntilSubmitted},
    {"ABadLabelIsNamedAndForgottenWithNewWeights", CheckABadLabelIsNamedAndForgottenWithNewWeights},
    {"ALossThatIsNotFiniteIsAnError", CheckALossThatIsNotFiniteIsAnError},
    {"ModelsThatDoNotFitAreRefused", CheckModelsThatDoNotFitAreRefused},
    {"BrokenStatesAreRefused", CheckBrokenStatesAreRefused},
    {"EverythingIsCancelledAfterStop", CheckEverythingIsCancelledAfterStop},
};

}  // namespace dnc::trainer::conformance
