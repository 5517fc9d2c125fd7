// Samples from one or two arrays read side by side: features, and labels of the
// same length.

#pragma once

#include <memory>
#include <string>

#include "source/array_input.h"
#include "source/sample_source.h"

namespace dnc::source {

// `x`, and `y` unless it is null. `description` is what Describe() says.
// Errors: kInvalidArgument, labels of another length than the samples.
Result<std::unique_ptr<SampleSource>> MakeArraySource(std::unique_ptr<ArrayInput> x,
                                                      std::unique_ptr<ArrayInput> y,
                                                      std::string description);

// Opens options.labels_path, or gives null if it is empty.
// Errors: those of OpenArray and of opening the file.
Result<std::unique_ptr<ArrayInput>> OpenLabels(const SourceOptions& options);

}  // namespace dnc::source
