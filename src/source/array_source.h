// Samples from arrays of the same length read side by side: features, and labels; or any
// number of columns.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "source/array_input.h"
#include "source/sample_source.h"

namespace dnc::source {

// "file.h5:/dataset" as a path and what lies within; a path that exists is one.
struct ArrayLocation {
  std::string path;
  std::string variable;
};
ArrayLocation SplitArrayLocation(const std::string& location);

struct NamedArray {
  std::string column;
  std::unique_ptr<ArrayInput> input;
};

struct ArraySourceInput {
  std::vector<NamedArray> arrays;           // At least one.
  std::string description;                  // What Describe() says.
  std::optional<std::uint64_t> file_bytes;  // Of the first, for progress.
};

// Errors: kInvalidArgument, arrays of other lengths than the first.
Result<std::unique_ptr<SampleSource>> MakeArraySource(ArraySourceInput input);

// An npy or idx, with options.labels_path beside it.
// Errors: those of OpenArray and OpenLabels; labels of another length.
Result<std::unique_ptr<SampleSource>> OpenArrays(const Input& input, const SourceOptions& options);

// Opens options.labels_path, or gives null if it is empty.
// Errors: those of OpenArray and of opening the file.
Result<std::unique_ptr<ArrayInput>> OpenLabels(const SourceOptions& options);

}  // namespace dnc::source
