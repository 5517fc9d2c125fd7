#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/human.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/local_trainer.h"
#include "cli/model_figures.h"
#include "cli/progress.h"
#include "cli/project_inputs.h"
#include "cli/store_options.h"
#include "cli/values.h"
#include "curves/event_file.h"
#include "curves/figures.h"
#include "curves/plot.h"
#include "model/model_files.h"
#include "training/local_training.h"

namespace dnc::cli {
namespace {

struct TrainCommandOptions {
  std::string project;
  store::StoreOptions store;
  std::string out;
  std::string memory = "64MiB";
  double checkpoint_seconds = 30;
  std::uint64_t checkpoint_steps = 0;
  std::string monitor;  // Empty: of the validation, if there is one.
  std::int64_t patience = -1;
  std::optional<double> min_delta;
  std::string class_weight;
  std::string sample_weight;
  std::string best;
  bool restore_best = false;
  std::string log;
  std::string tensorboard;
  std::string plot;
  int threads = 0;
  std::string device = "auto";
  bool resume = false;
  bool restart = false;
  bool json = false;
};

curves::Figures FiguresOf(const training::EpochReport& report, const ModelFigures& figures) {
  curves::Figures row{.epoch = report.epoch,
                      .steps = report.steps,
                      .seconds = report.seconds,
                      .values = figures.Values(report.train)};
  if (!report.validation) return row;
  for (const auto& [name, value] : figures.Values(*report.validation)) {
    row.values.emplace_back(curves::kValidationPrefix + name, value);
  }
  return row;
}

// The logs and pictures that the user asked for, brought up to date after each epoch.
class Logs {
 public:
  Logs(const TrainCommandOptions& options, const model::Model& model)
      : options_(options), title_(model.name), figures_(model) {}

  Status Add(const std::vector<training::EpochReport>& history) {
    std::vector<curves::Figures> rows;
    for (const training::EpochReport& report : history) {
      rows.push_back(FiguresOf(report, figures_));
    }
    if (!options_.log.empty()) {
      DNC_TRY(WriteFileAtomically(options_.log, AsBytes(curves::FormatCsv(rows))));
    }
    if (!options_.plot.empty()) {
      const std::string svg = curves::PlotSvg(title_, curves::PanelsOf(rows));
      DNC_TRY(WriteFileAtomically(options_.plot, AsBytes(svg)));
    }
    if (!options_.tensorboard.empty()) return AddEvents(rows.back());
    return {};
  }

 private:
  // Under the names that Keras's callback gives them.
  Status AddEvents(const curves::Figures& row) {
    std::vector<std::pair<std::string, double>> train;
    std::vector<std::pair<std::string, double>> validation;
    for (const auto& [name, value] : row.values) {
      const std::string_view prefix = curves::kValidationPrefix;
      if (name.starts_with(prefix)) {
        validation.emplace_back("epoch_" + name.substr(prefix.size()), value);
      } else {
        train.emplace_back("epoch_" + name, value);
      }
    }
    DNC_TRY(AddScalars("train", std::move(train), row.epoch, &train_));
    if (validation.empty()) return {};
    return AddScalars("validation", std::move(validation), row.epoch, &validation_);
  }

  Status AddScalars(const char* run, std::vector<std::pair<std::string, double>> values,
                    std::uint32_t epoch, std::optional<curves::EventFile>* file) {
    if (!*file) {
      DNC_ASSIGN(*file, curves::EventFile::Create(options_.tensorboard + "/" + run));
    }
    return (*file)->Append(std::move(values), epoch - 1);
  }

  const TrainCommandOptions& options_;
  std::string title_;
  ModelFigures figures_;
  std::optional<curves::EventFile> train_;
  std::optional<curves::EventFile> validation_;
};

// Where the best epoch's model is written; "" for nowhere.
std::string BestPath(const TrainCommandOptions& options) {
  if (!options.best.empty() || !options.restore_best) return options.best;
  return options.out + ".best.h5";
}

class Observer final : public training::LocalTrainingObserver {
 public:
  Observer(const TrainCommandOptions& options, const model::Model& model, Progress* progress)
      : progress_(progress),
        figures_(model),
        model_(model),
        best_path_(BestPath(options)),
        logs_(options, model) {}

