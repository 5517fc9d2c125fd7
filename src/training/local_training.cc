#include "training/local_training.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/file.h"
#include "base/prng.h"
#include "stream/loader.h"
#include "training/pass.h"

namespace dnc::training {
namespace {

// Totals are fetched this often; rarer would leave the shown loss behind, more often
// would let the trainer run dry between batches.
constexpr std::uint64_t kBatchesPerDrain = 32;

struct Columns {
  std::vector<int> x;
  std::vector<int> y;
};

Result<Columns> FindColumns(const model::Model& model, const shard::Manifest& manifest) {
  Columns columns;
  const auto in_dataset = [&](Result<std::vector<int>> found) -> Result<std::vector<int>> {
    if (!found.ok()) return found.error().WithContext("dataset \"" + manifest.name + "\"");
    return found;
  };
  DNC_ASSIGN(columns.x, in_dataset(model::FindInputs(model, manifest.columns)));
  DNC_ASSIGN(columns.y, in_dataset(model::FindLabels(model, manifest.columns)));
  return columns;
}

Status ConfigureTrainer(const model::Model& model, const shard::Manifest& manifest,
                        const std::string& split, const LocalTrainingOptions& options,
                        const Columns& columns, trainer::Trainer* trainer) {
  trainer::TrainerOptions trainer_options;
  trainer_options.threads = options.threads;
  trainer_options.batch_size_max = options.batch_size;
  trainer_options.x = array::SelectColumns(manifest.columns, columns.x);
  trainer_options.y = array::SelectColumns(manifest.columns, columns.y);
  trainer_options.weighted = options.weighting.any();
  DNC_TRY(model::CheckColumns(model, trainer_options.x, trainer_options.y,
                              manifest.ClassCounts(split, columns.y)));
  return trainer->Configure(model, trainer_options);
}

PassOptions PassOptionsFor(const shard::Manifest& manifest, const Columns& columns,
                           const LocalTrainingOptions& options) {
  PassOptions pass;
  pass.batch_size = options.batch_size;
  pass.column_count = manifest.columns.size();
  pass.x_columns = columns.x;
  pass.y_columns = columns.y;
  return pass;
}

double Figure(const EpochReport& report, Monitor monitor) {
  switch (monitor) {
    case Monitor::kLoss:
      return report.train.loss();
    case Monitor::kAccuracy:
      return report.train.accuracy();
    case Monitor::kValidationLoss:
      return report.validation->loss();
    case Monitor::kValidationAccuracy:
      break;
  }
  return report.validation->accuracy();
}

// The epochs of `history` as the rule counts them.
BestSoFar CountEpochs(const std::vector<EpochReport>& history, const BestRule& rule) {
  BestSoFar counted;
  for (const EpochReport& report : history) {
    counted.Add(counted.best != 0 &&
                IsBetter(rule.monitor, Figure(report, rule.monitor),
                         Figure(history[counted.best - 1], rule.monitor), rule.min_delta));
  }
  return counted;
}

// Outputs are taken from the trainer after this many batches, which bounds memory.
constexpr std::uint64_t kBatchesPerTake = 16;

// Batches as RunPass, with what is predicted of them counted.
Result<trainer::Totals> RunScoringPass(stream::Loader* loader, trainer::Trainer* trainer,
                                       const PassOptions& options, ClassReader* classes,
                                       ConfusionMatrix* confusion) {
  trainer::Totals totals;
  PassOptions pass = options;
  pass.kind = trainer::BatchKind::kScore;
  pass.batch_count_max = kBatchesPerTake;
  pass.progress = [&](std::uint64_t samples) {
    return !options.progress || options.progress(totals.samples + samples);
  };
  pass.on_labels = [&](ByteSpan labels) { classes->AddLabels(labels); };
  for (;;) {
    DNC_ASSIGN(const trainer::Totals part, RunPass(loader, trainer, pass));
    if (part.samples == 0) return totals;
    DNC_ASSIGN(const std::vector<float> outputs, trainer->TakeOutputs());
    classes->AddOutputs(outputs, confusion);
    totals.Add(part);
  }
}

// The weights that `trainer` holds, on all of a split, in the order of the shards.
Result<trainer::Totals> EvaluateConfigured(
    const model::Model& model, const shard::Manifest& manifest, const std::string& split,
    const store::ObjectStore& store, const Columns& columns, const LocalTrainingOptions& options,
    trainer::Trainer* trainer, const std::function<bool(std::uint64_t)>& on_progress,
    ConfusionMatrix* confusion) {
  stream::PlanOptions plan_options;
  plan_options.split = split;
  plan_options.shuffle = false;
  DNC_ASSIGN(plan_options.window_samples,
             stream::WindowForMemory(manifest, split, options.memory_bytes));
  DNC_ASSIGN(stream::Plan plan, stream::Plan::Create(&manifest, plan_options));
  DNC_ASSIGN(const auto loader,
             stream::Loader::Open(std::move(plan), &store, {.memory_bytes = options.memory_bytes}));
  PassOptions pass = PassOptionsFor(manifest, columns, options);
  pass.kind = trainer::BatchKind::kEvaluate;
  pass.progress = on_progress;
  if (confusion != nullptr) {
    const auto y = static_cast<std::size_t>(columns.y.front());
    std::optional<ClassReader> classes = ClassReader::For(model, manifest.columns[y]);
    if (classes) return RunScoringPass(loader.get(), trainer, pass, &*classes, confusion);
  }
  return RunPass(loader.get(), trainer, pass);
}

// One run of TrainLocally; its fields are what its steps share.
class LocalRun {
 public:
  LocalRun(const model::Model& model, const shard::Manifest& manifest,
           const store::ObjectStore& store, trainer::Trainer* trainer,
           const LocalTrainingOptions& options, LocalTrainingObserver* observer)
      : model_(model),
        manifest_(manifest),
        store_(store),
        trainer_(trainer),
        options_(options),
        observer_(observer) {}

