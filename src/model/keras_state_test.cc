// The optimizer's state in .keras archives. tests/keras/check_saved.py has real Keras go
// on from it, and reads what real Keras wrote.

#include "model/keras_state.h"

#include "model/keras_file.h"
#include "model/test_models.h"
#include "testing/testing.h"
#include "zip/zip.h"

namespace dnc::model {
namespace {

using ::dnc::test::Succeeds;
using ::dnc::test::TemporaryFolder;
using test::LayerJson;
using test::MustParse;
using ::testing::HasSubstr;

// A frozen layer and moving statistics have no state.
TrainedModel TrainedWith(const std::string& optimizer, int units = 3) {
  TrainedModel trained;
  trained.model = MustParse(test::CompiledJson(
      test::SequentialJson(
          test::InputJson("[null, 4]") + ", " +
          LayerJson("Dense", R"("name": "fixed", "units": 2, "trainable": false)") + ", " +
          LayerJson("BatchNormalization", R"("name": "norm")") + ", " +
          LayerJson("Dense", R"("name": "classes", "units": )" + std::to_string(units))),
      R"({"loss": "mse", "optimizer": )" + optimizer + "}"));
  trained.weights = InitialWeights(trained.model, 5);
  const Optimizer& how = trained.model.compile.optimizer;
  OptimizerSlots state = InitialSlots(how, trained.model.weight_count);
  state.step_count = 7;
  state.momentum_product = static_cast<float>(MomentumProduct(how, 7));
  float next = 0;
  for (std::vector<float>& slot : state.slots) {
    for (const WeightSpec& weight : trained.model.weights) {
      if (!weight.trainable || weight.name.starts_with("fixed/")) continue;
      for (std::uint64_t i = 0; i < weight.count; ++i) slot[weight.offset + i] = next += 0.25f;
    }
  }
  trained.optimizer_state = EncodeOptimizerState(how, trained.model.weight_count, state);
  return trained;
}

TEST(KerasStateTest, KeepsTheStateOfEachOptimizer) {
  const TemporaryFolder folder;
  for (const char* optimizer :
       {R"("sgd")", R"({"class_name": "SGD", "config": {"momentum": 0.9, "nesterov": true}})",
        R"("adam")", R"({"class_name": "Adam", "config": {"amsgrad": true}})", R"("adamw")",
        R"("rmsprop")", R"({"class_name": "Adam", "config": {"decay": 0.1}})",
        R"({"class_name": "RMSprop", "config": {"momentum": 0.5, "centered": true}})",
        R"("adagrad")", R"("adadelta")", R"("adamax")", R"("nadam")", R"("ftrl")", R"("lion")",
        R"({"class_name": "Adam", "config": {"learning_rate": {"class_name": "ExponentialDecay",
            "config": {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.5}}}})"}) {
    SCOPED_TRACE(optimizer);
    const TrainedModel trained = TrainedWith(optimizer);
    ASSERT_THAT(SaveKeras(trained, folder / "m.keras"), Succeeds());
    const Result<TrainedModel> loaded = LoadKeras(folder / "m.keras");
    ASSERT_THAT(loaded, Succeeds());
    EXPECT_EQ(loaded->optimizer_refusal, "");
    EXPECT_EQ(loaded->optimizer_state, trained.optimizer_state);
    EXPECT_EQ(loaded->weights, trained.weights);
  }
}

// An .h5 that says that Keras 3 wrote it keeps that version's names and order.
TEST(KerasStateTest, AnH5OfKeras3KeepsTheStateOfEachOptimizer) {
  const TemporaryFolder folder;
  for (const char* optimizer :
       {R"("sgd")", R"("adam")", R"({"class_name": "Adam", "config": {"amsgrad": true}})",
        R"({"class_name": "RMSprop", "config": {"momentum": 0.5, "centered": true}})",
        R"("adadelta")", R"("nadam")", R"("ftrl")"}) {
    SCOPED_TRACE(optimizer);
    TrainedModel trained = TrainedWith(optimizer);
    trained.model.keras_file.keras_version = "3.5.0";
    ASSERT_THAT(SaveH5(trained, folder / "m.h5"), Succeeds());
    const Result<TrainedModel> loaded = LoadH5(folder / "m.h5");
    ASSERT_THAT(loaded, Succeeds());
    EXPECT_EQ(loaded->optimizer_refusal, "");
    EXPECT_EQ(loaded->optimizer_state, trained.optimizer_state);
  }
}

