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
  int x = -1;
  int y = -1;
};

void AddTo(trainer::Totals* sum, const trainer::Totals& part) {
  sum->samples += part.samples;
  sum->loss_sum += part.loss_sum;
  sum->correct += part.correct;
}

Result<Columns> FindColumns(const shard::Manifest& manifest) {
  const Columns columns{.x = manifest.ColumnIndex("x"), .y = manifest.ColumnIndex("y")};
  if (columns.x < 0 || columns.y < 0) {
    std::string found;
    for (const array::ColumnSpec& column : manifest.columns) {
      found += (found.empty() ? "" : ", ") + column.name;
    }
    return Error{ErrorCode::kInvalidArgument,
                 "dataset \"" + manifest.name + "\" has the columns " + found +
                     "; training needs features \"x\" and labels \"y\" (divide it with --labels "
                     "or --label-column)"};
  }
  return columns;
}

Status ConfigureTrainer(const model::Model& model, const shard::Manifest& manifest,
                        const std::string& split, const LocalTrainingOptions& options,
                        const Columns& columns, trainer::Trainer* trainer) {
  const auto x = static_cast<std::size_t>(columns.x);
  const auto y = static_cast<std::size_t>(columns.y);
  const shard::SplitInfo* info = manifest.FindSplit(split);
  std::uint64_t class_count = 0;
  if (info != nullptr && y < info->statistics.size() && !info->statistics[y].class_counts.empty()) {
    class_count = static_cast<std::uint64_t>(
        std::max<std::int64_t>(info->statistics[y].class_counts.rbegin()->first + 1, 0));
  }
  DNC_TRY(model::CheckColumns(model, manifest.columns[x], manifest.columns[y], class_count));
  trainer::TrainerOptions trainer_options;
  trainer_options.threads = options.threads;
  trainer_options.batch_size_max = options.batch_size;
  trainer_options.x = manifest.columns[x];
  trainer_options.y = manifest.columns[y];
  return trainer->Configure(model, trainer_options);
}

PassOptions PassOptionsFor(const shard::Manifest& manifest, const Columns& columns,
                           const LocalTrainingOptions& options) {
  PassOptions pass;
  pass.batch_size = options.batch_size;
  pass.column_count = manifest.columns.size();
  pass.x_column = columns.x;
  pass.y_column = columns.y;
  return pass;
}

// The weights that `trainer` holds, on all of a split, in the order of the shards.
Result<trainer::Totals> EvaluateConfigured(const shard::Manifest& manifest,
                                           const std::string& split,
                                           const store::ObjectStore& store, const Columns& columns,
                                           const LocalTrainingOptions& options,
                                           trainer::Trainer* trainer,
                                           const std::function<bool(std::uint64_t)>& on_progress) {
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
    DNC_ASSIGN(columns_, FindColumns(manifest_));
    DNC_TRY(
        ConfigureTrainer(model_, manifest_, options_.train_split, options_, columns_, trainer_));
    DNC_ASSIGN(window_samples_,
               stream::WindowForMemory(manifest_, options_.train_split, options_.memory_bytes));
    state_.run = RunDigest(model_, manifest_, options_);
    DNC_TRY(Begin());
    last_checkpoint_ = MonotonicNow();
    while (state_.epochs_done < options_.epochs) {
      DNC_TRY(TrainEpoch());
      DNC_TRY(FinishEpoch());
    }
    DNC_ASSIGN(outcome_.weights, trainer_->GetWeights());
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
    return trainer_->SetWeights(model::InitialWeights(model_, options_.seed));
  }

  Status TrainEpoch() {
    stream::PlanOptions plan_options;
    plan_options.split = options_.train_split;
    plan_options.seed = options_.seed;
    plan_options.epoch = state_.epochs_done;
    plan_options.window_samples = window_samples_;
    DNC_ASSIGN(stream::Plan plan, stream::Plan::Create(&manifest_, plan_options));
    const std::uint64_t samples_total = plan.sample_count();
    DNC_ASSIGN(const auto loader, stream::Loader::Open(std::move(plan), &store_,
                                                       {.memory_bytes = options_.memory_bytes,
                                                        .skip_samples = state_.samples_done}));
    PassOptions pass = PassOptionsFor(manifest_, columns_, options_);
    pass.seed = DeriveSeed(options_.seed, state_.epochs_done + 1);
    pass.batch_count_max = kBatchesPerDrain;
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
      AddTo(&state_.totals, part);
      state_.samples_done += part.samples;
      outcome_.samples += part.samples;
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
      DNC_ASSIGN(report.validation, EvaluateConfigured(manifest_, options_.validation_split, store_,
                                                       columns_, options_, trainer_, {}));
    }
    state_.history.push_back(report);
    state_.epochs_done += 1;
    state_.samples_done = 0;
    state_.totals = {};
    if (observer_ != nullptr) observer_->OnEpoch(report);
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
    if (!now && MonotonicNow() - last_checkpoint_ < options_.checkpoint_every) return {};
    DNC_ASSIGN(state_.weights, trainer_->GetWeights());
    DNC_ASSIGN(state_.optimizer_state, trainer_->GetOptimizerState());
    DNC_TRY(SaveCheckpoint(state_, options_.checkpoint_path));
    last_checkpoint_ = MonotonicNow();
    return {};
  }

  const model::Model& model_;
  const shard::Manifest& manifest_;
  const store::ObjectStore& store_;
  trainer::Trainer* trainer_;
  const LocalTrainingOptions& options_;
  LocalTrainingObserver* observer_;
  Columns columns_;
  std::uint64_t window_samples_ = 0;
  Checkpoint state_;
  Instant last_checkpoint_;
  LocalTrainingOutcome outcome_;
};

}  // namespace

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
                                      const std::function<bool(std::uint64_t)>& on_progress) {
  DNC_ASSIGN(const Columns columns, FindColumns(manifest));
  DNC_TRY(ConfigureTrainer(model, manifest, split, options, columns, trainer));
  DNC_TRY(trainer->SetWeights(weights));
  return EvaluateConfigured(manifest, split, store, columns, options, trainer, on_progress);
}

}  // namespace dnc::training
