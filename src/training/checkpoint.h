// A training run's state between two batches, in one file: enough to go on to the
// same bytes as an undisturbed run. docs/formats/checkpoint.md fixes the bytes.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/result.h"
#include "trainer/trainer.h"

namespace dnc::training {

struct EpochReport {
  std::uint32_t epoch = 0;  // From 1.
  trainer::Totals train;
  std::optional<trainer::Totals> validation;
  std::uint64_t steps = 0;  // Optimizer steps of the run until here.
  double seconds = 0;       // That the epoch and its validation took.
};

struct Checkpoint {
  Digest run;  // Of all that the result depends on; see RunDigest.
  std::uint32_t epochs_done = 0;
  std::uint64_t samples_done = 0;  // Of the epoch under way.
  trainer::Totals totals;          // Of the epoch under way.
  double seconds = 0;              // Likewise.
  std::vector<EpochReport> history;
  std::vector<float> weights;
  Bytes optimizer_state;
};

// Writes atomically and durably.
Status SaveCheckpoint(const Checkpoint& checkpoint, const std::string& path);

// Errors: kNotFound; kCorrupt, any byte changed; kUnsupported, a later version;
// kInvalidArgument, of another run than `run` (model, data or settings changed) or
// with another count of weights.
Result<Checkpoint> LoadCheckpoint(const std::string& path, const Digest& run,
                                  std::uint64_t weight_count);

}  // namespace dnc::training
