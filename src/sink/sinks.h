// The formats that samples can leave in; sample_sink.h.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "array/column.h"
#include "base/result.h"
#include "sink/sample_sink.h"

namespace dnc::sink {

enum class Format {
  kNpy,         // A folder with NAME.npy a column. Arrays only.
  kNpz,         // A file, its members stored as they are. Arrays only.
  kCsv,         // A file; an array is a field an element. Numbers and texts only.
  kWebDataset,  // A folder of tars.
  kMds,         // A folder with index.json and shards of MosaicML Streaming.
};

// "npy", "npz", "csv", "webdataset", "mds".
const char* FormatName(Format format);
std::optional<Format> FormatFromName(const std::string& name);

struct SinkOptions {
  // Of all that will be written. Requires: exactly so many are.
  std::uint64_t samples = 0;
  // A tar or shard closes with the sample that brings it to this.
  std::uint64_t shard_bytes = 64u << 20;
};

// A sink of that format at `path`.
// Errors: kUnsupported, a column that the format cannot hold, with one that can;
// kAlreadyExists; kInvalidArgument; those of the disk.
Result<std::unique_ptr<SampleSink>> CreateSink(Format format, const std::string& path,
                                               const std::vector<array::ColumnSpec>& columns,
                                               const SinkOptions& options);

// Each of them.
Result<std::unique_ptr<SampleSink>> CreateNpySink(const std::string& path,
                                                  const std::vector<array::ColumnSpec>& columns,
                                                  const SinkOptions& options);
Result<std::unique_ptr<SampleSink>> CreateNpzSink(const std::string& path,
                                                  const std::vector<array::ColumnSpec>& columns,
                                                  const SinkOptions& options);
Result<std::unique_ptr<SampleSink>> CreateCsvSink(const std::string& path,
                                                  const std::vector<array::ColumnSpec>& columns,
                                                  const SinkOptions& options);
Result<std::unique_ptr<SampleSink>> CreateWebDatasetSink(
    const std::string& path, const std::vector<array::ColumnSpec>& columns,
    const SinkOptions& options);
Result<std::unique_ptr<SampleSink>> CreateMdsSink(const std::string& path,
                                                  const std::vector<array::ColumnSpec>& columns,
                                                  const SinkOptions& options);

}  // namespace dnc::sink
