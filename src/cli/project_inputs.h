// A project file with what it names, read and checked: the model, the manifest and
// the store of its shards.

#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "divide/dataset.h"
#include "model/model.h"
#include "proto/project_file.h"

namespace dnc::cli {

struct ProjectInputs {
  proto::ProjectFile file;
  model::Model model;
  // Where training begins: those of a model file that has weights, else empty.
  std::vector<float> weights;
  Bytes optimizer_state;
  divide::Dataset dataset;
  // The project's validation split, or empty if there is to be no validation.
  std::string validation_split;
};

// Errors: those of the files; kInvalidArgument, a model without a compile section, a
// split that the manifest lacks.
Result<ProjectInputs> LoadProjectInputs(const std::string& path,
                                        const store::StoreOptions& store = {});

}  // namespace dnc::cli
