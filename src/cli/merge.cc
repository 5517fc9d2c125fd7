#include "divide/merge.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "base/human.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/store_options.h"
#include "divide/dataset.h"
#include "divide/divide.h"
#include "store/open_store.h"

namespace dnc::cli {
namespace {

struct MergeOptions {
  std::vector<std::string> manifests;
  std::string to;
  std::string name;
  store::StoreOptions store;
  bool overwrite = false;
  bool json = false;
};

// Also of a manifest that is yet to be written, which PlaceOfManifest takes for a folder.
divide::ManifestPlace PlaceToWrite(const std::string& target) {
  const divide::ManifestPlace place = divide::PlaceOfManifest(target);
  if (divide::IsRemote(target) || !target.ends_with(".json") || place.store != target) return place;
  const std::filesystem::path path(target);
  const std::string folder = path.parent_path().string();
  return {folder.empty() ? "." : folder, path.filename().string()};
}

// Where a manifest in the store `target`, of the location `to`, finds the shards of `from`:
// empty if they lie beside it.
Result<std::string> MirrorOf(const std::string& from, const std::string& to,
                             const std::string& target) {
  const std::string source = divide::PlaceOfManifest(from).store;
  if (divide::IsRemote(from)) return source == target ? std::string() : source;
  if (divide::IsRemote(to)) {
    return Error{ErrorCode::kInvalidArgument, "the shards of " + from +
                                                  " lie on this machine, where readers of " + to +
                                                  " could not find them; copy them there first"};
  }
  std::error_code error;
  const auto relative = std::filesystem::relative(source, target, error);
  if (error) return Error{ErrorCode::kIo, source + ": " + error.message()};
  return relative == "." ? std::string() : relative.string();
}

Status Merge(const MergeOptions& options) {
  std::vector<shard::Manifest> manifests;
  const divide::ManifestPlace place = PlaceToWrite(options.to);
  for (const std::string& location : options.manifests) {
    DNC_ASSIGN(shard::Manifest manifest, divide::LoadManifest(location, options.store));
    DNC_ASSIGN(const std::string mirror, MirrorOf(location, options.to, place.store));
    if (!mirror.empty()) manifest.mirrors.push_back(mirror);
    manifests.push_back(std::move(manifest));
  }
  DNC_ASSIGN(const shard::Manifest merged,
             divide::MergeManifests(std::move(manifests), options.name));
  store::StoreOptions store_options = options.store;
  store_options.create = true;
  store_options.mirrors.clear();
  DNC_ASSIGN(const auto store, store::OpenStore(place.store, store_options));
  const auto size = store->Size(place.key);
  if (size.ok() && !options.overwrite) {
    return Error{ErrorCode::kAlreadyExists, store->Describe() + " has a " + place.key +
                                                " already; pass --overwrite to replace it"};
  }
  if (!size.ok() && size.error().code != ErrorCode::kNotFound) return size.error();
  DNC_TRY(store::PutObject(store.get(), place.key, AsBytes(shard::FormatManifest(merged))));
  std::uint64_t samples = 0;
  for (const shard::SplitInfo& split : merged.splits) samples += split.samples;
  const std::string path = place.store + "/" + place.key;
  if (options.json) {
    PrintJson({{"manifest", path}, {"samples", samples}, {"shards", merged.shards.size()}});
  } else {
    std::printf("%s samples in %s shards, of %zu manifests\n%s\n", FormatCount(samples).c_str(),
                FormatCount(merged.shards.size()).c_str(), options.manifests.size(), path.c_str());
  }
  return {};
}

}  // namespace

void AddMerge(Registry* registry) {
  const auto options = std::make_shared<MergeOptions>();
  CLI::App* command = AddCommand(
      registry,
      {.name = "merge",
       .description = "Join the manifests of several datasets, such as the parts that\n"
                      "`dnc divide --part` made, into one; no shard is read or moved",
       .examples = "  dnc merge ./shards/manifest-*-of-8.json --to ./shards\n"
                   "  dnc merge s3://bucket/monday s3://bucket/tuesday --to s3://bucket/week"},
      [options] { return Merge(*options); });
  command->add_option("MANIFEST", options->manifests, "Manifests, or the places of datasets")
      ->required();
  command
      ->add_option("--to", options->to,
                   "Where the new manifest goes: a folder or URL, or a path that ends in .json")
      ->required();
  command->add_option("--name", options->name, "Name of the dataset; the first one's by default");
  command->add_flag("--overwrite", options->overwrite, "Replace the manifest that is there");
  command->add_flag("--json", options->json, "Print JSON");
  AddStoreOptions(command, &options->store);
}

}  // namespace dnc::cli
