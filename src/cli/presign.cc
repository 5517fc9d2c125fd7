#include "store/presign.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/file.h"
#include "base/human.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/store_options.h"
#include "divide/dataset.h"

namespace dnc::cli {
namespace {

struct PresignCommandOptions {
  std::string location;
  std::string out;
  double hours = 24;
  store::StoreOptions store;
  bool json = false;
};

Status Presign(const PresignCommandOptions& options) {
  if (PathExists(options.out)) {
    return Error{ErrorCode::kAlreadyExists, options.out + " is there already; choose another name"};
  }
  DNC_ASSIGN(shard::Manifest manifest, divide::LoadManifest(options.location, options.store));
  const std::string place = divide::PlaceOfManifest(options.location).store;
  store::PresignOptions presign;
  presign.valid_for = Duration::Seconds(static_cast<std::int64_t>(options.hours * 3600));
  presign.now = WallNow();
  for (shard::ShardInfo& shard : manifest.shards) {
    DNC_ASSIGN(const std::string url,
               store::MakePresignedUrl(place + "/" + shard.cid, presign, options.store));
    shard.urls = {url};
  }
  DNC_TRY(WriteFileAtomically(options.out, AsBytes(shard::FormatManifest(manifest))));
  if (options.json) {
    PrintJson({{"manifest", options.out},
               {"shards", manifest.shards.size()},
               {"valid_seconds", presign.valid_for.seconds()}});
  } else {
    std::printf("%s: links to %s shards, valid for %s\n", options.out.c_str(),
                FormatCount(manifest.shards.size()).c_str(),
                FormatDuration(presign.valid_for).c_str());
  }
  return {};
}

}  // namespace

void AddPresign(Registry* registry) {
  const auto options = std::make_shared<PresignCommandOptions>();
  CLI::App* command = AddCommand(
      registry,
      {.name = "presign",
       .description = "Write a manifest with links to the shards of a dataset on S3 that need no\n"
                      "credentials until they expire. Whoever has the file can read the dataset",
       .examples = "  dnc presign s3://bucket/photos --hours 24 --out photos.json\n"
                   "  dnc stream photos.json"},
      [options] { return Presign(*options); });
  command->add_option("LOCATION", options->location, "A dataset on S3: s3://bucket/prefix")
      ->required();
  command->add_option("--out", options->out, "The manifest to write")->required();
  command->add_option("--hours", options->hours, "How long the links are valid; at most a week")
      ->check(CLI::Range(0.001, 168.0))
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print JSON");
  AddStoreOptions(command, &options->store);
}

}  // namespace dnc::cli
