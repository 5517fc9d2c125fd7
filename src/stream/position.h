// Where a stream stands between two samples: small, and enough to go on with the
// very next sample, in another process, on another machine, with another budget or
// another number of workers. It serialises to one JSON object.
//
// An epoch's samples are dealt to `lanes` lanes, one after another: sample i of the
// epoch's order is row i / lanes of lane i % lanes. A worker takes a group of
// neighbouring lanes; `rows` says how many samples of each lane are consumed.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/result.h"

namespace dnc::stream {

inline constexpr std::uint32_t kLanesMax = 1024;

struct StreamPosition {
  Digest data;  // DataDigest of the manifest and split.
  std::string split = "train";
  bool shuffle = true;
  std::uint64_t seed = 0;
  // What the order depends on beside these; derived where a stream begins.
  std::uint64_t window_samples = 0;
  std::uint32_t run_blocks = 1;
  std::uint64_t epoch = 0;          // From 0.
  std::vector<std::uint64_t> rows;  // One a lane.
  // Samples repeated so far because the next were not there (StreamOptions::reuse_max).
  std::uint64_t samples_repeated = 0;

  // Of the epoch, by all workers.
  std::uint64_t samples_consumed() const;

  friend bool operator==(const StreamPosition&, const StreamPosition&) = default;
};

// {"format": "divide-n-conquer position", "version": 1, ...}, without line ends.
std::string FormatPosition(const StreamPosition& position);
// `name` is used in messages. Errors: kCorrupt, not a position; kUnsupported, a later
// version.
Result<StreamPosition> ParsePosition(std::string_view json, const std::string& name);

}  // namespace dnc::stream