  bool OnProgress(const training::LocalProgress& now) override {
    if (now.epoch != epoch_) {
      epoch_ = now.epoch;
      epoch_started_ = MonotonicNow();
      first_sample_ = 0;
    }
    if (progress_->Due()) {
      std::string line = "epoch " + std::to_string(now.epoch) + "/" + std::to_string(now.epochs) +
                         ": " + Rate(now);
      if (now.totals.samples > 0) line += ", " + figures_.Text(now.totals);
      progress_->Show(line);
    }
    return !Interrupted();
  }

  Status OnEpoch(const std::vector<training::EpochReport>& history, bool is_best,
                 const std::function<Result<std::vector<float>>()>& weights) override {
    const training::EpochReport& report = history.back();
    std::string line = "epoch " + std::to_string(report.epoch) + ": " + figures_.Text(report.train);
    if (report.validation) line += "; validation " + figures_.Text(*report.validation);
    const auto took = Duration::Microseconds(static_cast<std::int64_t>(report.seconds * 1e6));
    progress_->Print(line + ", " + FormatDuration(took));
    DNC_TRY(logs_.Add(history));
    if (best_path_.empty() || !is_best) return {};
    DNC_ASSIGN(std::vector<float> best, weights());
    return model::SaveModel({.model = model_, .weights = std::move(best)}, best_path_);
  }

  void OnResumed(const training::Checkpoint& checkpoint) override {
    progress_->Print("going on from a checkpoint: epoch " +
                     std::to_string(checkpoint.epochs_done + 1) + ", sample " +
                     FormatCount(checkpoint.samples_done));
    epoch_ = checkpoint.epochs_done + 1;
    epoch_started_ = MonotonicNow();
    first_sample_ = checkpoint.samples_done;
  }

 private:
  // Of this process: what a checkpoint brought along took no time here.
  std::string Rate(const training::LocalProgress& now) const {
    return RateText(now.samples_done - first_sample_, now.samples_total - first_sample_, "samples",
                    MonotonicNow() - epoch_started_);
  }

