// Samples out of Python objects: arrays, tables, generators. Python is asked for some
// samples at a time, as one buffer a column, so a source may be larger than memory (a
// memory map, an HDF5 dataset, a generator).

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "binding.h"
#include "source/sample_source.h"

namespace dnc::python {

// `reader(count)` returns a list, one item a column: for a column of arrays a
// C-contiguous buffer of `n` samples, else a list of `n` bytes; n <= count, alike for
// all columns, and 0 at the end. `columns` is as ColumnToDict writes them.
// Raises InvalidArgumentError for columns that make no sense.
std::unique_ptr<source::SampleSource> MakeObjectSource(const py::list& columns, py::object reader,
                                                       std::optional<std::uint64_t> sample_count,
                                                       const std::string& description,
                                                       Callback* callback);

}  // namespace dnc::python
