#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>

#include "base/human.h"
#include "cli/command.h"
#include "cli/inspect_model.h"
#include "cli/json_output.h"
#include "cli/store_options.h"
#include "divide/dataset.h"
#include "divide/survey.h"

namespace dnc::cli {
namespace {

struct InspectOptions {
  std::string location;
  store::StoreOptions store;
  bool json = false;
  bool manifest_only = false;
};

std::uint64_t StoredBytes(const shard::Manifest& manifest) {
  std::uint64_t bytes = 0;
  for (const shard::ShardInfo& info : manifest.shards) bytes += info.bytes;
  return bytes;
}

std::uint64_t SampleCount(const shard::Manifest& manifest) {
  std::uint64_t samples = 0;
  for (const shard::SplitInfo& split : manifest.splits) samples += split.samples;
  return samples;
}

// As far as the survey saw, for all; without one, of columns of arrays.
std::uint64_t RawBytes(const shard::Manifest& manifest,
                       const std::optional<divide::StorageSurvey>& survey) {
  if (!survey || array::AllArrays(manifest.columns)) {
    return SampleCount(manifest) * array::SampleBytes(manifest.columns);
  }
  double raw = 0;
  double stored = 0;
  for (const divide::ColumnSurvey& column : survey->columns) {
    raw += static_cast<double>(column.raw_bytes);
    stored += static_cast<double>(column.stored_bytes);
  }
  return stored == 0 ? 0
                     : static_cast<std::uint64_t>(raw / stored *
                                                  static_cast<double>(StoredBytes(manifest)));
}

double Ratio(std::uint64_t stored, std::uint64_t raw) {
  return raw == 0 ? 1 : static_cast<double>(stored) / static_cast<double>(raw);
}

nlohmann::json StatisticsJson(const shard::ColumnStatistics& statistics) {
  nlohmann::json json = {{"count", statistics.count},
                         {"mean", statistics.mean},
                         {"standard_deviation", statistics.standard_deviation},
                         {"min", statistics.min},
                         {"max", statistics.max}};
  for (const auto& [label, count] : statistics.class_counts) {
    json["class_counts"][std::to_string(label)] = count;
  }
  return json;
}

nlohmann::json ColumnJson(const array::ColumnSpec& column, const divide::ColumnSurvey* survey) {
  nlohmann::json json = {{"name", column.name},
                         {"kind", array::ColumnKindName(column.kind)},
                         {"dtype", array::DTypeName(column.dtype)},
                         {"shape", column.shape},
                         {"class_names", column.class_names}};
  if (survey != nullptr) {
    json["methods"] = survey->methods;
    json["ratio"] = Ratio(survey->stored_bytes, survey->raw_bytes);
    json["decoded_bytes_per_second"] = survey->decoded_bytes_per_second;
  }
  return json;
}

void PrintManifestJson(const shard::Manifest& manifest,
                       const std::optional<divide::StorageSurvey>& survey) {
  const std::uint64_t raw = RawBytes(manifest, survey);
  nlohmann::json json = {{"name", manifest.name},
                         {"description", manifest.description},
                         {"samples", SampleCount(manifest)},
                         {"raw_bytes", raw},
                         {"stored_bytes", StoredBytes(manifest)},
                         {"ratio", Ratio(StoredBytes(manifest), raw)},
                         {"parameters", manifest.parameters}};
  for (std::size_t c = 0; c < manifest.columns.size(); ++c) {
    json["columns"].push_back(
        ColumnJson(manifest.columns[c], survey ? &survey->columns[c] : nullptr));
  }
  for (const shard::FeatureStep& step : manifest.steps) {
    json["steps"].push_back({{"name", step.name},
                             {"column", step.column},
                             {"numbers", step.numbers},
                             {"texts", step.texts}});
  }
  for (const shard::SplitInfo& split : manifest.splits) {
    nlohmann::json statistics = nlohmann::json::object();
    for (std::size_t i = 0; i < split.statistics.size(); ++i) {
      statistics[manifest.columns[i].name] = StatisticsJson(split.statistics[i]);
    }
    json["splits"].push_back(
        {{"name", split.name}, {"samples", split.samples}, {"statistics", statistics}});
  }
  for (const shard::ShardInfo& info : manifest.shards) {
    json["shards"].push_back({{"cid", info.cid},
                              {"split", info.split},
                              {"bytes", info.bytes},
                              {"samples", info.samples},
                              {"block_samples", info.block_samples}});
  }
  PrintJson(json);
}

// "delta, zstd; ratio 0.412, decoded at 512 MB/s".
std::string StorageText(const divide::ColumnSurvey& survey) {
  const auto most =
      std::max_element(survey.methods.begin(), survey.methods.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most == survey.methods.end()) return "";
  char text[96];
  std::snprintf(text, sizeof text, "; ratio %.3f", Ratio(survey.stored_bytes, survey.raw_bytes));
  std::string speed;
  if (survey.decoded_bytes_per_second > 0) {
    speed = ", decoded at " +
            FormatCount(static_cast<std::uint64_t>(survey.decoded_bytes_per_second / 1e6)) +
            " MB/s";
  }
  return most->first + (survey.methods.size() > 1 ? " and others" : "") + text + speed;
}

void PrintColumns(const shard::Manifest& manifest,
                  const std::optional<divide::StorageSurvey>& survey) {
  std::printf("columns\n");
  for (std::size_t c = 0; c < manifest.columns.size(); ++c) {
    const array::ColumnSpec& column = manifest.columns[c];
    std::printf("  %-12s %s", column.name.c_str(), array::ColumnTypeText(column).c_str());
    if (!column.class_names.empty()) {
      std::printf("  %zu classes:", column.class_names.size());
      for (std::size_t i = 0; i < column.class_names.size() && i < 12; ++i) {
        std::printf(" %s", column.class_names[i].c_str());
      }
      if (column.class_names.size() > 12) std::printf(" ...");
    }
    std::printf("\n");
    if (survey) std::printf("  %-12s %s\n", "", StorageText(survey->columns[c]).c_str());
  }
  for (const shard::FeatureStep& step : manifest.steps) {
    std::printf("step %s on %s", step.name.c_str(), step.column.c_str());
    for (const auto& [name, text] : step.texts) std::printf(", %s", text.c_str());
    std::printf("\n");
  }
}

void PrintSplit(const shard::Manifest& manifest, const shard::SplitInfo& split) {
  std::printf("split %s: %s samples\n", split.name.c_str(), FormatCount(split.samples).c_str());
  for (std::size_t i = 0; i < split.statistics.size(); ++i) {
    const shard::ColumnStatistics& statistics = split.statistics[i];
    std::printf("  %-12s mean %.6g, standard deviation %.6g, min %.6g, max %.6g\n",
                manifest.columns[i].name.c_str(), statistics.mean, statistics.standard_deviation,
                statistics.min, statistics.max);
    if (statistics.class_counts.empty()) continue;
    std::printf("  %-12s", "");
    std::size_t shown = 0;
    for (const auto& [label, count] : statistics.class_counts) {
      if (shown++ == 16) {
        std::printf(" ...");
        break;
      }
      std::printf(" %lld: %s", static_cast<long long>(label), FormatCount(count).c_str());
    }
    std::printf("\n");
  }
}

void PrintText(const shard::Manifest& manifest,
               const std::optional<divide::StorageSurvey>& survey) {
  const std::uint64_t raw = RawBytes(manifest, survey);
  std::printf("%s: %s samples, %s raw, %s in %zu shards (ratio %.3f)\n", manifest.name.c_str(),
              FormatCount(SampleCount(manifest)).c_str(), FormatByteCount(raw).c_str(),
              FormatByteCount(StoredBytes(manifest)).c_str(), manifest.shards.size(),
              Ratio(StoredBytes(manifest), raw));
  if (!manifest.description.empty()) std::printf("%s\n", manifest.description.c_str());
  PrintColumns(manifest, survey);
  for (const shard::SplitInfo& split : manifest.splits) PrintSplit(manifest, split);
  std::printf("shards\n");
  for (const shard::ShardInfo& info : manifest.shards) {
    std::printf("  %s  %-10s %10s  %s samples\n", info.cid.c_str(), info.split.c_str(),
                FormatByteCount(info.bytes).c_str(), FormatCount(info.samples).c_str());
  }
}

Status Inspect(const InspectOptions& options) {
  if (IsModelFile(options.location)) return InspectModel(options.location, options.json);
  DNC_ASSIGN(const divide::Dataset dataset, divide::OpenDataset(options.location, options.store));
  std::optional<divide::StorageSurvey> survey;
  if (!options.manifest_only) {
    DNC_ASSIGN(survey, divide::SurveyStorage(dataset.manifest, *dataset.store));
  }
  if (options.json) {
    PrintManifestJson(dataset.manifest, survey);
  } else {
    PrintText(dataset.manifest, survey);
  }
  return {};
}

}  // namespace

void AddInspect(Registry* registry) {
  const auto options = std::make_shared<InspectOptions>();
  CLI::App* command = AddCommand(
      registry,
      {.name = "inspect",
       .description = "Show what a dataset holds: columns, how they are stored and how fast they\n"
                      "are decoded, splits, statistics, shards; or a model's layers, shapes,\n"
                      "parameters and FLOPs",
       .examples = "  dnc inspect ./shards\n"
                   "  dnc inspect ./shards/manifest.json --json\n"
                   "  dnc inspect model.h5"},
      [options] { return Inspect(*options); });
  command
      ->add_option("LOCATION", options->location,
                   "A dataset: a folder, a manifest, or a URL; or a model: .h5, .keras or .json")
      ->required();
  command->add_flag("--manifest-only", options->manifest_only,
                    "Read no shard, so say nothing of filters, codecs and speed");
  command->add_flag("--json", options->json, "Print JSON");
  AddStoreOptions(command, &options->store);
}

}  // namespace dnc::cli