  Progress* progress_;
  ModelFigures figures_;
  const model::Model& model_;
  std::string best_path_;
  Logs logs_;
  std::uint32_t epoch_ = 0;
  std::uint64_t first_sample_ = 0;
  Instant epoch_started_;
};

// What the command line leaves open is as the project file has it.
TrainCommandOptions WithFile(TrainCommandOptions options, const proto::FitSettings& fit) {
  if (!fit.early_stopping) return options;
  const proto::EarlyStopping& stopping = *fit.early_stopping;
  if (options.monitor.empty() && stopping.monitor) options.monitor = MonitorName(*stopping.monitor);
  if (options.patience < 0) options.patience = stopping.patience;
  if (!options.min_delta) options.min_delta = stopping.min_delta;
  options.restore_best = options.restore_best || stopping.restore_best;
  return options;
}

// How samples count: by the command line, and else by the project file.
Result<training::WeightOptions> MakeWeighting(const TrainCommandOptions& options,
                                              const ProjectInputs& inputs) {
  const shard::Manifest& manifest = inputs.dataset.manifest;
  const proto::FitSettings& fit = inputs.file.fit;
  training::WeightOptions weighting{
      .column = options.sample_weight.empty() ? fit.sample_weight : options.sample_weight};
  if (!options.class_weight.empty()) {
    const Status parsed = training::ParseClassWeights(options.class_weight, manifest, &weighting);
    if (!parsed.ok()) return parsed.error().WithContext("--class-weight");
    return weighting;
  }
  weighting.balanced = fit.class_weight_balanced;
  auto by_class = shard::ResolveClassWeights(fit.class_weight, manifest);
  if (!by_class.ok()) {
    return by_class.error().WithContext(options.project + ": \"fit.class_weight\"");
  }
  weighting.by_class = std::move(*by_class);
  return weighting;
}

Result<training::LocalTrainingOptions> MakeOptions(const TrainCommandOptions& options,
                                                   const ProjectInputs& inputs) {
  training::LocalTrainingOptions result;
  result.epochs = inputs.file.fit.epochs;
  result.batch_size = inputs.file.fit.batch_size;
  result.seed = inputs.file.fit.seed;
  result.train_split = inputs.file.fit.train_split;
  result.validation_split = inputs.validation_split;
  DNC_ASSIGN(result.memory_bytes, ByteOption("--memory", options.memory));
  result.threads = options.threads > 0 ? options.threads : AvailableCores();
  result.checkpoint_path = options.out + ".checkpoint";
  result.checkpoint_every =
      Duration::Microseconds(static_cast<std::int64_t>(options.checkpoint_seconds * 1e6));
  result.checkpoint_steps = options.checkpoint_steps;
  result.resume = options.resume;
  result.weights = inputs.weights;
  result.optimizer_state = inputs.optimizer_state;
  if (!options.monitor.empty()) {
    DNC_ASSIGN(result.best.monitor, ParseMonitor(options.monitor));
  } else if (inputs.validation_split.empty()) {
    result.best.monitor = Monitor::kLoss;
  }
  DNC_ASSIGN(result.weighting, MakeWeighting(options, inputs));
  result.best.min_delta = options.min_delta.value_or(0);
  if (options.patience >= 0) result.patience = static_cast<std::uint32_t>(options.patience);
  if (!options.resume && !options.restart && PathExists(result.checkpoint_path)) {
    return Error{ErrorCode::kAlreadyExists,
                 result.checkpoint_path +
                     " is left from an earlier run; pass --resume to go on from it, or --restart "
                     "to begin anew"};
  }
  return result;
}

// Of this process and the trainers that it has waited for, at most at once.
std::uint64_t PeakMemoryBytes() {
  std::uint64_t kib = 0;
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage{};
    if (getrusage(who, &usage) == 0) kib += static_cast<std::uint64_t>(usage.ru_maxrss);
  }
  return kib * 1024;
}

void PrintSummary(const TrainCommandOptions& options, const training::LocalTrainingOutcome& outcome,
                  const training::BestRule& rule, const ModelFigures& figures, Duration elapsed) {
  const std::size_t best = training::BestEpoch(outcome.history, rule);
  if (options.json) {
    nlohmann::json epochs = nlohmann::json::array();
    for (const training::EpochReport& report : outcome.history) {
      nlohmann::json row = {{"epoch", report.epoch},
                            {"steps", report.steps},
                            {"seconds", report.seconds},
                            {"train", figures.Json(report.train)}};
      if (report.validation) row["validation"] = figures.Json(*report.validation);
      epochs.push_back(row);
    }
    PrintJson({{"model", options.out},
               {"epochs", epochs},
               {"best_epoch", outcome.history[best].epoch},
               {"monitor", MonitorName(rule.monitor)},
               {"stopped_early", outcome.stopped_early},
               {"samples", outcome.samples},
               {"seconds", elapsed.seconds()},
               {"waited_seconds", outcome.waited.seconds()},
               {"loader_memory_peak_bytes", outcome.loader_memory_peak_bytes},
               {"memory_peak_bytes", PeakMemoryBytes()}});
    return;
  }
  constexpr std::size_t kEpochsToPlot = 3;
  if (outcome.history.size() >= kEpochsToPlot) {
    std::vector<curves::Figures> rows;
    for (const training::EpochReport& report : outcome.history) {
      rows.push_back(FiguresOf(report, figures));
    }
    for (const curves::Panel& panel : curves::PanelsOf(rows)) {
      std::printf("%s\n", curves::PlotText(panel).c_str());
    }
  }
  if (outcome.stopped_early) {
    std::printf("stopped early: epoch %u was the best by %s\n", outcome.history[best].epoch,
                MonitorName(rule.monitor));
  }
  std::printf("%s: %s samples in %s, waited %s for data, loader held at most %s, %s in all\n",
              options.out.c_str(), FormatCount(outcome.samples).c_str(),
              FormatDuration(elapsed).c_str(), FormatDuration(outcome.waited).c_str(),
              FormatByteCount(outcome.loader_memory_peak_bytes).c_str(),
              FormatByteCount(PeakMemoryBytes()).c_str());
}

Status CheckHoldsWeights(const std::string& path) {
  DNC_ASSIGN(const model::FileKind kind, model::FileKindOf(path));
  if (kind != model::FileKind::kJson) return {};
  return Error{ErrorCode::kInvalidArgument,
               path +
                   ": a .json has no place for the trained weights; expected a .h5, .keras, "
                   ".safetensors, .npz or .onnx"};
}

Status Train(const TrainCommandOptions& command_line) {
  // A name that cannot be written is said before the training, not after it.
  DNC_TRY(CheckHoldsWeights(command_line.out));
  if (!command_line.best.empty()) DNC_TRY(CheckHoldsWeights(command_line.best));
  DNC_ASSIGN(const ProjectInputs inputs,
             LoadProjectInputs(command_line.project, command_line.store));
  const TrainCommandOptions options = WithFile(command_line, inputs.file.fit);
  DNC_ASSIGN(const training::LocalTrainingOptions training_options, MakeOptions(options, inputs));
  DNC_ASSIGN(auto trainer, StartLocalTrainer(training_options.threads, options.device));
  Progress progress;  // On stderr, also beside JSON: a training takes long.
  progress.Print(
      inputs.file.name + ": " + FormatCount(inputs.model.weight_count) + " weights, " +
      FormatCount(inputs.dataset.manifest.FindSplit(training_options.train_split)->samples) +
      " samples, " + std::to_string(training_options.epochs) + " epochs, " +
      std::to_string(training_options.threads) + " threads");
  Observer observer(options, inputs.model, &progress);
  DNC_ASSIGN(training::LocalTrainingOutcome outcome,
             training::TrainLocally(inputs.model, inputs.dataset.manifest, *inputs.dataset.store,
                                    trainer.get(), training_options, &observer));
  trainer.reset();  // What it used is known once it was waited for.
  model::TrainedModel trained{.model = inputs.model,
                              .weights = std::move(outcome.weights),
                              .optimizer_state = std::move(outcome.optimizer_state)};
  if (options.restore_best) {
    DNC_ASSIGN(model::TrainedModel best, model::LoadModel(BestPath(options)));
    trained.weights = std::move(best.weights);
    trained.optimizer_state.clear();  // It is that of the last epoch.
  }
  DNC_TRY(model::SaveModel(trained, options.out));
  std::error_code ignored;
  std::filesystem::remove(training_options.checkpoint_path, ignored);
  if (options.best.empty() && options.restore_best) {
    std::filesystem::remove(BestPath(options), ignored);
  }
  PrintSummary(options, outcome, training_options.best, ModelFigures(inputs.model),
               progress.elapsed());
  return {};
}

}  // namespace

