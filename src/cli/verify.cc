#include "divide/verify.h"

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

struct VerifyCommandOptions {
  std::string location;
  store::StoreOptions store;
  bool json = false;
};

Status VerifyDataset(const VerifyCommandOptions& options) {
  DNC_ASSIGN(const divide::Dataset dataset, divide::OpenDataset(options.location, options.store));
  Progress progress(options.json);
  DNC_ASSIGN(const divide::VerifyProgress done,
             divide::Verify(dataset.manifest, *dataset.store, {},
                            [&](const divide::VerifyProgress& so_far) {
                              if (progress.Due()) {
                                progress.Show(RateText(so_far.bytes_done, so_far.bytes_total,
                                                       "bytes", progress.elapsed()));
                              }
                              return !Interrupted();
                            }));
  if (options.json) {
    PrintJson({{"ok", true},
               {"shards", done.shards_done},
               {"samples", done.samples_done},
               {"bytes", done.bytes_done}});
  } else {
    std::printf("%s: all well: %s samples in %s shards, %s, hashes, blocks and statistics\n",
                options.location.c_str(), FormatCount(done.samples_done).c_str(),
                FormatCount(done.shards_done).c_str(), FormatByteCount(done.bytes_done).c_str());
  }
  return {};
}

}  // namespace

void AddVerify(Registry* registry) {
  const auto options = std::make_shared<VerifyCommandOptions>();
  CLI::App* command =
      AddCommand(registry,
                 {.name = "verify",
                  .description = "Check every byte of a dataset against its manifest",
                  .examples = "  dnc verify ./shards\n"
                              "  dnc verify ./shards/manifest.json --json"},
                 [options] { return VerifyDataset(*options); });
  command->add_option("LOCATION", options->location, "A dataset: a folder, a manifest, or a URL")
      ->required();
  command->add_flag("--json", options->json, "Print JSON");
  AddStoreOptions(command, &options->store);
}

}  // namespace dnc::cli
