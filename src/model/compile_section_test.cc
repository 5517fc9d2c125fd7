// Compile sections, as Keras 2, Keras 3 and people write them.

#include "model/compile_section.h"
#include "model/figures.h"
#include "model/test_models.h"
#include "testing/testing.h"

namespace dnc::model {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using test::CompiledJson;
using test::OneLayerJson;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Result<Model> ParseCompiled(const std::string& compile) {
  return ParseModel(CompiledJson(OneLayerJson("[null, 4]", "Dense", R"("units": 3)"), compile),
                    "model.json");
}

CompileConfig Compile(const std::string& compile) {
  Result<Model> model = ParseCompiled(compile);
  EXPECT_THAT(model, Succeeds()) << compile;
  return model.ok() ? model->compile : CompileConfig();
}

TEST(CompileSectionTest, ReadsTheShortForm) {
  const CompileConfig sgd = Compile(R"({"optimizer": {"name": "SGD", "learning_rate": 0.05,
      "momentum": 0.9, "nesterov": true}, "loss": "mse", "metrics": ["accuracy"]})");
  EXPECT_EQ(sgd.optimizer.kind, OptimizerKind::kSgd);
  EXPECT_DOUBLE_EQ(sgd.optimizer.learning_rate, 0.05);
  EXPECT_DOUBLE_EQ(sgd.optimizer.momentum, 0.9);
  EXPECT_TRUE(sgd.optimizer.nesterov);
  EXPECT_EQ(sgd.outputs[0].loss->kind, LossKind::kMeanSquaredError);
  EXPECT_NE(sgd.accuracy(), nullptr);
  const CompileConfig adam = Compile(R"({"optimizer": "adam", "loss": "Hinge"})");
  EXPECT_EQ(adam.optimizer.kind, OptimizerKind::kAdam);
  EXPECT_DOUBLE_EQ(adam.optimizer.learning_rate, 0.001);
  EXPECT_DOUBLE_EQ(adam.optimizer.epsilon, 1e-7);
  EXPECT_EQ(adam.outputs[0].loss->kind, LossKind::kHinge);
  EXPECT_EQ(adam.accuracy(), nullptr);
  EXPECT_DOUBLE_EQ(Compile(R"({"optimizer": "sgd", "loss": "mse"})").optimizer.learning_rate, 0.01);
}

TEST(CompileSectionTest, LogLossIsTheCrossentropyThatFits) {
  const CompileConfig several = Compile(R"({"optimizer": "sgd", "loss": "log_loss"})");
  EXPECT_EQ(several.outputs[0].loss->kind, LossKind::kSparseCategoricalCrossentropy);
  EXPECT_TRUE(several.outputs[0].loss->from_logits);
  const Result<Model> one = ParseModel(
      CompiledJson(OneLayerJson("[null, 4]", "Dense", R"("units": 1, "activation": "sigmoid")"),
                   R"({"optimizer": "sgd", "loss": "log_loss"})"),
      "model");
  ASSERT_THAT(one, Succeeds());
  EXPECT_EQ(one->compile.outputs[0].loss->kind, LossKind::kBinaryCrossentropy);
  EXPECT_FALSE(one->compile.outputs[0].loss->from_logits);
}

TEST(CompileSectionTest, ReadsTheTrainingConfigOfKeras2) {
  const CompileConfig old = Compile(R"({"metrics": ["acc"], "loss": "categorical_crossentropy",
      "optimizer_config": {"class_name": "Adam", "config": {"beta_1": 0.8, "epsilon": 1e-08,
      "beta_2": 0.99, "lr": 0.002, "decay": 0.0}}, "loss_weights": null,
      "sample_weight_mode": null})");
  EXPECT_DOUBLE_EQ(old.optimizer.learning_rate, 0.002);
  EXPECT_DOUBLE_EQ(old.optimizer.beta_1, 0.8);
  EXPECT_DOUBLE_EQ(old.optimizer.beta_2, 0.99);
  EXPECT_DOUBLE_EQ(old.optimizer.epsilon, 1e-8);
  EXPECT_NE(old.accuracy(), nullptr);
  const CompileConfig late = Compile(R"({
      "loss": {"class_name": "SparseCategoricalCrossentropy", "config": {"reduction": "auto",
               "name": "sparse_categorical_crossentropy", "from_logits": true,
               "ignore_class": null}},
      "metrics": [[{"class_name": "MeanMetricWrapper", "config": {"name": "accuracy",
                    "dtype": "float32", "fn": "sparse_categorical_accuracy"}}]],
      "weighted_metrics": null, "loss_weights": null,
      "optimizer_config": {"class_name": "Custom>SGD", "config": {"name": "SGD",
          "weight_decay": null, "clipnorm": null, "global_clipnorm": null, "clipvalue": null,
          "use_ema": false, "ema_momentum": 0.99, "ema_overwrite_frequency": null,
          "jit_compile": false, "is_legacy_optimizer": false, "learning_rate": 0.01,
          "momentum": 0.0, "nesterov": false}}})");
  EXPECT_TRUE(late.outputs[0].loss->from_logits);
  EXPECT_NE(late.accuracy(), nullptr);
  EXPECT_EQ(late.outputs[0].loss->kind, LossKind::kSparseCategoricalCrossentropy);
}

