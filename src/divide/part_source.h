// One of several parts of a source: a contiguous range of its samples. All parts
// together have every sample once, so that several processes divide one source.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "source/sample_source.h"

namespace dnc::divide {

struct Part {
  std::uint32_t index = 1;  // From 1.
  std::uint32_t count = 1;

  friend bool operator==(const Part&, const Part&) = default;
};

// "2/8". Errors: kInvalidArgument.
Result<Part> ParsePart(const std::string& text);

// Opens the source from its start.
using SourceOpener = std::function<Result<std::unique_ptr<source::SampleSource>>()>;
// Called with the samples so far; false cancels.
using CountCallback = std::function<bool(std::uint64_t)>;

struct OpenedPart {
  std::unique_ptr<source::SampleSource> source;
  std::uint64_t first_sample = 0;
  // Where the part begins at a window of splits (divide/split.h), that window, so that
  // every sample falls into the split that it would have without parts; else 0.
  std::uint64_t first_split_window = 0;
};

// Opens part `part` of the source. A source that does not know how many samples it has
// (or knows an upper bound only: `count_exact` is false) is read once to count them.
// Errors: kInvalidArgument, fewer samples than parts; kCancelled; those of `open`.
Result<OpenedPart> OpenPart(const SourceOpener& open, const Part& part, bool count_exact,
                            const CountCallback& progress = {});

// How many samples a source has, by passing over them.
Result<std::uint64_t> CountSamples(source::SampleSource* source, const CountCallback& progress);

}  // namespace dnc::divide