  Result<LocalTrainingOutcome> Run() {
    DNC_ASSIGN(columns_, FindColumns(model_, manifest_));
    DNC_TRY(
        ConfigureTrainer(model_, manifest_, options_.train_split, options_, columns_, trainer_));
    DNC_ASSIGN(window_samples_,
               stream::WindowForMemory(manifest_, options_.train_split, options_.memory_bytes));
    if (options_.validation_split.empty() && options_.patience &&
        NeedsValidation(options_.best.monitor)) {
      return Error{ErrorCode::kInvalidArgument,
                   std::string("early stopping watches ") + MonitorName(options_.best.monitor) +
                       ", but there is no validation split; watch \"loss\", or divide the data "
                       "with --split train=0.9,validation=0.1"};
    }
    if (options_.patience && !IsLoss(options_.best.monitor) &&
        model_.compile.accuracy() == nullptr) {
      return Error{ErrorCode::kInvalidArgument,
                   std::string("early stopping watches ") + MonitorName(options_.best.monitor) +
                       ", but the model's metrics have no accuracy; watch a loss"};
    }
    if (options_.weighting.any()) {
      DNC_ASSIGN(sample_weights_, SampleWeights::Create(manifest_, options_.train_split, columns_.y,
                                                        options_.weighting));
    }
    state_.run = RunDigest(model_, manifest_, options_);
    DNC_TRY(Begin());
    last_checkpoint_ = MonotonicNow();
    while (state_.epochs_done < options_.epochs && !OutOfPatience()) {
      DNC_TRY(TrainEpoch());
      DNC_TRY(FinishEpoch());
    }
    outcome_.stopped_early = state_.epochs_done < options_.epochs;
    DNC_ASSIGN(outcome_.weights, trainer_->GetWeights());
    DNC_ASSIGN(outcome_.optimizer_state, trainer_->GetOptimizerState());
    outcome_.history = std::move(state_.history);
    return std::move(outcome_);
  }

 private:
  // From the checkpoint, or from the initial weights.
  Status Begin() {
    if (options_.resume && PathExists(options_.checkpoint_path)) {
      DNC_ASSIGN(state_, LoadCheckpoint(options_.checkpoint_path, state_.run, model_.weight_count));
      DNC_TRY(trainer_->SetWeights(state_.weights));
      DNC_TRY(trainer_->SetOptimizerState(state_.optimizer_state));
      if (observer_ != nullptr) observer_->OnResumed(state_);
      return {};
    }
    if (options_.weights.empty()) {
      return trainer_->SetWeights(model::InitialWeights(model_, options_.seed));
    }
    DNC_TRY(trainer_->SetWeights(options_.weights));
    return trainer_->SetOptimizerState(options_.optimizer_state);
  }