TEST(CompileSectionTest, ReadsTheCompileConfigOfKeras3) {
  const std::string json = R"({"class_name": "Sequential", "config": {"layers": [
      {"class_name": "Dense", "config": {"units": 1, "input_shape": [4]}}]},
      "compile_config": {"optimizer": {"module": "keras.optimizers", "class_name": "Adam",
          "config": {"learning_rate": 0.01, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-07,
                     "amsgrad": true, "loss_scale_factor": null,
                     "gradient_accumulation_steps": null}, "registered_name": null},
      "loss": "binary_crossentropy", "loss_weights": null, "metrics": ["binary_accuracy"],
      "weighted_metrics": null, "run_eagerly": false, "steps_per_execution": 1,
      "jit_compile": true}})";
  const Result<Model> model = ParseModel(json, "m");
  ASSERT_THAT(model, Succeeds());
  EXPECT_TRUE(model->compile.optimizer.amsgrad);
  EXPECT_NE(model->compile.accuracy(), nullptr);
  EXPECT_EQ(model->compile.outputs[0].loss->kind, LossKind::kBinaryCrossentropy);
}

TEST(CompileSectionTest, WritesTheTrainingConfigThatItReadsBack) {
  for (const char* compile :
       {R"({"optimizer": {"name": "SGD", "learning_rate": 0.05, "momentum": 0.9}, "loss": "mse"})",
        R"({"optimizer": {"class_name": "Adam", "beta_1": 0.85, "amsgrad": true},
            "loss": {"class_name": "CategoricalCrossentropy", "config": {"from_logits": true}},
            "metrics": ["accuracy"]})"}) {
    const Result<Model> model = ParseCompiled(compile);
    ASSERT_THAT(model, Succeeds());
    const Model again = test::MustParse(FormatModel(*model));
    EXPECT_EQ(again.training_config_json, model->training_config_json);
    EXPECT_EQ(again.compile.outputs[0].loss->from_logits,
              model->compile.outputs[0].loss->from_logits);
    EXPECT_EQ(again.compile.accuracy() != nullptr, model->compile.accuracy() != nullptr);
    EXPECT_EQ(again.compile.optimizer.learning_rate, model->compile.optimizer.learning_rate);
    EXPECT_EQ(again.compile.optimizer.beta_1, model->compile.optimizer.beta_1);
    EXPECT_EQ(again.compile.optimizer.amsgrad, model->compile.optimizer.amsgrad);
  }
}

TEST(CompileSectionTest, TellsTheOptimizersOfOldKerasFromTodays) {
  const Optimizer keras_1 = Compile(R"({"loss": "mse", "optimizer_config": {"class_name":
      "Adagrad", "config": {"epsilon": 1e-08, "lr": 0.01, "decay": 0.0}}})")
                                .optimizer;
  EXPECT_TRUE(keras_1.legacy);
  EXPECT_EQ(keras_1.initial_accumulator_value, 0);
  const Optimizer today = Compile(R"({"loss": "mse", "optimizer": "adagrad"})").optimizer;
  EXPECT_FALSE(today.legacy);
  EXPECT_EQ(today.initial_accumulator_value, 0.1);
  const Optimizer nadam = Compile(R"({"loss": "mse", "optimizer_config": {"class_name":
      "Nadam", "config": {"lr": 0.002, "epsilon": null, "schedule_decay": 0.004}}})")
                              .optimizer;
  EXPECT_TRUE(nadam.legacy);
  EXPECT_EQ(nadam.schedule_decay, 0.004);
  EXPECT_EQ(nadam.epsilon, 1e-7);
  EXPECT_EQ(nadam.decay, 0);
  EXPECT_FALSE(Compile(R"({"loss": "mse", "optimizer_config": {"class_name": "Custom>SGD",
      "config": {"learning_rate": 0.01, "is_legacy_optimizer": false}}})")
                   .optimizer.legacy);
  const Optimizer decayed = Compile(R"({"loss": "mse", "optimizer_config": {"class_name": "SGD",
      "config": {"lr": 0.1, "decay": 0.5}}})")
                                .optimizer;
  EXPECT_TRUE(decayed.legacy);
  EXPECT_DOUBLE_EQ(LearningRateAt(decayed, 2), 0.05);
}

