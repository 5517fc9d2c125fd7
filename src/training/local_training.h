// Trains a model on this machine alone: streams the split through a fixed amount of
// memory, epoch by epoch, validates after each, writes checkpoints, and resumes from
// one to the same bytes as an undisturbed run.

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/best_epoch.h"
#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "model/model.h"
#include "shard/manifest.h"
#include "store/object_store.h"
#include "trainer/trainer.h"
#include "training/checkpoint.h"
#include "training/confusion_matrix.h"
#include "training/sample_weights.h"

namespace dnc::training {

// How the epochs are compared.
struct BestRule {
  Monitor monitor = Monitor::kValidationLoss;
  double min_delta = 0;  // What is better by less than this is not better.
};

// The index of the best epoch by the rule, as Keras's callbacks count: the first is the
// best until one is better by more than min_delta. Requires: history is not empty, and
// validated if the rule asks for it.
std::size_t BestEpoch(const std::vector<EpochReport>& history, const BestRule& rule);

struct LocalTrainingOptions {
  std::uint32_t epochs = 1;
  std::uint32_t batch_size = 32;
  std::uint64_t seed = 0;
  std::string train_split = "train";
  std::string validation_split;            // Empty: none.
  std::uint64_t memory_bytes = 64u << 20;  // Of the loader.
  int threads = 1;                         // Of the trainer.
  std::string checkpoint_path;             // Empty: no checkpoints.
  Duration checkpoint_every = Duration::Seconds(30);
  std::uint64_t checkpoint_steps = 0;  // Also after this many optimizer steps; 0: not.
  bool resume = false;                 // From checkpoint_path, if it is there.
  BestRule best;
  WeightOptions weighting;
  // Ends the training after this many epochs in which none was the best.
  std::optional<std::uint32_t> patience;
  // Where training begins, if not at fresh weights; must outlive the run.
  std::span<const float> weights;
  ByteSpan optimizer_state;
};

struct LocalProgress {
  std::uint32_t epoch = 0;  // From 1.
  std::uint32_t epochs = 0;
  bool validating = false;
  std::uint64_t samples_done = 0;  // Of this epoch (or of the validation).
  std::uint64_t samples_total = 0;
  trainer::Totals totals;  // Of this epoch, so far.
};

class LocalTrainingObserver {
 public:
  virtual ~LocalTrainingObserver() = default;
  // After every batch. false ends the training: a checkpoint is written and
  // kCancelled returned.
  virtual bool OnProgress(const LocalProgress& progress) = 0;
  // After every epoch, before its checkpoint; the last is the one that ended. An error
  // ends the training. `weights` gives those of now.
  virtual Status OnEpoch(const std::vector<EpochReport>& history, bool is_best,
                         const std::function<Result<std::vector<float>>()>& weights) = 0;
  virtual void OnResumed(const Checkpoint& checkpoint) = 0;
};

struct LocalTrainingOutcome {
  std::vector<float> weights;
  Bytes optimizer_state;
  std::vector<EpochReport> history;
  bool stopped_early = false;
  std::uint64_t samples = 0;  // Trained in this process.
  Duration waited;            // For data.
  std::uint64_t loader_memory_peak_bytes = 0;
};

// What a run's result depends on: model, data and settings. Two runs of one digest
// and one number of threads end in the same weights.
Digest RunDigest(const model::Model& model, const shard::Manifest& manifest,
                 const LocalTrainingOptions& options);

// `trainer` is configured here; `store` holds the manifest's shards.
// Errors: those of the loader, the trainer and the checkpoint; kInvalidArgument,
// columns that do not fit the model, or a memory budget that is too small.
Result<LocalTrainingOutcome> TrainLocally(const model::Model& model,
                                          const shard::Manifest& manifest,
                                          const store::ObjectStore& store,
                                          trainer::Trainer* trainer,
                                          const LocalTrainingOptions& options,
                                          LocalTrainingObserver* observer);

// Configures `trainer` for the columns "x" and "y" of the manifest and evaluates
// `weights` on a split; `on_progress` (may be empty) returns false to stop. `confusion`
// (may be null) is filled if the model tells classes apart, and else stays empty.
Result<trainer::Totals> EvaluateSplit(const model::Model& model, std::span<const float> weights,
                                      const shard::Manifest& manifest, const std::string& split,
                                      const store::ObjectStore& store, trainer::Trainer* trainer,
                                      const LocalTrainingOptions& options,
                                      const std::function<bool(std::uint64_t)>& on_progress,
                                      ConfusionMatrix* confusion = nullptr);

}  // namespace dnc::training
