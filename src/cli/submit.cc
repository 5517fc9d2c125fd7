#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>

#include "base/human.h"
#include "cli/command.h"
#include "cli/connection.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/progress.h"
#include "cli/project_inputs.h"
#include "cli/store_options.h"
#include "shard/content_id.h"
#include "update/update.h"

namespace dnc::cli {
namespace {

struct SubmitOptions {
  std::string project;
  store::StoreOptions store;
  double give_up_after = 60;
  bool json = false;
};

// Uploads the shards of the splits that the project uses; those that the server
// already has cost one question each, so that submitting again resumes.
Status UploadShards(client::Client* client, const ProjectInputs& inputs, Progress* progress) {
  const shard::Manifest& manifest = inputs.dataset.manifest;
  std::uint64_t total = 0;
  for (const shard::ShardInfo& info : manifest.shards) total += info.bytes;
  std::uint64_t done = 0;
  for (const shard::ShardInfo& info : manifest.shards) {
    const store::ObjectStore& store = *inputs.dataset.store;
    DNC_ASSIGN(const std::uint64_t size, store.Size(info.cid));
    if (size != info.bytes) {
      return Error{ErrorCode::kCorrupt, "shard " + info.cid + " has " + std::to_string(size) +
                                            " bytes, but its manifest says " +
                                            std::to_string(info.bytes) + "; run `dnc verify`"};
    }
    DNC_TRY(client->PutObject(
        info.cid, info.bytes,
        [&](std::uint64_t offset, std::span<std::byte> out) -> Result<std::size_t> {
          const std::size_t part =
              std::min<std::uint64_t>(out.size(), info.bytes - std::min(info.bytes, offset));
          DNC_TRY(store.Read(info.cid, offset, out.first(part)));
          if (progress->Due()) {
            progress->Show("uploading: " +
                           RateText(done + offset, total, "bytes", progress->elapsed()));
          }
          return part;
        }));
    done += info.bytes;
  }
  return {};
}

// The weights that training begins with, where a file gave them; the CID of their object.
Result<std::string> UploadWeights(client::Client* client, const ProjectInputs& inputs) {
  if (inputs.weights.empty()) return std::string();
  const Bytes object = update::Encode(inputs.weights);
  shard::ContentHasher hasher;
  hasher.Update(object);
  std::string cid = hasher.Finish().cid;
  DNC_TRY(
      client->PutObject(cid, object.size(),
                        [&](std::uint64_t offset, std::span<std::byte> out) -> Result<std::size_t> {
                          const std::size_t begin = std::min<std::uint64_t>(offset, object.size());
                          const std::size_t part = std::min(out.size(), object.size() - begin);
                          std::memcpy(out.data(), object.data() + begin, part);
                          return part;
                        }));
  return cid;
}

Status Submit(const SubmitOptions& options) {
  DNC_ASSIGN(const ProjectInputs inputs, LoadProjectInputs(options.project, options.store));
  DNC_ASSIGN(const auto client, ConnectAsUser(options.give_up_after));
  Progress progress(options.json);
  DNC_TRY(UploadShards(client.get(), inputs, &progress));
  proto::ProjectSpec spec;
  DNC_ASSIGN(spec.weights_cid, UploadWeights(client.get(), inputs));
  spec.name = inputs.file.name;
  spec.description = inputs.file.description;
  spec.fit = inputs.file.fit;
  spec.fit.validation_split = inputs.validation_split;
  spec.grid = inputs.file.grid;
  spec.model_json = model::FormatModel(inputs.model);
  spec.manifest_json = shard::FormatManifest(inputs.dataset.manifest);
  DNC_ASSIGN(const ProjectId project, client->SubmitProject(spec));
  if (options.json) {
    PrintJson({{"project_id", project.value}, {"name", spec.name}});
  } else {
    std::printf("project %llu: %s, %s weights; `dnc status %llu --follow` shows how it goes\n",
                static_cast<unsigned long long>(project.value), spec.name.c_str(),
                FormatCount(inputs.model.weight_count).c_str(),
                static_cast<unsigned long long>(project.value));
  }
  return {};
}

}  // namespace

void AddSubmit(Registry* registry) {
  const auto options = std::make_shared<SubmitOptions>();
  CLI::App* command =
      AddCommand(registry,
                 {.name = "submit",
                  .description = "Upload a project's model and data, and have it trained",
                  .examples = "  dnc submit project.json\n"
                              "  dnc submit project.json --json"},
                 [options] { return Submit(*options); });
  command->add_option("PROJECT", options->project, "The project file (JSON)")->required();
  command
      ->add_option("--give-up-after", options->give_up_after,
                   "Seconds to retry a server that does not answer")
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print JSON");
  AddStoreOptions(command, &options->store);
}

}  // namespace dnc::cli