std::vector<std::string> FigureNames(const Model& model) {
  std::vector<std::string> names;
  for (const Figure& figure : FiguresOf(model)) names.push_back(figure.name);
  return names;
}

TEST(CompileSectionTest, ReadsMetricsAndKeepsThoseThatItDoesNotCompute) {
  const Result<Model> model = ParseCompiled(R"({"optimizer": "adam", "loss": "binary_crossentropy",
      "metrics": ["mae", [{"class_name": "AUC", "config": {"name": "my_auc", "num_thresholds": 9}},
                  {"class_name": "AUC", "config": {"multi_label": true}},
                  {"class_name": "Precision", "config": {"name": "precision", "thresholds": [0.7],
                   "top_k": null, "class_id": null}},
                  {"class_name": "Recall", "config": {"class_id": 1}}, "RootMeanSquaredError",
                  "binary_accuracy", "accuracy", "sparse_categorical_accuracy", "MeanIoU"]]})");
  ASSERT_THAT(model, Succeeds());
  ASSERT_NE(model->compile.accuracy(), nullptr);
  EXPECT_EQ(model->compile.accuracy()->accuracy_rule, AccuracyRule::kBinary);
  EXPECT_THAT(FigureNames(*model),
              ElementsAre("mae", "my_auc", "precision", "root_mean_squared_error",
                          "binary_accuracy", "accuracy"));
  EXPECT_THAT(model->compile.uncomputed_metrics,
              ElementsAre("AUC", "Recall", "sparse_categorical_accuracy", "MeanIoU"));
  EXPECT_DOUBLE_EQ(FiguresOf(*model)[2].metric.threshold, 0.7);
  EXPECT_EQ(FiguresOf(*model)[1].sum_count, 36u);
  EXPECT_THAT(FormatTrainingConfig(model->compile),
              AllOf(HasSubstr("\"num_thresholds\":9"), HasSubstr("\"my_auc\"")));
}

// A model with the outputs "age" (4 values) and "kind" (3 classes).
Result<Model> ParseTwoOutputs(const std::string& compile) {
  const std::string layers =
      std::string(R"({"class_name": "InputLayer", "name": "in", "config": {"name": "in",
          "batch_input_shape": [null, 4]}, "inbound_nodes": []},
         {"class_name": "Dense", "name": "age", "config": {"units": 4, "name": "age"},
          "inbound_nodes": [[["in", 0, 0, {}]]]},
         {"class_name": "Dense", "name": "kind", "config": {"units": 3, "name": "kind",
          "activation": "softmax"}, "inbound_nodes": [[["in", 0, 0, {}]]]})");
  return ParseModel(R"({"class_name": "Functional", "config": {"layers": [)" + layers +
                        R"(], "input_layers": [["in", 0, 0]],
                           "output_layers": [["age", 0, 0], ["kind", 0, 0]]}, "compile": )" +
                        compile + "}",
                    "model.json");
}

TEST(CompileSectionTest, ReadsLossesWeightsAndMetricsOfSeveralOutputs) {
  for (const char* compile :
       {R"({"optimizer": "sgd", "loss": ["mse", "sparse_categorical_crossentropy"],
            "loss_weights": [0.25, 2], "metrics": [["mae"], ["accuracy", "mae"]]})",
        R"({"optimizer": "sgd", "loss": {"kind": "sparse_categorical_crossentropy",
            "age": "mse"}, "loss_weights": {"age": 0.25, "kind": 2},
            "metrics": {"kind": ["accuracy", "mae"], "age": "mae"}})"}) {
    const Result<Model> model = ParseTwoOutputs(compile);
    ASSERT_THAT(model, Succeeds());
    const Model again = test::MustParse(FormatModel(*model));
    for (const Model* each : {&*model, &again}) {
      ASSERT_EQ(each->compile.outputs.size(), 2u);
      EXPECT_THAT(each->output_names, ElementsAre("age", "kind"));
      EXPECT_EQ(each->compile.outputs[0].loss->kind, LossKind::kMeanSquaredError);
      EXPECT_EQ(each->compile.outputs[1].loss->kind, LossKind::kSparseCategoricalCrossentropy);
      EXPECT_DOUBLE_EQ(each->compile.outputs[0].loss_weight, 0.25);
      EXPECT_DOUBLE_EQ(each->compile.outputs[1].loss_weight, 2);
      EXPECT_EQ(each->compile.accuracy(), nullptr);
      EXPECT_THAT(FigureNames(*each),
                  ElementsAre("age_loss", "kind_loss", "age_mae", "kind_accuracy"));
      // Of numbers of classes it makes no sense.
      EXPECT_THAT(each->compile.uncomputed_metrics, ElementsAre("mae"));
    }
  }
}

