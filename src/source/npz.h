// An .npz: a zip archive of .npy members, as np.savez and np.savez_compressed
// write it. Features and labels are streamed side by side.
//
// Which member is which: one alone is x. Else the one member whose name is one of
// NpzFeatureNames() is x, and the one of NpzLabelNames() is y; other members are
// left out, and Describe() names them. Two candidates are an error, as none is.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "source/byte_stream.h"
#include "source/sample_source.h"

namespace dnc::source {

const std::vector<std::string>& NpzFeatureNames();
const std::vector<std::string>& NpzLabelNames();

// Labels come from options.labels_path where the archive has none.
// Errors: kInvalidArgument, it is not clear which members to take (all are
// listed), or labels of another length; kUnsupported, a zip without npy members;
// those of the zip directory, of the members and of the source.
Result<std::unique_ptr<SampleSource>> OpenNpz(SharedSource source, const SourceOptions& options);

}  // namespace dnc::source
