// Where samples go when they leave in a format that other programs read: npy,
// npz, csv, WebDataset, MDS. The inverse of source::SampleSource, and as bounded
// in memory: a sink holds a few blocks, whatever the number of samples.
//
// Nothing is half-written: what a sink makes is there under its own name once
// Finish() has returned, and a sink that is destroyed before that removes what it
// made. A sink never replaces what was there before it.
//
// Each format has a Create... function of its own, in a header of its own; it
// takes the columns, since not every format can hold every column, and says so
// before the first sample. Not thread-safe.

#pragma once

#include <cstdint>

#include "array/column.h"
#include "base/result.h"

namespace dnc::sink {

class SampleSink {
 public:
  virtual ~SampleSink() = default;

  // Adds samples. The block has the columns that the sink was created with, laid
  // out as array::SampleBlock says; it need not outlive the call.
  // Errors: kUnsupported or kTooLarge, a sample that the format cannot hold, by
  // its number; kResourceExhausted, the disk is full; kIo. After one the sink can
  // only be destroyed.
  virtual Status Write(const array::SampleBlock& block) = 0;

  // Completes what was written, durably. Called once, last; without any sample it
  // still makes what the format's readers take as empty, or is kInvalidArgument.
  // Errors: as Write.
  virtual Status Finish() = 0;

  // Bytes of files so far.
  virtual std::uint64_t bytes_written() const = 0;
};

}  // namespace dnc::sink