TEST(KerasStateTest, AModelWithoutAStateHasNone) {
  const TemporaryFolder folder;
  TrainedModel trained = TrainedWith(R"("adam")");
  trained.optimizer_state.clear();
  ASSERT_THAT(SaveKeras(trained, folder / "m.keras"), Succeeds());
  const Result<TrainedModel> loaded = LoadKeras(folder / "m.keras");
  ASSERT_THAT(loaded, Succeeds());
  EXPECT_TRUE(loaded->optimizer_state.empty());
  EXPECT_EQ(loaded->optimizer_refusal, "");
}

// The weights of one archive with the architecture of another.
void Mix(const std::string& weights_path, const std::string& path) {
  std::vector<std::pair<std::string, Bytes>> members;
  for (const std::string& from : {path, weights_path}) {
    const auto source = FileSource::Open(from);
    ASSERT_THAT(source, Succeeds());
    const auto directory = zip::ReadDirectory(**source);
    ASSERT_THAT(directory, Succeeds());
    for (const zip::Member& member : *directory) {
      if ((member.name == "model.weights.h5") != (from == weights_path)) continue;
      const auto content = zip::ReadMember(**source, member, 1 << 20);
      ASSERT_THAT(content, Succeeds());
      members.emplace_back(member.name, *content);
    }
  }
  std::vector<zip::Content> contents;
  for (const auto& [name, bytes] : members) contents.push_back({name, {bytes}});
  ASSERT_THAT(zip::WriteArchive(path, contents), Succeeds());
}

TEST(KerasStateTest, LeavesOutAnotherOptimizersStateAndSaysSo) {
  const TemporaryFolder folder;
  const std::string path = folder / "m.keras";
  const std::string other = folder / "other.keras";
  const char* const kOptimizers[] = {R"("sgd")",     R"("adam")",  R"("rmsprop")",
                                     R"("adagrad")", R"("nadam")", R"("ftrl")"};
  for (const char* of_file : kOptimizers) {
    for (const char* of_model : kOptimizers) {
      const std::string pair = std::string(of_file) + " for " + of_model;
      // Slots have no names, Keras 2's SGD wrote one that is not used, and Keras 2's Nadam
      // no product: these cannot be told apart.
      if (std::string(of_file) == of_model || pair == R"("rmsprop" for "adagrad")" ||
          pair == R"("adagrad" for "rmsprop")" || pair == R"("adam" for "ftrl")" ||
          pair == R"("ftrl" for "adam")" || pair == R"("adam" for "nadam")" ||
          pair == R"("ftrl" for "nadam")" || pair == R"("rmsprop" for "sgd")" ||
          pair == R"("adagrad" for "sgd")") {
        continue;
      }
      SCOPED_TRACE(pair);
      ASSERT_THAT(SaveKeras(TrainedWith(of_file), other), Succeeds());
      const TrainedModel trained = TrainedWith(of_model);
      ASSERT_THAT(SaveKeras(trained, path), Succeeds());
      Mix(other, path);
      if (HasFatalFailure()) return;
      const Result<TrainedModel> loaded = LoadKeras(path);
      ASSERT_THAT(loaded, Succeeds());
      EXPECT_TRUE(loaded->optimizer_state.empty());
      EXPECT_THAT(loaded->optimizer_refusal, HasSubstr("the optimizer's state: "));
      EXPECT_EQ(loaded->weights, trained.weights);
    }
  }
}

}  // namespace
}  // namespace dnc::model
