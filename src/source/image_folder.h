// A folder of images, with their labels from folders of classes or from a table
// (image_listing.h). The order of samples is that of the listing, shuffled by
// options.seed: folders would give blocks of one class each.
//
// Images stay the JPEG, PNG and WebP files that they are (column x of kind image),
// or are decoded to one size (options.resize, options.crop). Either way every image
// is decoded once, so that a damaged one is found here and not while training.
//
// options.threads threads work ahead of the reader, within a few MiB, or one file
// or image a thread where these are larger. Memory besides: about 16 bytes, its
// path and its label for each image.

#pragma once

#include <memory>
#include <string>

#include "source/image_listing.h"
#include "source/sample_source.h"

namespace dnc::source {

inline constexpr std::uint64_t kImageFileBytesMax = 256 << 20;

// Errors: those of the listing; kInvalidArgument or kTooLarge, wrong sizes in
// options; kIo.
Result<std::unique_ptr<SampleSource>> OpenImageFolder(const std::string& path,
                                                      const SourceOptions& options);

}  // namespace dnc::source
