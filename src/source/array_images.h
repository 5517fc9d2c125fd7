// Resizes, crops and greys images that come as arrays of pixels, such as those of npy or
// .mat files; encoded ones are decoded to what is wanted at once (decoded_images.h).

#pragma once

#include <memory>
#include <string>

#include "source/sample_source.h"

namespace dnc::source {

// `inner` with its column "x" of (height, width), (height, width, 1) or (height, width, 3)
// uint8 as options.resize, crop and grayscale want it, in that order; or `inner` itself, if
// they want nothing. Grey images are (height, width). `name` is used in messages. Memory:
// one block of pixels beside the inner one.
// Errors: kInvalidArgument, x is of another type or shape (saying which), or smaller than
// the crop; those of CheckImageOptions.
Result<std::unique_ptr<SampleSource>> FormArrayImages(std::unique_ptr<SampleSource> inner,
                                                      const std::string& name,
                                                      const SourceOptions& options);

}  // namespace dnc::source
