// A folder with a folder of images per class. Class folders in sorted order give
// the labels; hidden files and files beside the class folders are left out. The
// order of samples is the sorted order of all paths, shuffled by options.seed.
//
// Images are decoded by options.threads threads ahead of the reader, into a ring
// of a few MiB. Memory besides: about 16 bytes and its name for each file.

#pragma once

#include <memory>
#include <string>

#include "source/sample_source.h"

namespace dnc::source {

inline constexpr std::size_t kImageClassCountMax = 1 << 16;
inline constexpr std::uint64_t kImageFileBytesMax = 256 << 20;

// Errors: kInvalidArgument, an empty folder, no class folder, one without images
// or with folders inside, or no options.resize; kTooLarge, too many classes or too
// large a size; kIo.
Result<std::unique_ptr<SampleSource>> OpenImageFolder(const std::string& path,
                                                      const SourceOptions& options);

}  // namespace dnc::source
