// A table as samples: the chosen columns go into "x" (float32 or float64, one
// element a column, described by ColumnSpec::features), the label column into "y".
//
// A table that can be read twice is surveyed whole. From a pipe, the first
// kPipeRows rows (or kPipeBytes of them) are held and surveyed, and a later row
// that does not fit what they hold is an error that names its line.

#pragma once

#include <memory>

#include "source/row_reader.h"
#include "source/sample_source.h"

namespace dnc::source {

inline constexpr std::uint64_t kPipeRows = 10'000;
inline constexpr std::uint64_t kPipeBytes = 4 << 20;

// Errors: those of ChooseColumns and SurveyTable; kUnsupported, the mean of a
// column that comes through a pipe.
Result<std::unique_ptr<SampleSource>> OpenTable(RowInput rows, const SourceOptions& options);

}  // namespace dnc::source
