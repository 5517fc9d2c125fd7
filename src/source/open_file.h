// OpenSource for one file that is already open: bytes in memory, in tests.

#pragma once

#include <memory>

#include "source/byte_stream.h"
#include "source/sample_source.h"

namespace dnc::source {

// Errors: those of OpenSource.
Result<std::unique_ptr<SampleSource>> OpenFileSource(SharedSource file,
                                                     const SourceOptions& options);

}  // namespace dnc::source
