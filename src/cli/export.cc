#include "divide/export.h"

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

namespace dnc::cli {
namespace {

struct ExportCommandOptions {
  std::string location;
  std::string format;
  std::string to;
  std::string split = "train";
  std::string shard_bytes = "64MiB";
  store::StoreOptions store;
  bool json = false;
};

Status Export(const ExportCommandOptions& options) {
  divide::ExportOptions how;
  how.format = *sink::FormatFromName(options.format);  // Checked by CLI11.
  how.split = options.split;
  how.to = options.to;
  DNC_ASSIGN(how.shard_bytes, ByteOption("--shard-bytes", options.shard_bytes));
  DNC_ASSIGN(const divide::Dataset dataset, divide::OpenDataset(options.location, options.store));
  Progress progress(options.json);
  DNC_ASSIGN(const divide::ExportProgress done,
             divide::Export(dataset.manifest, *dataset.store, how,
                            [&](const divide::ExportProgress& so_far) {
                              if (progress.Due()) {
                                progress.Show(RateText(so_far.samples_done, so_far.samples_total,
                                                       "samples", progress.elapsed()) +
                                              ", " + FormatByteCount(so_far.bytes_written));
                              }
                              return !Interrupted();
                            }));
  if (options.json) {
    PrintJson({{"to", options.to},
               {"format", options.format},
               {"samples", done.samples_done},
               {"bytes", done.bytes_written}});
  } else {
    std::printf("%s: %s samples of split %s as %s, %s\n", options.to.c_str(),
                FormatCount(done.samples_done).c_str(), options.split.c_str(),
                options.format.c_str(), FormatByteCount(done.bytes_written).c_str());
  }
  return {};
}

}  // namespace

void AddExport(Registry* registry) {
  const auto options = std::make_shared<ExportCommandOptions>();
  CLI::App* command = AddCommand(
      registry,
      {.name = "export",
       .description = "Write a split of a dataset for other programs: NumPy's npy (a folder with\n"
                      "a file a column) or npz, csv, WebDataset's tars, MosaicML's MDS",
       .examples = "  dnc export ./shards --to npz train.npz\n"
                   "  dnc export s3://bucket/photos --to webdataset ./tars --split validation"},
      [options] { return Export(*options); });
  command->add_option("LOCATION", options->location, "A dataset: a folder, a manifest, or a URL")
      ->required();
  command->add_option("--to", options->format, "npy, npz, csv, webdataset or mds")
      ->check(CLI::IsMember({"npy", "npz", "csv", "webdataset", "mds"}))
      ->required();
  command->add_option("OUT", options->to, "The file or folder to write; must not be there yet")
      ->required();
  command->add_option("--split", options->split, "The split to write")->capture_default_str();
  command->add_option("--shard-bytes", options->shard_bytes, "Size of a tar, and of a shard of MDS")
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print JSON");
  AddStoreOptions(command, &options->store);
}

}  // namespace dnc::cli
