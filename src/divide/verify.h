// Checks a divided dataset from end to end: every leaf of every shard against
// the manifest, every block by decoding it, the counts of samples, and (when
// asked) the statistics by computing them again.

#pragma once

#include <cstdint>
#include <functional>

#include "base/result.h"
#include "shard/manifest.h"
#include "store/object_store.h"

namespace dnc::divide {

struct VerifyOptions {
  bool statistics = true;
};

struct VerifyProgress {
  std::uint64_t shards_done = 0;
  std::uint64_t shards_total = 0;
  std::uint64_t samples_done = 0;
  std::uint64_t bytes_done = 0;  // Of shards.
  std::uint64_t bytes_total = 0;
};

// Called after every shard; false cancels.
using VerifyCallback = std::function<bool(const VerifyProgress&)>;

// Reads one shard at a time, in memory of a few blocks.
// Errors: kCorrupt, naming the shard and what in it differs; kNotFound, a shard
// is missing; kCancelled; those of `store`.
Result<VerifyProgress> Verify(const shard::Manifest& manifest, const store::ObjectStore& store,
                              const VerifyOptions& options = {},
                              const VerifyCallback& progress = {});

}  // namespace dnc::divide
