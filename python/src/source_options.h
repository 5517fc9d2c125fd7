// The options that say how a source is read, out of keywords of upload().

#pragma once

#include "binding.h"
#include "source/sample_source.h"

namespace dnc::python {

// Raises InvalidArgumentError, naming the option and what it may be.
void ReadSourceOptions(Options* options, source::SourceOptions* source);

}  // namespace dnc::python
