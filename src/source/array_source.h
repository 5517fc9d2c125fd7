// Samples from one or two arrays read side by side: features, and labels of the
// same length.

#pragma once

#include <memory>
#include <optional>
#include <string>

#include "source/array_input.h"
#include "source/sample_source.h"

namespace dnc::source {

// "file.h5:/dataset" as a path and what lies within; a path that exists is one.
struct ArrayLocation {
  std::string path;
  std::string variable;
};
ArrayLocation SplitArrayLocation(const std::string& location);

struct ArraySourceInput {
  std::unique_ptr<ArrayInput> x;
  std::unique_ptr<ArrayInput> y;            // Or null.
  std::string description;                  // What Describe() says.
  std::optional<std::uint64_t> file_bytes;  // Of x, for progress.
};

// Errors: kInvalidArgument, labels of another length than the samples.
Result<std::unique_ptr<SampleSource>> MakeArraySource(ArraySourceInput input);

// An npy or idx, with options.labels_path beside it.
// Errors: those of OpenArray and OpenLabels; labels of another length.
Result<std::unique_ptr<SampleSource>> OpenArrays(const Input& input, const SourceOptions& options);

// Opens options.labels_path, or gives null if it is empty.
// Errors: those of OpenArray and of opening the file.
Result<std::unique_ptr<ArrayInput>> OpenLabels(const SourceOptions& options);

}  // namespace dnc::source
