// The stream of a dataset: epoch after epoch of samples, shuffled, checked, gathered
// into batches, within a stated number of bytes of memory and disk. It resumes at any
// sample and gives the same order to any number of workers.
//
//   order     Runs of neighbouring blocks are shuffled over the whole split; windows
//             of that sequence, as large as the memory allows, are shuffled by sample.
//             A function of (manifest, split, seed, epoch, window, lanes) alone.
//   memory    Two windows (one is consumed while the other fills), leaves under way,
//             one batch: MemoryPlan shows the sum before anything is allocated.
//   disk      Leaves that cost a download are kept in one file within disk_bytes.
//             Of those, the one that is needed latest goes first: the future is known.
//             So a disk of a fifth of the data saves a fifth of every later epoch.
//   wrong     bytes are fetched again from another mirror; they never reach a caller.
//
// A Stream is used by one thread; its own threads stop when it is destroyed.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "array/column.h"
#include "base/hash.h"
#include "base/result.h"
#include "base/time.h"
#include "image/image.h"
#include "shard/manifest.h"
#include "store/object_store.h"
#include "stream/destination.h"
#include "stream/position.h"

namespace dnc::stream {

struct StreamOptions {
  std::string split = "train";
  bool shuffle = true;  // false: the order in the shards.
  std::uint64_t seed = 0;
  std::uint64_t epochs = 1;  // 0: without end.

  std::uint64_t memory_bytes = 64u << 20;
  std::uint64_t disk_bytes = 256u << 20;  // 0: none. A local store needs none.
  // Where leaves are kept from one run to the next; created if it is missing, and one
  // process uses it at a time. Empty: a file without a name, gone with the process.
  std::string cache_folder;

  // Of `workers` processes that share an epoch, this is number `worker`. With L lanes,
  // worker r takes the samples i of the epoch's order with (i % L) * workers / L == r.
  std::uint32_t worker = 0;
  std::uint32_t workers = 1;
  // A multiple of `workers`, at most kLanesMax. 0: 8, or the least common multiple of 8
  // and `workers`.
  std::uint32_t lanes = 0;
  // 0: the largest that one worker can hold within memory_bytes.
  std::uint64_t window_samples = 0;

  // The most samples that Next is asked for, and how many such batches the caller
  // holds at a time: they are a part of memory_bytes.
  std::uint64_t batch_samples = 256;
  std::uint32_t batches_held = 1;
  // Columns of images become uint8 (height, width, 3) of this size, decoded ahead of
  // Next by `decode_threads` threads (0: one a core).
  std::optional<image::ImageSize> resize;
  int decode_threads = 0;

  int connections = 8;  // Reads of the store at a time.
  // Leaves under their own content ids, as OpenStore("ipfs://") gives them from gateways:
  // machines near by, which are asked before `store`. Null: there are none. Must outlive
  // the stream.
  const store::ObjectStore* neighbours = nullptr;
  // Instead of waiting for a window, the samples of the one before are repeated, in
  // another order, at most so many times. What is repeated depends on the speed of the
  // link, so this is off by default, and counted in the position.
  std::uint32_t reuse_max = 0;

  // Go on from here; what it fixes (split, shuffle, seed, window, lanes) is taken from
  // it, and the fields above are ignored.
  std::optional<StreamPosition> resume;
  // Told, from a thread of the stream, what went wrong without stopping it: a full disk.
  // May be empty.
  std::function<void(const std::string&)> warn;
};

struct StreamStatistics {
  std::uint64_t samples = 0;            // Handed out, repeated ones included.
  std::uint64_t samples_repeated = 0;   // By reuse_max.
  std::uint64_t fetched_bytes = 0;      // Read from the store.
  std::uint64_t neighbour_bytes = 0;    // Read from neighbours.
  std::uint64_t cache_bytes = 0;        // Read from the disk cache.
  std::uint64_t decoded_bytes = 0;      // Raw columns.
  std::uint64_t leaves_rejected = 0;    // Wrong or missing at one mirror.
  std::uint64_t memory_peak_bytes = 0;  // Of the budget.
  std::uint64_t disk_bytes = 0;         // Of the cache file, now.
  Duration waited;                      // Time that Next waited for data.
  Duration elapsed;                     // Since Open.
};

// What a stream costs, before it is paid.
struct Forecast {
  std::uint64_t epoch_bytes = 0;        // To download in an epoch, at most.
  std::uint64_t later_epoch_bytes = 0;  // With what the disk keeps.
  double link_bytes_per_second = 0;     // Measured; 0 where all was on this machine.
  double link_samples_per_second = 0;   // What that link can feed.
  Duration epoch_download;
  double samples_per_second = 0;  // Of the training; 0: unknown.
  double waiting_share = 0;       // Of its time.

