// What `dnc inspect` says of a model.

#pragma once

#include <string>

#include "base/result.h"

namespace dnc::cli {

// Whether a location is a file of a model rather than a dataset: by the ending of its
// name, and of a .json by what it holds.
bool IsModelFile(const std::string& location);

// Prints layers, shapes, parameters and FLOPs, as text or as JSON.
// Errors: those of LoadArchitecture.
Status InspectModel(const std::string& path, bool json);

}  // namespace dnc::cli
