// A csv file, plain or inside gzip or zstd, or from a pipe. csv_format.h finds the
// delimiter and the header where the options do not say; table_survey.h and
// table_source.h say what becomes of the fields.
//
// The first line is a header if a column is given by name.

#pragma once

#include <memory>

#include "source/input.h"
#include "source/sample_source.h"

namespace dnc::source {

// Errors: those of CsvReader and OpenTable.
Result<std::unique_ptr<SampleSource>> OpenCsv(const Input& input, const SourceOptions& options);

// Whether the start of a file looks like text that could be csv.
bool LooksLikeCsv(ByteSpan start);

}  // namespace dnc::source
