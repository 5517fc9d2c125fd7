// What dividing a source would give, judged by its first samples: they are read,
// compressed and thrown away, and kept for the run that follows.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "base/result.h"
#include "base/time.h"
#include "divide/divide.h"
#include "source/sample_source.h"

namespace dnc::divide {

// Reads ahead, and gives what it has read once more. At most one Peek().
class PeekSource : public source::SampleSource {
 public:
  // Samples of up to about `bytes_max`, at least one. Errors: those of the source.
  virtual Result<const array::SampleBlock*> Peek(std::uint64_t bytes_max) = 0;
  // Whether Peek() has seen the end.
  virtual bool ended() const = 0;
};

std::unique_ptr<PeekSource> MakePeekSource(std::unique_ptr<source::SampleSource> inner);

struct Estimate {
  // None where the source does not tell how long it is.
  std::optional<std::uint64_t> samples;
  std::optional<std::uint64_t> raw_bytes;
  std::optional<std::uint64_t> stored_bytes;
  std::optional<std::uint64_t> shards;
  std::optional<Duration> duration;
  bool exact = false;  // All samples were seen.
  // Of the samples that were measured.
  std::uint64_t measured_samples = 0;
  std::uint64_t measured_bytes = 0;
  double ratio = 1;  // Stored by raw bytes.
};

// Takes a moment: a few MiB are read and compressed.
// Errors: those of the source.
Result<Estimate> EstimateDividing(PeekSource* source, const DivideOptions& options);

}  // namespace dnc::divide
