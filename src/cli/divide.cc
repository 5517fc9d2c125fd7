#include "divide/divide.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "base/human.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/progress.h"
#include "cli/source_options.h"
#include "cli/values.h"
#include "divide/split.h"
#include "source/sample_source.h"
#include "store/object_store.h"

namespace dnc::cli {
namespace {

struct DivideCommandOptions {
  std::string source;
  std::string to;
  SourceArguments how;
  std::string name;
  std::string description;
  std::string shard_bytes = "16MiB";
  std::string split = "train=1";
  std::uint64_t seed = 0;
  int threads = 0;
  bool overwrite = false;
  bool json = false;
};

std::string DefaultName(const std::string& source) {
  // The database of a URL, without its query.
  const std::string place =
      source.find("://") == std::string::npos ? source : source.substr(0, source.find('?'));
  const std::filesystem::path path = std::filesystem::path(place).lexically_normal();
  std::string stem = (path.has_filename() ? path.filename() : path.parent_path().filename());
  stem = stem.substr(0, stem.find('.', 1));
  return stem.empty() || stem == "." ? "dataset" : stem;
}

// For the manifest: a file by its name alone, a URL without its password.
std::string ShownSource(const std::string& source) {
  if (source.find("://") != std::string::npos) return source::ShownLocation(source);
  return std::filesystem::path(source).filename();
}

void ShowSkipped(const std::vector<source::SkippedInput>& skipped) {
  if (skipped.empty()) return;
  std::fprintf(stderr, "left out %zu bad inputs:\n", skipped.size());
  for (const source::SkippedInput& input : skipped) {
    std::fprintf(stderr, "  %s: %s\n", input.name.c_str(), input.reason.c_str());
  }
}

void ShowReport(const divide::DivideReport& report, const DivideCommandOptions& options) {
  const double ratio = report.totals.bytes_in == 0
                           ? 1
                           : static_cast<double>(report.totals.bytes_out) /
                                 static_cast<double>(report.totals.bytes_in);
  const std::string manifest = options.to + "/" + divide::kManifestKey;
  if (options.json) {
    nlohmann::json json = {{"manifest", manifest},
                           {"samples", report.totals.samples_done},
                           {"raw_bytes", report.totals.bytes_in},
                           {"stored_bytes", report.totals.bytes_out},
                           {"shards", report.manifest.shards.size()},
                           {"seconds", report.elapsed.seconds()},
                           {"skipped", nlohmann::json::array()}};
    for (const source::SkippedInput& input : report.skipped) {
      json["skipped"].push_back({{"name", input.name}, {"reason", input.reason}});
    }
    PrintJson(json);
    return;
  }
  std::printf("%s samples, %s -> %s (ratio %.3f), shards: %zu, %s\n",
              FormatCount(report.totals.samples_done).c_str(),
              FormatByteCount(report.totals.bytes_in).c_str(),
              FormatByteCount(report.totals.bytes_out).c_str(), ratio,
              report.manifest.shards.size(), FormatDuration(report.elapsed).c_str());
  for (const shard::SplitInfo& split : report.manifest.splits) {
    std::printf("  %s: %s samples\n", split.name.c_str(), FormatCount(split.samples).c_str());
  }
  std::printf("%s\n", manifest.c_str());
}

Status DivideSource(const DivideCommandOptions& options) {
  const int threads = options.threads > 0 ? options.threads : AvailableCores();
  divide::DivideOptions divide_options;
  divide_options.name = options.name.empty() ? DefaultName(options.source) : options.name;
  divide_options.description = options.description;
  DNC_ASSIGN(divide_options.shard_bytes, ByteOption("--shard-bytes", options.shard_bytes));
  DNC_ASSIGN(divide_options.splits, divide::ParseSplits(options.split));
  divide_options.seed = options.seed;
  divide_options.threads = threads;
  divide_options.overwrite = options.overwrite;
  divide_options.parameters = {{"source", ShownSource(options.source)}, {"split", options.split}};
  source::SourceOptions source_options;
  DNC_TRY(ReadSourceArguments(options.how, &source_options));
  source_options.seed = options.seed;
  source_options.threads = threads;
  if (!options.how.resize.empty()) divide_options.parameters["resize"] = options.how.resize;
  if (!options.how.crop.empty()) divide_options.parameters["crop"] = options.how.crop;
  if (options.how.grayscale) divide_options.parameters["grayscale"] = "true";

  Progress progress(options.json);
  const std::string shown_source = source::ShownLocation(options.source);
  source_options.survey_progress = [&](const source::SourceBytes& bytes) {
    if (progress.Due()) {
      progress.Show("looking through " + shown_source + ": " + FormatByteCount(bytes.done) +
                    (bytes.total ? " of " + FormatByteCount(*bytes.total) : ""));
    }
    return !Interrupted();
  };
  DNC_ASSIGN(const auto source, source::OpenSource(options.source, source_options));
  progress.Print(shown_source + ": " + source->Describe());
  const bool had_folder = std::filesystem::exists(options.to);
  DNC_ASSIGN(auto store, store::OpenDirectoryStore(options.to));
  const auto report = divide::Divide(
      source.get(), store.get(), divide_options, [&](const divide::DivideProgress& done) {
        if (progress.Due()) {
          progress.Show(RateText(done.samples_done, done.samples_total.value_or(0), "samples",
                                 progress.elapsed()) +
                        ", " + FormatByteCount(done.bytes_in) + " -> " +
                        FormatByteCount(done.bytes_out));
        }
        return !Interrupted();
      });
  if (!report.ok()) {
    ShowSkipped(source->skipped());
    store.reset();
    // An empty folder that this run made is half-written too.
    std::error_code ignored;
    if (!had_folder) std::filesystem::remove(options.to, ignored);
    return report.error();
  }
  ShowSkipped(report->skipped);
  ShowReport(*report, options);
  return {};
}

}  // namespace

void AddDivide(Registry* registry) {
  const auto options = std::make_shared<DivideCommandOptions>();
  CLI::App* command = AddCommand(
      registry,
      {.name = "divide",
       .description = "Divide a dataset into small, compressed, verifiable shards",
       .examples =
           "  dnc divide x.npy --labels y.npy --to ./shards\n"
           "  dnc divide train-images-idx3-ubyte.gz --labels train-labels-idx1-ubyte.gz \\\n"
           "      --to ./shards --split train=0.9,validation=0.1\n"
           "  dnc divide table.csv --label-column Outcome --to ./shards\n"
           "  dnc divide photos/ --skip-bad --to ./shards\n"
           "  dnc divide photos/ --resize 198x198 --to ./shards"},
      [options] { return DivideSource(*options); });
  command
      ->add_option("SOURCE", options->source,
                   "A file (npy, npz, idx, csv, tsv; also .gz and .zst), a folder of images, or - "
                   "for standard input")
      ->required();
  command->add_option("--to", options->to, "Folder for the shards and manifest.json")->required();
  command->add_option("--name", options->name, "Name of the dataset; the source's by default");
  command->add_option("--description", options->description, "What it is, in a sentence");
  command->add_option("--shard-bytes", options->shard_bytes, "Size of a shard")
      ->capture_default_str();
  command->add_option("--split", options->split, "Names and fractions of the splits")
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Of the splits and of the order of a folder")
      ->capture_default_str();
  command->add_option("--threads", options->threads, "All cores by default")
      ->check(CLI::Range(1, 256));
  command->add_flag("--overwrite", options->overwrite, "Replace the dataset in that folder");
  command->add_flag("--json", options->json, "Print JSON");
  AddSourceOptions(command, &options->how);
}

}  // namespace dnc::cli
