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
#include "cli/store_options.h"
#include "cli/values.h"
#include "divide/dataset.h"
#include "divide/prepare_source.h"
#include "divide/split.h"
#include "store/open_store.h"

namespace dnc::cli {
namespace {

struct DivideCommandOptions {
  std::string source;
  std::string to;
  SourceArguments how;
  store::StoreOptions store;
  std::string name;
  std::string description;
  std::string shard_bytes = "16MiB";
  std::string split = "train=1";
  std::string compression = "balanced";
  std::string features;
  std::string part;
  std::uint64_t batches = 0;
  std::uint64_t seed = 0;
  int threads = 0;
  bool smallest = false;
  bool raw = false;
  bool standardise = false;
  bool read_back = false;
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

void ShowReport(const divide::DivideReport& report, const std::string& manifest,
                const DivideCommandOptions& options) {
  const double ratio = report.totals.bytes_in == 0
                           ? 1
                           : static_cast<double>(report.totals.bytes_out) /
                                 static_cast<double>(report.totals.bytes_in);
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

// What the options say of the dividing, but for what the source adds.
Result<divide::DivideOptions> ReadDivideOptions(const DivideCommandOptions& options) {
  divide::DivideOptions divide;
  divide.name = options.name.empty() ? DefaultName(options.source) : options.name;
  divide.description = options.description;
  DNC_ASSIGN(divide.shard_bytes, ByteOption("--shard-bytes", options.shard_bytes));
  DNC_ASSIGN(divide.splits, divide::ParseSplits(options.split));
  divide.batches = options.batches;
  divide.seed = options.seed;
  divide.threads = options.threads > 0 ? options.threads : AvailableCores();
  divide.compression = options.smallest
                           ? shard::Compression::kSmallest
                           : shard::CompressionFromName(options.compression)
                                 .value_or(shard::Compression::kBalanced);  // Checked by CLI11.
  if (divide.compression == shard::Compression::kSmallest) divide.zstd_level = 19;
  divide.overwrite = options.overwrite;
  // What leaves this machine is read back before the next shard is made.
  divide.read_back = options.read_back || divide::IsRemote(options.to);
  divide.command = "dnc divide " + ShownSource(options.source);
  divide.parameters = {{"source", ShownSource(options.source)}, {"split", options.split}};
  if (!options.how.resize.empty()) divide.parameters["resize"] = options.how.resize;
  if (!options.how.crop.empty()) divide.parameters["crop"] = options.how.crop;
  if (options.how.grayscale) divide.parameters["grayscale"] = "true";
  return divide;
}

Result<divide::PrepareOptions> ReadPrepareOptions(const DivideCommandOptions& options,
                                                  int threads) {
  divide::PrepareOptions prepare;
  prepare.location = options.source;
  prepare.raw = options.raw;
  prepare.standardise = options.standardise;
  if (!options.part.empty()) {
    DNC_ASSIGN(const divide::Part part, divide::ParsePart(options.part));
    prepare.part = part;
  }
  if (!options.features.empty()) {
    constexpr std::string_view kHog = "hog";
    const std::string text = options.features;
    if (!text.starts_with(kHog) || (text.size() > kHog.size() && text[kHog.size()] != ':')) {
      return Error{ErrorCode::kInvalidArgument,
                   "--features: \"" + text +
                       "\" is not known; expected hog, or hog:orientations=9,pixels_per_cell=8x8,"
                       "cells_per_block=3x3,block_norm=L2-Hys"};
    }
    DNC_ASSIGN(prepare.hog, image::ParseHogOptions(
                                text.size() > kHog.size() ? text.substr(kHog.size() + 1) : ""));
  }
  DNC_TRY(ReadSourceArguments(options.how, &prepare.source));
  prepare.source.seed = options.seed;
  prepare.source.threads = threads;
  return prepare;
}

std::string EstimateText(const divide::Estimate& estimate) {
  if (!estimate.samples) return "ratio " + std::to_string(estimate.ratio).substr(0, 5);
  const char* about = estimate.exact ? "" : "about ";
  std::string text = about + FormatCount(*estimate.samples) + " samples, " + about +
                     FormatByteCount(*estimate.raw_bytes) + " -> " +
                     FormatByteCount(*estimate.stored_bytes) + " in " +
                     FormatCount(*estimate.shards) + " shards";
  if (estimate.duration) text += ", " + FormatDuration(*estimate.duration);
  return text;
}

// What was found, and what it will give.
Status ShowFound(const std::string& shown_source, divide::PeekSource* source,
                 const divide::DivideOptions& options, Progress* progress) {
  progress->Print(shown_source + ": " + source->Describe());
  for (const array::ColumnSpec& column : source->columns()) {
    progress->Print("  " + column.name + ": " + array::ColumnTypeText(column) +
                    (column.class_names.empty()
                         ? ""
                         : ", " + FormatCount(column.class_names.size()) + " classes"));
  }
  DNC_ASSIGN(const divide::Estimate estimate, divide::EstimateDividing(source, options));
  progress->Print("  " + EstimateText(estimate));
  return {};
}

Status DivideSource(const DivideCommandOptions& options) {
  DNC_ASSIGN(divide::DivideOptions divide_options, ReadDivideOptions(options));
  DNC_ASSIGN(divide::PrepareOptions prepare, ReadPrepareOptions(options, divide_options.threads));
  Progress progress(options.json);
  const std::string shown_source = source::ShownLocation(options.source);
  prepare.source.survey_progress = [&](const source::SourceBytes& bytes) {
    if (progress.Due()) {
      progress.Show("looking through " + shown_source + ": " + FormatByteCount(bytes.done) +
                    (bytes.total ? " of " + FormatByteCount(*bytes.total) : ""));
    }
    return !Interrupted();
  };
  prepare.progress = [&](std::uint64_t samples) {
    if (progress.Due()) {
      progress.Show("reading " + shown_source + " before it is divided: " + FormatCount(samples) +
                    " samples");
    }
    return !Interrupted();
  };
  DNC_ASSIGN(const auto source, divide::PrepareSource(prepare, &divide_options));
  DNC_TRY(ShowFound(shown_source, source.get(), divide_options, &progress));

  const bool had_folder = divide::IsRemote(options.to) || std::filesystem::exists(options.to);
  store::StoreOptions store_options = options.store;
  store_options.create = true;
  DNC_ASSIGN(auto store, store::OpenStore(options.to, store_options));
  std::uint64_t kept = 0;
  const auto report = divide::Divide(
      source.get(), store.get(), divide_options, [&](const divide::DivideProgress& done) {
        if (done.shards_kept != kept) {
          kept = done.shards_kept;
          progress.Print("going on after " + FormatCount(kept) + " finished shards");
        }
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
  DNC_ASSIGN(const std::string elsewhere, store->PublicLocation());
  const std::string place = elsewhere.empty() ? options.to : elsewhere;
  ShowReport(*report, place + "/" + divide_options.manifest_key, options);
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
           "  dnc divide photos/ --resize 64x64 --features hog --to ./shards\n"
           "  dnc divide x.npy --to s3://bucket/x --compression smallest\n"
           "  dnc divide ./anything --raw --to ./shards\n"
           "  dnc divide x.npy --part 2/8 --to ./shards"},
      [options] { return DivideSource(*options); });
  command
      ->add_option("SOURCE", options->source,
                   "A file (npy, npz, idx, csv, tsv; also .gz and .zst), a folder of images, or - "
                   "for standard input")
      ->required();
  command
      ->add_option("--to", options->to,
                   "Where shards and manifest.json go: a folder, s3://bucket/prefix, ipfs://NAME")
      ->required();
  command->add_option("--name", options->name, "Name of the dataset; the source's by default");
  command->add_option("--description", options->description, "What it is, in a sentence");
  CLI::Option* bytes = command->add_option("--shard-bytes", options->shard_bytes, "Size of a shard")
                           ->capture_default_str();
  command
      ->add_option("--batches", options->batches,
                   "So many shards of equal numbers of samples in each split, instead")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 22))
      ->excludes(bytes);
  command->add_option("--split", options->split, "Names and fractions of the splits")
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Of the splits and of the order of a folder")
      ->capture_default_str();
  CLI::Option* compression =
      command
          ->add_option("--compression", options->compression,
                       "balanced (small, and decoded at 250 MB/s or more), smallest, fast (LZ4), "
                       "or none")
          ->check(CLI::IsMember({"balanced", "smallest", "fast", "none"}))
          ->capture_default_str();
  command->add_flag("--smallest", options->smallest, "The same as --compression smallest")
      ->excludes(compression);
  command
      ->add_option("--features", options->features,
                   "hog: histograms of oriented gradients of images, as hog:NAME=VALUE,...")
      ->type_name("TEXT");
  command->add_flag("--standardise", options->standardise,
                    "Features with mean 0 and deviation 1 over the first split, as float32");
  command->add_flag("--raw", options->raw,
                    "Any file or folder as bytes, which dnc fetch brings back");
  command
      ->add_option("--part", options->part,
                   "i/n: only the i-th of n parts of the source; dnc merge joins them")
      ->type_name("I/N");
  command->add_flag("--read-back", options->read_back,
                    "Read every shard back and compare; always, where it goes to a URL");
  command->add_option("--threads", options->threads, "All cores by default")
      ->check(CLI::Range(1, 256));
  command->add_flag("--overwrite", options->overwrite, "Replace the dataset that is there");
  command->add_flag("--json", options->json, "Print JSON");
  AddSourceOptions(command, &options->how);
  AddStoreOptions(command, &options->store);
}

}  // namespace dnc::cli