  bool HasBest() const {
    return !NeedsValidation(options_.best.monitor) || !options_.validation_split.empty();
  }

  bool OutOfPatience() const {
    return options_.patience &&
           CountEpochs(state_.history, options_.best).OutOfPatience(*options_.patience);
  }

  Status TrainEpoch() {
    stream::PlanOptions plan_options;
    plan_options.split = options_.train_split;
    plan_options.seed = options_.seed;
    plan_options.epoch = state_.epochs_done;
    plan_options.window_samples = window_samples_;
    DNC_ASSIGN(stream::Plan plan, stream::Plan::Create(&manifest_, plan_options));
    const std::uint64_t samples_total = plan.sample_count();
    epoch_started_ = MonotonicNow();
    DNC_ASSIGN(const auto loader, stream::Loader::Open(std::move(plan), &store_,
                                                       {.memory_bytes = options_.memory_bytes,
                                                        .skip_samples = state_.samples_done}));
    PassOptions pass = PassOptionsFor(manifest_, columns_, options_);
    pass.seed = DeriveSeed(options_.seed, state_.epochs_done + 1);
    pass.batch_count_max = kBatchesPerDrain;
    if (sample_weights_) pass.weights = &*sample_weights_;
    bool stopped = false;
    while (state_.samples_done < samples_total && !stopped) {
      pass.first_batch = state_.samples_done / options_.batch_size;
      // A stop is remembered, not returned, so that the batches already queued count
      // and the checkpoint falls between two batches.
      pass.progress = [&](std::uint64_t samples) {
        stopped = stopped || !Report(state_.samples_done + samples, samples_total);
        return true;
      };
      DNC_ASSIGN(const trainer::Totals part, RunPass(loader.get(), trainer_, pass));
      state_.totals.Add(part);
      state_.samples_done += part.samples;
      outcome_.samples += part.samples;
      steps_since_checkpoint_ += (part.samples + options_.batch_size - 1) / options_.batch_size;
      DNC_TRY(CheckpointIfDue(stopped));
    }
    const stream::LoaderStatistics statistics = loader->statistics();
    outcome_.waited = outcome_.waited + statistics.waited;
    outcome_.loader_memory_peak_bytes =
        std::max(outcome_.loader_memory_peak_bytes, statistics.memory_peak_bytes);
    if (stopped && state_.samples_done < samples_total) {
      return Error{
          ErrorCode::kCancelled,
          "stopped in epoch " + std::to_string(state_.epochs_done + 1) +
              (options_.checkpoint_path.empty() ? std::string() : "; go on with --resume")};
    }
    return {};
  }

  Status FinishEpoch() {
    EpochReport report;
    report.epoch = state_.epochs_done + 1;
    report.train = state_.totals;
    if (!options_.validation_split.empty()) {
      DNC_ASSIGN(report.validation,
                 EvaluateConfigured(model_, manifest_, options_.validation_split, store_, columns_,
                                    options_, trainer_, {}, nullptr));
    }
    report.steps = (state_.samples_done + options_.batch_size - 1) / options_.batch_size;
    if (!state_.history.empty()) report.steps += state_.history.back().steps;
    report.seconds = EpochSeconds();
    state_.history.push_back(report);
    state_.epochs_done += 1;
    state_.samples_done = 0;
    state_.totals = {};
    state_.seconds = 0;
    epoch_started_ = MonotonicNow();
    if (observer_ != nullptr) {
      const bool is_best =
          HasBest() && BestEpoch(state_.history, options_.best) + 1 == state_.history.size();
      DNC_TRY(observer_->OnEpoch(state_.history, is_best, [&] { return trainer_->GetWeights(); }));
    }
    return CheckpointIfDue(false);
  }

