#include "sink/sinks.h"

namespace dnc::sink {
namespace {

struct Row {
  Format format;
  const char* name;
  decltype(&CreateNpySink) create;
};
constexpr Row kFormats[] = {
    {Format::kNpy, "npy", CreateNpySink}, {Format::kNpz, "npz", CreateNpzSink},
    {Format::kCsv, "csv", CreateCsvSink}, {Format::kWebDataset, "webdataset", CreateWebDatasetSink},
    {Format::kMds, "mds", CreateMdsSink},
};

}  // namespace

const char* FormatName(Format format) {
  for (const Row& row : kFormats) {
    if (row.format == format) return row.name;
  }
  return "";
}

std::optional<Format> FormatFromName(const std::string& name) {
  for (const Row& row : kFormats) {
    if (row.name == name) return row.format;
  }
  return std::nullopt;
}

Result<std::unique_ptr<SampleSink>> CreateSink(Format format, const std::string& path,
                                               const std::vector<array::ColumnSpec>& columns,
                                               const SinkOptions& options) {
  for (const Row& row : kFormats) {
    if (row.format == format) return row.create(path, columns, options);
  }
  return Error{ErrorCode::kInternal, "no such format"};
}

}  // namespace dnc::sink
