// All that comes before dividing: the source is opened, cut to a part of it if it shares
// the work with others, turned into features, and judged by its first samples.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "divide/divide.h"
#include "divide/estimate.h"
#include "divide/part_source.h"
#include "image/features.h"
#include "shard/manifest.h"
#include "source/sample_source.h"

namespace dnc::divide {

struct PrepareOptions {
  std::string location;  // As source::OpenSource takes it, or with `raw` any path.
  source::SourceOptions source;
  bool raw = false;  // Files as bytes; divide/raw_source.h.
  std::optional<Part> part;
  std::optional<image::HogOptions> hog;
  bool standardise = false;
  // Called now and then while the samples are read before the dividing; false cancels.
  CountCallback progress;
};

// Opens the source and completes `divide`: steps, parameters, and what a part needs to
// have names of its own in a store that it shares.
// Errors: those of OpenSource, OpenPart and the steps; kInvalidArgument, options that do
// not go together.
Result<std::unique_ptr<PeekSource>> PrepareSource(const PrepareOptions& options,
                                                  DivideOptions* divide);

}  // namespace dnc::divide
