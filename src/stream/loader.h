// Streams the samples of a Plan out of an object store: fetches leaves ahead on a
// thread of its own, checks each against the manifest before it is used, decodes
// blocks, and gathers batches, all within a stated number of bytes.
//
// Half of the budget holds the window that is consumed, half fills with the next.
// A Loader is used by one thread; its own threads stop when it is destroyed.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "store/object_store.h"
#include "stream/plan.h"

namespace dnc::stream {

struct LoaderOptions {
  std::uint64_t memory_bytes = 64u << 20;
  std::uint64_t skip_samples = 0;  // Resume: samples of the plan already consumed.
};

struct LoaderStatistics {
  std::uint64_t samples = 0;        // Handed out.
  std::uint64_t fetched_bytes = 0;  // Read from the store.
  std::uint64_t decoded_bytes = 0;
  std::uint64_t memory_peak_bytes = 0;  // Held by the loader, at most.
  Duration waited;                      // Time that Next() waited for data.
};

// The least memory_bytes that a plan can run in.
std::uint64_t MemoryNeeded(const Plan& plan);
// The largest window that fits into a budget, but for a part of it (at most an
// eighth) that is better spent on keeping leaves.
// Errors: kInvalidArgument, the budget is below the minimum, with the arithmetic.
Result<std::uint64_t> WindowForMemory(const shard::Manifest& manifest, const std::string& split,
                                      std::uint64_t memory_bytes);

class Loader {
 public:
  // `store` holds the shards under their CIDs, and must outlive the loader, as
  // must the plan's manifest.
  // Errors: kInvalidArgument, the budget is below MemoryNeeded, with the arithmetic,
  // or more samples to skip than the plan has; kUnsupported, columns of varying lengths;
  // kResourceExhausted, no memory or thread.
  static Result<std::unique_ptr<Loader>> Open(Plan plan, const store::ObjectStore* store,
                                              const LoaderOptions& options);
  virtual ~Loader() = default;

  // Gathers up to `sample_count_max` samples, in order: destinations[c] receives
  // column c, densely. Returns how many; 0 at the end. Waits for data.
  // Requires: destinations has room for them, one a column; a null destination
  // leaves that column out.
  // Errors: kCorrupt, naming shard and leaf; those of the store.
  virtual Result<std::uint64_t> Next(std::uint64_t sample_count_max,
                                     std::span<std::byte* const> destinations) = 0;
  virtual LoaderStatistics statistics() const = 0;
};

}  // namespace dnc::stream
