#include "cli/project_inputs.h"

#include "base/file.h"

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
  DNC_ASSIGN(const std::string json,
             ReadFile(inputs.file.model_path, model::ModelLimits{}.json_bytes_max));
  DNC_ASSIGN(inputs.model, model::ParseModel(json, inputs.file.model_path));
  if (!inputs.model.has_compile) {
    return Error{ErrorCode::kInvalidArgument,
                 inputs.file.model_path +
                     " has no \"compile\" section; training needs an optimizer and a loss"};
  }
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