  // "an epoch is 1.2 GB, 96 s at 100 Mbit/s: training at 4,000 samples/s would wait 62%
  // of the time".
  std::string Text() const;
};

// How the memory and the disk are used, as it was computed from the manifest.
struct StreamPlan {
  std::uint64_t window_samples = 0;
  std::uint32_t run_blocks = 0;
  std::uint32_t lanes = 0;
  std::uint64_t epoch_samples = 0;   // Of all workers.
  std::uint64_t worker_samples = 0;  // Of this one.
  std::uint64_t memory_needed_bytes = 0;
  std::uint64_t disk_leaves = 0;  // That the cache has room for.
  std::string memory_text;        // The arithmetic, a line.
};

// What the order of a split's samples depends on in a manifest: the shards' content
// ids and counts. Mirrors and descriptions may change.
Digest DataDigest(const shard::Manifest& manifest, const std::string& split);

// The columns of batches: those of the manifest, with images decoded if `resize` is set.
std::vector<array::ColumnSpec> BatchColumns(const shard::Manifest& manifest,
                                            const std::optional<image::ImageSize>& resize);

class Stream {
 public:
  // `store` holds the shards under their CIDs. It and `manifest` must outlive the stream.
  // Returns when its threads have started; the first samples come while they work.
  //
  // Errors: kInvalidArgument, a budget below the minimum, with the arithmetic, or options
  // that do not fit each other; kNotFound, no such split; kStale, `resume` is of other
  // data; kAlreadyExists, the cache folder is in use or holds something that is not ours;
  // kResourceExhausted, no memory or thread; kIo.
  static Result<std::unique_ptr<Stream>> Open(const shard::Manifest* manifest,
                                              const store::ObjectStore* store,
                                              const StreamOptions& options);
  virtual ~Stream() = default;

  // Gathers up to `sample_count_max` samples in order, one destination a column, and
  // returns how many. A batch does not go over the end of an epoch: the last one of an
  // epoch may be short. 0: the last epoch is at its end. Waits for data.
  //
  // Requires: 0 < sample_count_max <= options.batch_samples.
  // Errors: kCorrupt, naming shard and leaf, or the sample whose image is damaged; those
  // of the store. After an error every call gives it again.
  virtual Result<std::uint64_t> Next(std::uint64_t sample_count_max,
                                     std::span<const Destination> destinations) = 0;
  // The same into a block whose memory is reused; sample_count is 0 at the end.
  Status Next(std::uint64_t sample_count_max, array::SampleBlock* batch);

  // Whether Next would give samples, the end or an error without waiting for data; else
  // waits for that, at most `timeout`. For callers who look after something else
  // meanwhile (Python's Ctrl-C).
  virtual bool WaitUntilReady(Duration /*timeout*/) { return true; }

  // After the last sample that Next gave, as if every worker had taken as many samples
  // as this one. Any number of workers that divides the lanes can go on from it.
  virtual StreamPosition position() const = 0;
  virtual StreamStatistics statistics() const = 0;
  virtual const StreamPlan& plan() const = 0;
  virtual const std::vector<array::ColumnSpec>& columns() const = 0;  // BatchColumns().

  // A leaf of the disk cache, checked, for neighbours. From any thread.
  // Errors: kNotFound, it is not there, or its bytes are wrong; kIo.
  virtual Result<Bytes> CachedLeaf(const Digest& digest) const = 0;

  // Waits until the first leaves are there, measures the link by them, and says what an
  // epoch costs. `samples_per_second` is what the caller's training takes; 0: measured
  // between calls of Next so far, or unknown.
  // Errors: those of Next.
  virtual Result<Forecast> Foresee(double samples_per_second) = 0;
};

}  // namespace dnc::stream