  bool Report(std::uint64_t samples_done, std::uint64_t samples_total) {
    if (observer_ == nullptr) return true;
    return observer_->OnProgress({.epoch = state_.epochs_done + 1,
                                  .epochs = options_.epochs,
                                  .samples_done = samples_done,
                                  .samples_total = samples_total,
                                  .totals = state_.totals});
  }

  Status CheckpointIfDue(bool now) {
    if (options_.checkpoint_path.empty()) return {};
    const bool by_steps =
        options_.checkpoint_steps > 0 && steps_since_checkpoint_ >= options_.checkpoint_steps;
    const bool by_time = MonotonicNow() - last_checkpoint_ >= options_.checkpoint_every;
    if (!now && !by_steps && !by_time) return {};
    state_.seconds = EpochSeconds();
    epoch_started_ = MonotonicNow();
    DNC_ASSIGN(state_.weights, trainer_->GetWeights());
    DNC_ASSIGN(state_.optimizer_state, trainer_->GetOptimizerState());
    DNC_TRY(SaveCheckpoint(state_, options_.checkpoint_path));
    last_checkpoint_ = MonotonicNow();
    steps_since_checkpoint_ = 0;
    return {};
  }

  // Of the epoch under way, in this process and before it.
  double EpochSeconds() const {
    return state_.seconds + (MonotonicNow() - epoch_started_).seconds();
  }

  const model::Model& model_;
  const shard::Manifest& manifest_;
  const store::ObjectStore& store_;
  trainer::Trainer* trainer_;
  const LocalTrainingOptions& options_;
  LocalTrainingObserver* observer_;
  Columns columns_;
  std::optional<SampleWeights> sample_weights_;
  std::uint64_t window_samples_ = 0;
  Checkpoint state_;
  Instant last_checkpoint_;
  Instant epoch_started_;  // Or since when state_.seconds does not count it.
  std::uint64_t steps_since_checkpoint_ = 0;
  LocalTrainingOutcome outcome_;
};

}  // namespace

std::size_t BestEpoch(const std::vector<EpochReport>& history, const BestRule& rule) {
  DNC_ASSERT(!history.empty());
  return CountEpochs(history, rule).best - 1;
}

Digest RunDigest(const model::Model& model, const shard::Manifest& manifest,
                 const LocalTrainingOptions& options) {
  ByteWriter out;
  out.PutString(model::FormatModel(model));
  out.PutString(Sha256(AsBytes(shard::FormatManifest(manifest))).Hex());
  out.Put(options.batch_size);
  out.Put(options.seed);
  out.PutString(options.train_split);
  out.PutString(options.validation_split);
  // The window of the shuffle follows from the memory; the number of epochs may grow.
  out.Put(options.memory_bytes);
  out.Put(options.threads);
  out.PutString(options.weighting.column);
  out.Put(static_cast<std::uint8_t>(options.weighting.balanced));
  for (const auto& [label, weight] : options.weighting.by_class) {
    out.Put(label);
    out.Put(weight);
  }
  out.PutString(Sha256(std::as_bytes(options.weights)).Hex());
  out.PutString(Sha256(options.optimizer_state).Hex());
  return Sha256(out.bytes());
}

Result<LocalTrainingOutcome> TrainLocally(const model::Model& model,
                                          const shard::Manifest& manifest,
                                          const store::ObjectStore& store,
                                          trainer::Trainer* trainer,
                                          const LocalTrainingOptions& options,
                                          LocalTrainingObserver* observer) {
  return LocalRun(model, manifest, store, trainer, options, observer).Run();
}

Result<trainer::Totals> EvaluateSplit(const model::Model& model, std::span<const float> weights,
                                      const shard::Manifest& manifest, const std::string& split,
                                      const store::ObjectStore& store, trainer::Trainer* trainer,
                                      const LocalTrainingOptions& options,
                                      const std::function<bool(std::uint64_t)>& on_progress,
                                      ConfusionMatrix* confusion) {
  DNC_ASSIGN(const Columns columns, FindColumns(model, manifest));
  DNC_TRY(ConfigureTrainer(model, manifest, split, options, columns, trainer));
  DNC_TRY(trainer->SetWeights(weights));
  return EvaluateConfigured(model, manifest, split, store, columns, options, trainer, on_progress,
                            confusion);
}

}  // namespace dnc::training
