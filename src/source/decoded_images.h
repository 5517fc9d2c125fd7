// Decodes the images of a source, where the user wants pixels (--resize, --crop).

#pragma once

#include <memory>
#include <string>

#include "image/image.h"
#include "source/sample_source.h"

namespace dnc::source {

// `inner` with its column "x" of images as arrays of pixels, decoded by options.threads
// threads; or `inner` itself, if options has no size. An "x" that has pixels already is
// formed as it is (array_images.h). `name` is used in messages. Memory:
// one block of pixels beside the inner one.
// Errors: kInvalidArgument, x is no column of images, or a size that cannot be.
Result<std::unique_ptr<SampleSource>> DecodeImages(std::unique_ptr<SampleSource> inner,
                                                   const std::string& name,
                                                   const SourceOptions& options);

// Whether options.resize, crop and grayscale go together, and give pixels that are not
// too many. Errors: kInvalidArgument, kTooLarge.
Status CheckImageOptions(const std::string& name, const SourceOptions& options);

// "198x64", width first.
std::string SizeText(image::ImageSize size);
// ", resized to 4x4, cropped to 2x1, grayscale", as far as it is wanted.
std::string DescribePixelForm(const image::PixelForm& form);

}  // namespace dnc::source
