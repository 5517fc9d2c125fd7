// An .npz: a zip archive of .npy members, as np.savez and np.savez_compressed
// write it. Features and labels are streamed side by side; array_container.h says
// which members they are.

#pragma once

#include <memory>
#include <string>

#include "source/array_container.h"
#include "source/input.h"
#include "source/sample_source.h"

namespace dnc::source {

// By its first bytes; a WebDataset or a document may be a zip archive too.
bool IsZip(ByteSpan start);

// Errors: kUnsupported, a zip without npy members; those of the zip directory, of
// the members and of the source.
Result<std::unique_ptr<ArrayContainer>> OpenNpzContainer(SharedSource source);

// Errors: as above; those of OpenContainer.
Result<std::unique_ptr<SampleSource>> OpenNpz(const Input& input, const SourceOptions& options);

}  // namespace dnc::source
