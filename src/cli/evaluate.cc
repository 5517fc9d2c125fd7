#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/human.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/progress.h"
#include "cli/store_options.h"
#include "cli/values.h"
#include "divide/dataset.h"
#include "model/h5.h"
#include "trainer/process_trainer.h"
#include "training/local_training.h"

namespace dnc::cli {
namespace {

struct EvaluateOptions {
  std::string model;
  std::string data;
  std::string split = "test";
  std::string memory = "64MiB";
  store::StoreOptions store;
  std::uint32_t batch_size = 64;
  int threads = 0;
  bool json = false;
};

Status Evaluate(const EvaluateOptions& options) {
  DNC_ASSIGN(const model::TrainedModel trained, model::LoadH5(options.model));
  if (!trained.model.has_compile) {
    return Error{ErrorCode::kInvalidArgument,
                 options.model + " has no training_config; evaluation needs its loss"};
  }
  DNC_ASSIGN(const divide::Dataset dataset, divide::OpenDataset(options.data, options.store));
  training::LocalTrainingOptions training_options;
  training_options.batch_size = options.batch_size;
  training_options.threads = options.threads > 0 ? options.threads : AvailableCores();
  DNC_ASSIGN(training_options.memory_bytes, ByteOption("--memory", options.memory));
  DNC_ASSIGN(const auto trainer,
             trainer::ProcessTrainer::Start({.threads = training_options.threads}));
  Progress progress(options.json);
  const shard::SplitInfo* split = dataset.manifest.FindSplit(options.split);
  const std::uint64_t total = split == nullptr ? 0 : split->samples;
  DNC_ASSIGN(const trainer::Totals totals,
             training::EvaluateSplit(
                 trained.model, trained.weights, dataset.manifest, options.split, *dataset.store,
                 trainer.get(), training_options, [&](std::uint64_t done) {
                   if (progress.Due()) {
                     progress.Show(RateText(done, total, "samples", progress.elapsed()));
                   }
                   return !Interrupted();
                 }));
  if (options.json) {
    PrintJson({{"split", options.split},
               {"samples", totals.samples},
               {"loss", totals.loss()},
               {"accuracy", totals.accuracy()},
               {"seconds", progress.elapsed().seconds()}});
  } else {
    std::printf("%s: %s samples, loss %.4f, accuracy %.4f\n", options.split.c_str(),
                FormatCount(totals.samples).c_str(), totals.loss(), totals.accuracy());
  }
  return {};
}

}  // namespace

void AddEvaluate(Registry* registry) {
  const auto options = std::make_shared<EvaluateOptions>();
  CLI::App* command =
      AddCommand(registry,
                 {.name = "evaluate",
                  .description = "Loss and accuracy of a trained model on a split of a dataset",
                  .examples = "  dnc evaluate model.h5 --data ./shards --split validation\n"
                              "  dnc evaluate model.h5 --data ./test/manifest.json --json"},
                 [options] { return Evaluate(*options); });
  command->add_option("MODEL", options->model, "A Keras .h5 with its compile section")->required();
  command->add_option("--data", options->data, "A dataset: a folder, a manifest, or a URL")
      ->required();
  command->add_option("--split", options->split, "Which split")->capture_default_str();
  command->add_option("--memory", options->memory, "For the data on their way")
      ->capture_default_str();
  command->add_option("--batch-size", options->batch_size, "Samples a batch")
      ->capture_default_str()
      ->check(CLI::Range(1, 65536));
  command->add_option("--threads", options->threads, "All cores by default")
      ->check(CLI::Range(1, 256));
  command->add_flag("--json", options->json, "Print JSON");
  AddStoreOptions(command, &options->store);
}

}  // namespace dnc::cli
