#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/human.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/local_trainer.h"
#include "cli/model_figures.h"
#include "cli/progress.h"
#include "cli/store_options.h"
#include "cli/values.h"
#include "divide/dataset.h"
#include "model/model_files.h"
#include "training/local_training.h"

namespace dnc::cli {
namespace {

struct EvaluateOptions {
  std::string model;
  std::string architecture;
  std::string data;
  std::string split = "test";
  std::string memory = "64MiB";
  store::StoreOptions store;
  std::uint32_t batch_size = 64;
  int threads = 0;
  std::string device = "auto";
  bool json = false;
};

// The name of a class, or its number.
std::string ClassName(const std::vector<std::string>& names, std::size_t index) {
  return index < names.size() ? names[index] : std::to_string(index);
}

nlohmann::json ConfusionJson(const training::ConfusionMatrix& confusion,
                             const std::vector<std::string>& names) {
  nlohmann::json classes = nlohmann::json::array();
  nlohmann::json rows = nlohmann::json::array();
  for (std::size_t i = 0; i < confusion.class_count(); ++i) {
    const auto figures = confusion.Figures(i);
    classes.push_back({{"class", ClassName(names, i)},
                       {"samples", figures.samples},
                       {"precision", figures.precision},
                       {"recall", figures.recall},
                       {"f1", figures.f1}});
    nlohmann::json row = nlohmann::json::array();
    for (std::size_t k = 0; k < confusion.class_count(); ++k) row.push_back(confusion.count(i, k));
    rows.push_back(row);
  }
  return {{"classes", classes}, {"matrix", rows}};
}

// More classes than this are too wide a matrix for a terminal.
constexpr std::size_t kMatrixClassesMax = 20;

void PrintConfusion(const training::ConfusionMatrix& confusion,
                    const std::vector<std::string>& names) {
  const std::size_t count = confusion.class_count();
  int width = 5;
  for (std::size_t i = 0; i < count; ++i) {
    width = std::max(width, static_cast<int>(ClassName(names, i).size()));
  }
  std::printf("%-*s  precision  recall      f1   samples\n", width, "class");
  for (std::size_t i = 0; i < count; ++i) {
    const auto figures = confusion.Figures(i);
    std::printf("%-*s     %6.4f  %6.4f  %6.4f  %8s\n", width, ClassName(names, i).c_str(),
                figures.precision, figures.recall, figures.f1,
                FormatCount(figures.samples).c_str());
  }
  if (count > kMatrixClassesMax) {
    std::printf("(%zu classes: the matrix is in --json)\n", count);
    return;
  }
  std::uint64_t largest = 0;
  for (std::size_t i = 0; i < count * count; ++i) {
    largest = std::max(largest, confusion.count(i / count, i % count));
  }
  const int column = std::max<int>(4, static_cast<int>(std::to_string(largest).size()) + 1);
  std::printf("\n%-*s taken for the class of the same place in the column\n", width, "");
  for (std::size_t i = 0; i < count; ++i) {
    std::printf("%-*s", width, ClassName(names, i).c_str());
    for (std::size_t k = 0; k < count; ++k) {
      std::printf("%*s", column, std::to_string(confusion.count(i, k)).c_str());
    }
    std::printf("\n");
  }
  std::printf("\n");
}

Status Evaluate(const EvaluateOptions& options) {
  DNC_ASSIGN(const model::TrainedModel trained,
             model::LoadModel(options.model, {.architecture = options.architecture}));
  if (!trained.model.has_compile) {
    return Error{ErrorCode::kInvalidArgument,
                 options.model + " has no compile section; evaluation needs its loss"};
  }
  DNC_ASSIGN(const divide::Dataset dataset, divide::OpenDataset(options.data, options.store));
  training::LocalTrainingOptions training_options;
  training_options.batch_size = options.batch_size;
  training_options.threads = options.threads > 0 ? options.threads : AvailableCores();
  DNC_ASSIGN(training_options.memory_bytes, ByteOption("--memory", options.memory));
  DNC_ASSIGN(const auto trainer, StartLocalTrainer(training_options.threads, options.device));
  Progress progress(options.json);
  const shard::SplitInfo* split = dataset.manifest.FindSplit(options.split);
  const std::uint64_t total = split == nullptr ? 0 : split->samples;
  training::ConfusionMatrix confusion;
  DNC_ASSIGN(const trainer::Totals totals,
             training::EvaluateSplit(
                 trained.model, trained.weights, dataset.manifest, options.split, *dataset.store,
                 trainer.get(), training_options,
                 [&](std::uint64_t done) {
                   if (progress.Due()) {
                     progress.Show(RateText(done, total, "samples", progress.elapsed()));
                   }
                   return !Interrupted();
                 },
                 &confusion));
  DNC_ASSIGN(const std::vector<int> labels,
             model::FindLabels(trained.model, dataset.manifest.columns));
  const std::vector<std::string>& names =
      dataset.manifest.columns[static_cast<std::size_t>(labels.front())].class_names;
  const ModelFigures figures(trained.model);
  if (options.json) {
    nlohmann::json result = figures.Json(totals);
    result["split"] = options.split;
    result["seconds"] = progress.elapsed().seconds();
    if (confusion.class_count() > 0) result["confusion"] = ConfusionJson(confusion, names);
    PrintJson(result);
  } else {
    if (confusion.class_count() > 0) PrintConfusion(confusion, names);
    std::string text = figures.Text(totals);
    if (confusion.class_count() > 0 && trained.model.compile.accuracy() == nullptr) {
      char accuracy[32];
      std::snprintf(accuracy, sizeof accuracy, ", accuracy %.4f", totals.accuracy());
      text += accuracy;
    }
    std::printf("%s: %s samples, %s\n", options.split.c_str(), FormatCount(totals.samples).c_str(),
                text.c_str());
  }
  return {};
}

}  // namespace

void AddEvaluate(Registry* registry) {
  const auto options = std::make_shared<EvaluateOptions>();
  CLI::App* command = AddCommand(
      registry,
      {.name = "evaluate",
       .description = "Loss, metrics and confusion of a trained model on a split of a dataset",
       .examples = "  dnc evaluate model.h5 --data ./shards --split validation\n"
                   "  dnc evaluate model.h5 --data ./test/manifest.json --json"},
      [options] { return Evaluate(*options); });
  command
      ->add_option("MODEL", options->model,
                   "A trained model with its compile section: .h5 or .keras")
      ->required();
  command->add_option("--architecture", options->architecture,
                      "For weights alone (.safetensors, .npz, .h5): the .json, .h5 or .keras");
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
  AddDeviceOption(command, &options->device);
  command->add_flag("--json", options->json, "Print JSON");
  AddStoreOptions(command, &options->store);
}

}  // namespace dnc::cli
