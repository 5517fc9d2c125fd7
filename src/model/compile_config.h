// How a model is compiled, as Keras says it: the optimizer, and for each output a loss
// and metrics. Plain values; compile_section.h reads and writes them.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace dnc::model {

enum class OptimizerKind : std::uint8_t {
  kSgd,
  kAdam,
  kAdamW,
  kRmsprop,
  kAdagrad,
  kAdadelta,
  kAdamax,
  kNadam,
  kFtrl,
  kLion,
};

enum class ScheduleKind : std::uint8_t {
  kNone,  // Optimizer::learning_rate alone counts.
  kExponentialDecay,
  kPiecewiseConstantDecay,
  kPolynomialDecay,
  kInverseTimeDecay,
  kCosineDecay,
  kCosineDecayRestarts,
};

// A learning rate as a function of the step; the options as Keras names them.
struct LearningRateSchedule {
  ScheduleKind kind = ScheduleKind::kNone;
  double initial_learning_rate = 0;
  double decay_steps = 1;  // Also first_decay_steps.
  double decay_rate = 0;
  bool staircase = false;
  std::vector<double> boundaries;  // One less than `values`.
  std::vector<double> values;
  double end_learning_rate = 1e-4;
  double power = 1;
  bool cycle = false;
  double alpha = 0;
  bool has_warmup = false;
  double warmup_target = 0;
  double warmup_steps = 0;
  double t_mul = 2;
  double m_mul = 1;
};

// How a model is optimized; each kind reads what Keras gives it.
struct Optimizer {
  OptimizerKind kind = OptimizerKind::kSgd;
  // One of Keras before 2.11 (optimizer_v2, and Keras 1 and 2.0 to 2.3): RMSprop and
  // Adagrad add epsilon outside the root, Nadam's momentum warms up slowly.
  bool legacy = false;
  double learning_rate = 0.01;
  LearningRateSchedule schedule;
  double decay = 0;  // Legacy: learning_rate / (1 + decay * step).
  double momentum = 0;
  bool nesterov = false;
  double beta_1 = 0.9;
  double beta_2 = 0.999;
  double epsilon = 1e-7;
  bool amsgrad = false;
  double rho = 0.9;
  bool centered = false;
  double initial_accumulator_value = 0.1;
  double schedule_decay = 1;  // Nadam; 0.004 where it is legacy.
  double learning_rate_power = -0.5;
  double l1_regularization_strength = 0;
  double l2_regularization_strength = 0;
  double l2_shrinkage_regularization_strength = 0;
  double beta = 0;
  double weight_decay = 0;
  // At most one of these is not 0, which means none.
  double clipvalue = 0;
  double clipnorm = 0;
  double global_clipnorm = 0;
};

// The learning rate of the step number `step`, the first being 0: schedule and decay
// are applied, Adam's correction of bias is not.
double LearningRateAt(const Optimizer& optimizer, std::uint64_t step);

enum class LossKind : std::uint8_t {
  kCategoricalCrossentropy,
  kSparseCategoricalCrossentropy,
  kBinaryCrossentropy,
  kMeanSquaredError,
  kHinge,
  kMeanAbsoluteError,
  kMeanAbsolutePercentageError,
  kMeanSquaredLogarithmicError,
  kSquaredHinge,
  kCategoricalHinge,
  kHuber,
  kLogCosh,
  kPoisson,
  kKullbackLeiblerDivergence,
  kCosineSimilarity,
};

// Keras's name of a loss: "mean_squared_error".
const char* LossName(LossKind loss);

struct LossConfig {
  LossKind kind = LossKind::kMeanSquaredError;
  bool from_logits = false;
  double label_smoothing = 0;  // Categorical and binary cross-entropy.
  double huber_delta = 1;
  bool sum_reduction = false;  // The loss of a batch is the sum over it, not the mean.
  friend bool operator==(const LossConfig&, const LossConfig&) = default;
};

enum class MetricKind : std::uint8_t {
  kAccuracy,
  kTopKAccuracy,
  kMeanLoss,  // A loss as a metric: its mean over the samples.
  kRootMeanSquaredError,
  kCosineSimilarity,
  kTruePositives,
  kFalsePositives,
  kTrueNegatives,
  kFalseNegatives,
  kPrecision,
  kRecall,
  kAuc,
};

// How "accuracy" compares: Keras's binary_accuracy (by threshold) for an output of
// width 1 and its categorical_accuracy for others; or one of them whatever the width.
enum class AccuracyRule : std::uint8_t { kByShape, kBinary, kCategorical };

// What is measured of an output beside its loss.
struct Metric {
  MetricKind kind = MetricKind::kAccuracy;
  std::string name;  // As Keras reports it: "accuracy", "auc".
  AccuracyRule accuracy_rule = AccuracyRule::kByShape;
  double threshold = 0.5;  // Above it an output is positive.
  std::int64_t top_k = 5;
  LossConfig loss;                // kMeanLoss.
  int threshold_count = 200;      // kAuc.
  bool precision_recall = false;  // kAuc: the area under that curve, not under ROC's.
};

struct OutputConfig {
  std::optional<LossConfig> loss;  // None: the output is computed, not trained.
  double loss_weight = 1;
  std::vector<Metric> metrics;
};

struct CompileConfig {
  Optimizer optimizer;
  std::vector<OutputConfig> outputs;  // Of each output of the model.
  // Metrics that are kept in training_config_json but not computed, by name.
  std::vector<std::string> uncomputed_metrics;
  std::string metrics_json = "[]";  // These as they were given.
  std::string weighted_metrics_json = "null";
  std::string loss_weights_json = "null";

  // Those with a loss, by index, in order.
  std::vector<int> trained_outputs() const;
  // The first accuracy of a model with one output; null if it has none. Of several outputs
  // each has its own, as a figure (model/figures.h).
  const Metric* accuracy() const;
};

}  // namespace dnc::model