TEST(CompileSectionTest, AnOutputWithoutALossIsNotTrained) {
  const Result<Model> model =
      ParseTwoOutputs(R"({"optimizer": "sgd", "loss": [null, "log_loss"], "metrics": ["acc"]})");
  ASSERT_THAT(model, Succeeds());
  EXPECT_THAT(model->compile.trained_outputs(), ElementsAre(1));
  EXPECT_EQ(model->compile.accuracy(), nullptr);
  EXPECT_THAT(FigureNames(*model), ElementsAre("kind_loss", "kind_acc"));
}

TEST(CompileSectionTest, RefusesWhatIsUnknownByName) {
  struct Case {
    const char* compile;
    const char* named;
  };
  for (const Case& wrong : {
           Case{R"({"optimizer": "lars", "loss": "mse"})", "optimizer \"lars\""},
           Case{R"({"optimizer": "adan", "loss": "mse"})", "did you mean \"Adam\""},
           Case{R"({"optimizer": "sgd", "loss": "my_loss"})", "loss \"my_loss\""},
           Case{R"({"optimizer": "sgd", "loss": "mse", "metrics": ["my_f1"]})", "metric \"my_f1\""},
           Case{R"({"optimizer": "sgd", "los": "mse"})", "did you mean \"loss\""},
           Case{R"({"optimizer": {"name": "SGD", "momentun": 1}, "loss": "mse"})",
                "did you mean \"momentum\""},
           Case{R"({"optimizer": {"name": "SGD", "clipnorm": 1.0, "clipvalue": 1}, "loss": "mse"})",
                "only one"},
           Case{R"({"optimizer": {"name": "SGD", "use_ema": true}, "loss": "mse"})", "use_ema"},
           Case{R"({"optimizer": {"name": "SGD", "learning_rate": {"class_name":
                    "MyDecay", "config": {}}}, "loss": "mse"})",
                "schedule \"MyDecay\""},
           Case{R"({"optimizer": "sgd", "loss": {"class_name": "MeanSquaredError",
                    "config": {"reduction": "none"}}})",
                "reduction"},
       }) {
    EXPECT_THAT(ParseCompiled(wrong.compile),
                FailsWith(ErrorCode::kUnsupported, HasSubstr(wrong.named)))
        << wrong.compile;
  }
}

TEST(CompileSectionTest, RefusesWhatIsMissingOrWrong) {
  struct Case {
    const char* compile;
    const char* message;
  };
  for (const Case& wrong : {
           Case{R"({"loss": "mse"})", "optimizer is missing"},
           Case{R"({"optimizer": "sgd", "loss": "mse", "loss_weights": [2.0, 1]})",
                "loss_weights is [2.0, 1]"},
           Case{R"({"optimizer": "sgd", "loss": "mse", "loss_weights": [-1]})", "not below 0"},
           Case{R"({"optimizer": "sgd", "loss": ["mse", "mae"]})", "2 losses"},
           Case{R"({"optimizer": "sgd"})", "loss is missing"},
           Case{R"({"optimizer": "sgd", "loss": null})", "loss is missing"},
           Case{R"({"optimizer": 3, "loss": "mse"})", "the optimizer is 3"},
           Case{R"({"optimizer": "sgd", "loss": 3})", "the loss is 3"},
           Case{R"({"optimizer": "sgd", "loss": "mse", "metrics": [3]})", "a metric is 3"},
           Case{R"({"optimizer": {"name": "SGD", "learning_rate": -1}, "loss": "mse"})",
                "learning_rate"},
           Case{R"({"optimizer": {"name": "SGD", "lr": 1, "learning_rate": 1}, "loss": "mse"})",
                "both"},
           Case{R"({"optimizer": {"name": "SGD", "learning_rate": {"class_name":
                    "ExponentialDecay", "config": {}}}, "loss": "mse"})",
                "initial_learning_rate"},
           Case{R"({"optimizer": {"name": "SGD", "learning_rate": {"class_name":
                    "PiecewiseConstantDecay", "config": {"boundaries": [1], "values": [1]}}},
                    "loss": "mse"})",
                "one value more"},
           Case{R"({"optimizer": "sgd", "loss": {"class_name": "CategoricalCrossentropy",
                    "config": {"label_smoothing": 2}}})",
                "label_smoothing"},
           Case{R"(5)", "compile: is 5"},
       }) {
    EXPECT_THAT(ParseCompiled(wrong.compile),
                FailsWith(ErrorCode::kInvalidArgument, HasSubstr(wrong.message)))
        << wrong.compile;
  }
}

}  // namespace
}  // namespace dnc::model
