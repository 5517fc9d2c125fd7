#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <utility>

#include "base/file.h"
#include "base/human.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/progress.h"
#include "cli/project_inputs.h"
#include "cli/store_options.h"
#include "cli/values.h"
#include "model/h5.h"
#include "trainer/process_trainer.h"
#include "training/local_training.h"

namespace dnc::cli {
namespace {

struct TrainCommandOptions {
  std::string project;
  store::StoreOptions store;
  std::string out;
  std::string memory = "64MiB";
  double checkpoint_seconds = 30;
  int threads = 0;
  bool resume = false;
  bool restart = false;
  bool json = false;
};

std::string TotalsText(const trainer::Totals& totals, bool accuracy) {
  char text[64];
  if (accuracy) {
    std::snprintf(text, sizeof text, "loss %.4f, accuracy %.4f", totals.loss(), totals.accuracy());
  } else {
    std::snprintf(text, sizeof text, "loss %.4f", totals.loss());
  }
  return text;
}

class Observer final : public training::LocalTrainingObserver {
 public:
  Observer(Progress* progress, bool accuracy) : progress_(progress), accuracy_(accuracy) {}

  bool OnProgress(const training::LocalProgress& now) override {
    if (now.epoch != epoch_) {
      epoch_ = now.epoch;
      epoch_started_ = MonotonicNow();
      first_sample_ = now.samples_done;
    }
    if (progress_->Due()) {
      progress_->Show("epoch " + std::to_string(now.epoch) + "/" + std::to_string(now.epochs) +
                      ": " + Rate(now) + ", " + TotalsText(now.totals, accuracy_));
    }
    return !Interrupted();
  }

  void OnEpoch(const training::EpochReport& report) override {
    std::string line =
        "epoch " + std::to_string(report.epoch) + ": " + TotalsText(report.train, accuracy_);
    if (report.validation) line += "; validation " + TotalsText(*report.validation, accuracy_);
    progress_->Print(line + ", " + FormatDuration(MonotonicNow() - epoch_started_));
  }

  void OnResumed(const training::Checkpoint& checkpoint) override {
    progress_->Print("going on from a checkpoint: epoch " +
                     std::to_string(checkpoint.epochs_done + 1) + ", sample " +
                     FormatCount(checkpoint.samples_done));
  }

 private:
  // Of this process: what a checkpoint brought along took no time here.
  std::string Rate(const training::LocalProgress& now) const {
    return RateText(now.samples_done - first_sample_, now.samples_total - first_sample_, "samples",
                    MonotonicNow() - epoch_started_);
  }

  Progress* progress_;
  bool accuracy_;
  std::uint32_t epoch_ = 0;
  std::uint64_t first_sample_ = 0;
  Instant epoch_started_;
};

nlohmann::json TotalsJson(const trainer::Totals& totals) {
  return {{"samples", totals.samples}, {"loss", totals.loss()}, {"accuracy", totals.accuracy()}};
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
  result.resume = options.resume;
  if (!options.resume && !options.restart && PathExists(result.checkpoint_path)) {
    return Error{ErrorCode::kAlreadyExists,
                 result.checkpoint_path +
                     " is left from an earlier run; pass --resume to go on from it, or --restart "
                     "to begin anew"};
  }
  return result;
}

Status Train(const TrainCommandOptions& options) {
  DNC_ASSIGN(const ProjectInputs inputs, LoadProjectInputs(options.project, options.store));
  DNC_ASSIGN(const training::LocalTrainingOptions training_options, MakeOptions(options, inputs));
  DNC_ASSIGN(const auto trainer,
             trainer::ProcessTrainer::Start({.threads = training_options.threads}));
  Progress progress(options.json);
  progress.Print(
      inputs.file.name + ": " + FormatCount(inputs.model.weight_count) + " weights, " +
      FormatCount(inputs.dataset.manifest.FindSplit(training_options.train_split)->samples) +
      " samples, " + std::to_string(training_options.epochs) + " epochs, " +
      std::to_string(training_options.threads) + " threads");
  const bool accuracy = inputs.model.compile.accuracy;
  Observer observer(&progress, accuracy);
  DNC_ASSIGN(training::LocalTrainingOutcome outcome,
             training::TrainLocally(inputs.model, inputs.dataset.manifest, *inputs.dataset.store,
                                    trainer.get(), training_options, &observer));
  DNC_TRY(
      model::SaveH5({.model = inputs.model, .weights = std::move(outcome.weights)}, options.out));
  std::error_code ignored;
  std::filesystem::remove(training_options.checkpoint_path, ignored);

  const double seconds = progress.elapsed().seconds();
  if (options.json) {
    nlohmann::json epochs = nlohmann::json::array();
    for (const training::EpochReport& report : outcome.history) {
      nlohmann::json row = {{"epoch", report.epoch}, {"train", TotalsJson(report.train)}};
      if (report.validation) row["validation"] = TotalsJson(*report.validation);
      epochs.push_back(row);
    }
    PrintJson({{"model", options.out},
               {"epochs", epochs},
               {"samples", outcome.samples},
               {"seconds", seconds},
               {"waited_seconds", outcome.waited.seconds()},
               {"loader_memory_peak_bytes", outcome.loader_memory_peak_bytes}});
  } else {
    std::printf("%s: %s samples in %s, waited %s for data, loader held at most %s\n",
                options.out.c_str(), FormatCount(outcome.samples).c_str(),
                FormatDuration(progress.elapsed()).c_str(), FormatDuration(outcome.waited).c_str(),
                FormatByteCount(outcome.loader_memory_peak_bytes).c_str());
  }
  return {};
}

}  // namespace

void AddTrain(Registry* registry) {
  const auto options = std::make_shared<TrainCommandOptions>();
  CLI::App* command =
      AddCommand(registry,
                 {.name = "train",
                  .description = "Train a project on this machine, in a fixed amount of memory",
                  .examples = "  dnc train project.json --out model.h5\n"
                              "  dnc train project.json --out model.h5 --memory 32MiB\n"
                              "  dnc train project.json --out model.h5 --resume   # after a stop"},
                 [options] { return Train(*options); });
  command->add_option("PROJECT", options->project, "The project file (JSON)")->required();
  command->add_option("--out", options->out, "The trained model, a Keras .h5")->required();
  command
      ->add_option("--memory", options->memory,
                   "For the data on their way; the window of the shuffle follows from it")
      ->capture_default_str();
  command->add_option("--threads", options->threads, "All cores by default")
      ->check(CLI::Range(1, 256));
  command
      ->add_option("--checkpoint-seconds", options->checkpoint_seconds,
                   "Time between checkpoints (OUT.checkpoint)")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 86400.0));
  command->add_flag("--resume", options->resume, "Go on from the checkpoint, if there is one");
  command->add_flag("--restart", options->restart, "Begin anew though there is a checkpoint");
  command->add_flag("--json", options->json, "Print JSON");
  AddStoreOptions(command, &options->store);
}

}  // namespace dnc::cli
