#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/human.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/store_options.h"
#include "divide/dataset.h"

namespace dnc::cli {
namespace {

struct InspectOptions {
  std::string location;
  store::StoreOptions store;
  bool json = false;
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

std::uint64_t RawBytes(const shard::Manifest& manifest) {
  return SampleCount(manifest) * array::SampleBytes(manifest.columns);
}

double Ratio(const shard::Manifest& manifest) {
  const std::uint64_t raw = RawBytes(manifest);
  return raw == 0 ? 1 : static_cast<double>(StoredBytes(manifest)) / static_cast<double>(raw);
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

void PrintManifestJson(const shard::Manifest& manifest) {
  nlohmann::json json = {{"name", manifest.name},
                         {"description", manifest.description},
                         {"samples", SampleCount(manifest)},
                         {"raw_bytes", RawBytes(manifest)},
                         {"stored_bytes", StoredBytes(manifest)},
                         {"ratio", Ratio(manifest)},
                         {"parameters", manifest.parameters}};
  for (const array::ColumnSpec& column : manifest.columns) {
    json["columns"].push_back({{"name", column.name},
                               {"dtype", array::DTypeName(column.dtype)},
                               {"shape", column.shape},
                               {"class_names", column.class_names}});
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

void PrintColumns(const shard::Manifest& manifest) {
  std::printf("columns\n");
  for (const array::ColumnSpec& column : manifest.columns) {
    std::printf("  %-12s %s", column.name.c_str(), array::ColumnTypeText(column).c_str());
    if (!column.class_names.empty()) {
      std::printf("  %zu classes:", column.class_names.size());
      for (std::size_t i = 0; i < column.class_names.size() && i < 12; ++i) {
        std::printf(" %s", column.class_names[i].c_str());
      }
      if (column.class_names.size() > 12) std::printf(" ...");
    }
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

void PrintText(const shard::Manifest& manifest) {
  std::printf(
      "%s: %s samples, %s raw, %s in %zu shards (ratio %.3f)\n", manifest.name.c_str(),
      FormatCount(SampleCount(manifest)).c_str(), FormatByteCount(RawBytes(manifest)).c_str(),
      FormatByteCount(StoredBytes(manifest)).c_str(), manifest.shards.size(), Ratio(manifest));
  if (!manifest.description.empty()) std::printf("%s\n", manifest.description.c_str());
  PrintColumns(manifest);
  for (const shard::SplitInfo& split : manifest.splits) PrintSplit(manifest, split);
  std::printf("shards\n");
  for (const shard::ShardInfo& info : manifest.shards) {
    std::printf("  %s  %-10s %10s  %s samples\n", info.cid.c_str(), info.split.c_str(),
                FormatByteCount(info.bytes).c_str(), FormatCount(info.samples).c_str());
  }
}

Status Inspect(const InspectOptions& options) {
  DNC_ASSIGN(const divide::Dataset dataset, divide::OpenDataset(options.location, options.store));
  if (options.json) {
    PrintManifestJson(dataset.manifest);
  } else {
    PrintText(dataset.manifest);
  }
  return {};
}

}  // namespace

void AddInspect(Registry* registry) {
  const auto options = std::make_shared<InspectOptions>();
  CLI::App* command =
      AddCommand(registry,
                 {.name = "inspect",
                  .description = "Show what a dataset holds: columns, splits, statistics, shards",
                  .examples = "  dnc inspect ./shards\n"
                              "  dnc inspect ./shards/manifest.json --json"},
                 [options] { return Inspect(*options); });
  command->add_option("LOCATION", options->location, "A dataset: a folder, a manifest, or a URL")
      ->required();
  command->add_flag("--json", options->json, "Print JSON");
  AddStoreOptions(command, &options->store);
}

}  // namespace dnc::cli
