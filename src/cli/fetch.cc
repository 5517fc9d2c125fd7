#include "divide/fetch.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/human.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/progress.h"
#include "cli/store_options.h"
#include "divide/dataset.h"

namespace dnc::cli {
namespace {

struct FetchCommandOptions {
  std::string location;
  std::string to;
  divide::FetchOptions fetch;
  store::StoreOptions store;
  bool json = false;
};

Status Fetch(const FetchCommandOptions& options) {
  DNC_ASSIGN(const divide::Dataset dataset, divide::OpenDataset(options.location, options.store));
  const bool is_raw = divide::IsRawDataset(dataset.manifest);
  Progress progress(options.json);
  const divide::FetchCallback callback = [&](const divide::FetchProgress& done) {
    if (progress.Due()) {
      progress.Show(RateText(done.bytes_done - done.bytes_kept, done.bytes_total - done.bytes_kept,
                             "bytes", progress.elapsed()));
    }
    return !Interrupted();
  };
  DNC_ASSIGN(const divide::FetchProgress done,
             is_raw ? divide::FetchFiles(dataset.manifest, *dataset.store, options.to,
                                         options.fetch, callback)
                    : divide::FetchShards(dataset.manifest, *dataset.store, options.to, callback));
  if (options.json) {
    PrintJson({{"to", options.to},
               {"shards", done.shards_done},
               {"bytes", done.bytes_done},
               {"bytes_kept", done.bytes_kept},
               {"files", done.files},
               {"folders", done.folders},
               {"links", done.links}});
    return {};
  }
  const std::string kept =
      done.bytes_kept > 0 ? ", " + FormatByteCount(done.bytes_kept) + " were there already" : "";
  if (is_raw) {
    std::printf("%s: %s files, %s folders, %s links out of %s of shards%s\n", options.to.c_str(),
                FormatCount(done.files).c_str(), FormatCount(done.folders).c_str(),
                FormatCount(done.links).c_str(), FormatByteCount(done.bytes_total).c_str(),
                kept.c_str());
  } else {
    std::printf("%s: %s shards, %s%s\n", options.to.c_str(), FormatCount(done.shards_done).c_str(),
                FormatByteCount(done.bytes_total).c_str(), kept.c_str());
  }
  return {};
}

}  // namespace

void AddFetch(Registry* registry) {
  const auto options = std::make_shared<FetchCommandOptions>();
  CLI::App* command = AddCommand(
      registry,
      {.name = "fetch",
       .description = "Bring a dataset to a folder, every byte checked: the files of one that was\n"
                      "divided with --raw, else its shards and manifest. Run again, it goes on",
       .examples = "  dnc fetch https://host/backup --to ./files\n"
                   "  dnc fetch s3://bucket/fm --to ./shards --down 5MB"},
      [options] { return Fetch(*options); });
  command->add_option("LOCATION", options->location, "A dataset: a folder, a manifest, or a URL")
      ->required();
  command->add_option("--to", options->to, "The folder to write to")->required();
  command->add_flag("--outside-links", options->fetch.outside_links,
                    "Write symbolic links too that lead out of the folder");
  command->add_flag("--json", options->json, "Print JSON");
  AddStoreOptions(command, &options->store);
}

}  // namespace dnc::cli
