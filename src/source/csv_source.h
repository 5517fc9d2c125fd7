// A csv file: every column but the label is a number and goes into "x" (float32,
// one element a column); the label column becomes "y".
//
// The file is read twice: first to count and check every value and to find the
// label's type, then for the samples. Labels that are all whole numbers become
// int64, other numbers float32, and text the index of its name in sorted order
// (uint8 up to 256 names, else int64).
//
// The first line is a header if the label is given by name, or if one of its
// fields, the label aside where it is given by number, is not a number.

#pragma once

#include <memory>

#include "source/input.h"
#include "source/sample_source.h"

namespace dnc::source {

inline constexpr std::size_t kClassCountMax = 4096;

// Errors: kInvalidArgument, with file, line and column: a line with another
// number of fields, text in a numeric column, a missing value, an unknown label
// column; no samples; kTooLarge, more than kClassCountMax class names; those of
// CsvReader.
Result<std::unique_ptr<SampleSource>> OpenCsv(const Input& input, const SourceOptions& options);

// Whether the start of a file looks like text that could be csv.
bool LooksLikeCsv(ByteSpan start);

}  // namespace dnc::source
