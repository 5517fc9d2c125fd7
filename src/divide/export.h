// Writes a split of a dataset in a format that other programs read (sink/sinks.h), in the
// order in which it was divided. Every leaf is checked before it is used.

#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "shard/manifest.h"
#include "sink/sinks.h"
#include "store/object_store.h"

namespace dnc::divide {

struct ExportProgress {
  std::uint64_t samples_done = 0;
  std::uint64_t samples_total = 0;
  std::uint64_t bytes_written = 0;
};

// Called about once a block; false cancels.
using ExportCallback = std::function<bool(const ExportProgress&)>;

struct ExportOptions {
  sink::Format format = sink::Format::kNpy;
  std::string split = "train";
  std::string to;
  std::uint64_t shard_bytes = 64u << 20;  // Of tars, and of shards of MDS.
};

// After an error nothing is there.
// Errors: kNotFound, no such split; kCorrupt; kCancelled; those of the sink and store.
Result<ExportProgress> Export(const shard::Manifest& manifest, const store::ObjectStore& store,
                              const ExportOptions& options, const ExportCallback& progress = {});

}  // namespace dnc::divide
