// Derives what a stream does from what it is given: the window from the memory, runs and
// lanes, slots on disk, the arithmetic that is shown. Pure. Private to this room.

#pragma once

#include <cstdint>

#include "base/result.h"
#include "shard/manifest.h"
#include "stream/memory_need.h"
#include "stream/position.h"
#include "stream/stream.h"

namespace dnc::stream {

struct Derived {
  StreamPosition begin;  // Of a new stream, or what it resumes.
  MemoryNeed need;
  std::uint64_t samples = 0;       // Of an epoch.
  std::uint64_t stored_bytes = 0;  // Of the split.
  std::uint64_t leaf_count = 0;
  // What an epoch takes from the store at most, of one worker.
  std::uint64_t epoch_bytes = 0;
};

// Errors: as Stream::Open.
Result<Derived> Derive(const shard::Manifest& manifest, const StreamOptions& options);

}  // namespace dnc::stream
