#include "cli/project_inputs.h"

#include <cstdio>
#include <utility>

#include "model/model_files.h"

namespace dnc::cli {
namespace {

Error NoSplit(const ProjectInputs& inputs, const std::string& split) {
  std::string found;
  for (const shard::SplitInfo& info : inputs.dataset.manifest.splits) {
    found += (found.empty() ? "" : ", ") + info.name;
  }
  return {ErrorCode::kInvalidArgument,
          inputs.file.data_path + " has no split \"" + split + "\"; it has " + found};
}

}  // namespace

Result<ProjectInputs> LoadProjectInputs(const std::string& path, const store::StoreOptions& store) {
  ProjectInputs inputs;
  DNC_ASSIGN(inputs.file, proto::LoadProjectFile(path));
  DNC_ASSIGN(model::TrainedModel start, model::LoadArchitecture(inputs.file.model_path));
  if (!start.model.has_compile) {
    return Error{ErrorCode::kInvalidArgument,
                 inputs.file.model_path +
                     (start.compile_refusal.empty()
                          ? std::string(" has no \"compile\" section")
                          : ": its compile section cannot be used: " + start.compile_refusal) +
                     "; training needs an optimizer and a loss"};
  }
  if (!start.optimizer_refusal.empty()) {
    std::fprintf(stderr, "dnc: warning: %s: %s; the optimizer begins anew\n",
                 inputs.file.model_path.c_str(), start.optimizer_refusal.c_str());
  }
  inputs.model = std::move(start.model);
  inputs.weights = std::move(start.weights);
  inputs.optimizer_state = std::move(start.optimizer_state);
  DNC_ASSIGN(inputs.dataset, divide::OpenDataset(inputs.file.data_path, store));
  const proto::FitSettings& fit = inputs.file.fit;
  const shard::Manifest& manifest = inputs.dataset.manifest;
  if (manifest.FindSplit(fit.train_split) == nullptr) return NoSplit(inputs, fit.train_split);
  if (!fit.validation_split.empty()) {
    if (manifest.FindSplit(fit.validation_split) != nullptr) {
      inputs.validation_split = fit.validation_split;
    } else if (fit.validation_split_stated) {
      return NoSplit(inputs, fit.validation_split);
    }
  }
  return inputs;
}

}  // namespace dnc::cli