void AddTrain(Registry* registry) {
  const auto options = std::make_shared<TrainCommandOptions>();
  CLI::App* command = AddCommand(
      registry,
      {.name = "train",
       .description = "Train a project on this machine, in a fixed amount of memory",
       .examples = "  dnc train project.json --out model.h5\n"
                   "  dnc train project.json --out model.h5 --memory 32MiB\n"
                   "  dnc train project.json --out model.h5 --patience 3 --restore-best\n"
                   "  dnc train project.json --out model.h5 --log run.csv --plot run.svg\n"
                   "  dnc train project.json --out model.h5 --resume   # after a stop"},
      [options] { return Train(*options); });
  command->add_option("PROJECT", options->project, "The project file (JSON)")->required();
  command
      ->add_option("--out", options->out,
                   "The trained model: .h5, .keras, .safetensors, .npz or .onnx")
      ->required();
  command
      ->add_option("--memory", options->memory,
                   "For the data on their way; the window of the shuffle follows from it")
      ->capture_default_str();
  command->add_option("--threads", options->threads, "All cores by default")
      ->check(CLI::Range(1, 256));
  AddDeviceOption(command, &options->device);
  command
      ->add_option("--checkpoint-seconds", options->checkpoint_seconds,
                   "Time between checkpoints (OUT.checkpoint)")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 86400.0));
  command->add_option("--checkpoint-steps", options->checkpoint_steps,
                      "Also a checkpoint after this many optimizer steps");
  command->add_option("--monitor", options->monitor,
                      "What tells the best epoch: loss, accuracy, val_loss, val_accuracy "
                      "[val_loss, or loss without validation]");
  command
      ->add_option("--patience", options->patience,
                   "Stop early, after this many epochs without a better one")
      ->check(CLI::Range(0, 100'000));
  command->add_option("--min-delta", options->min_delta, "By how much better an epoch must be")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--class-weight", options->class_weight,
                      "How much samples count by their class: balanced, or a list such as "
                      "0=0.5,shirt=2");
  command->add_option("--sample-weight", options->sample_weight,
                      "A column of the dataset that says how much each sample counts");
  command->add_option("--best", options->best, "Keep the best epoch's model in this file");
  command->add_flag("--restore-best", options->restore_best,
                    "The trained model is that of the best epoch, not of the last");
  command->add_option("--log", options->log, "A table of the epochs, CSV");
  command->add_option("--tensorboard", options->tensorboard,
                      "A folder for TensorBoard's event files");
  command->add_option("--plot", options->plot, "The curves as a picture, SVG");
  command->add_flag("--resume", options->resume, "Go on from the checkpoint, if there is one");
  command->add_flag("--restart", options->restart, "Begin anew though there is a checkpoint");
  command->add_flag("--json", options->json, "Print JSON");
  AddStoreOptions(command, &options->store);
}

}  // namespace dnc::cli
