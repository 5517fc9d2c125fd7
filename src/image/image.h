// Decodes one JPEG or PNG, recognised by its content, and resizes it to RGB of a
// fixed size. The bytes may come from strangers: dimensions are checked before
// anything is allocated, and a damaged image is an error, never half grey.
//
// JPEGs are decoded at the smallest of 1/8, 1/4, 1/2 or full size that still
// covers the result (the scaled inverse DCT of libjpeg-turbo), which is most of
// the speed. Grey becomes three equal channels; alpha is dropped, CMYK converted;
// 16 bits become 8. The orientation in EXIF is not applied, as Keras does not.

#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

#include "base/bytes.h"
#include "base/result.h"

namespace dnc::image {

struct ImageSize {
  std::uint32_t width = 0;
  std::uint32_t height = 0;

  friend bool operator==(const ImageSize&, const ImageSize&) = default;
};

inline constexpr std::uint64_t kImagePixelsMax = 1 << 28;    // As the file states.
inline constexpr std::uint64_t kDecodedPixelsMax = 1 << 26;  // As held in memory.

enum class ImageKind { kUnknown, kJpeg, kPng };
ImageKind RecogniseImage(ByteSpan start);

// Not thread-safe; one a thread.
class ImageDecoder {
 public:
  // Images that need more than 32 MiB are decoded one at a time, by whoever
  // holds `large_images`, which all decoders share and which must outlive them.
  explicit ImageDecoder(std::mutex* large_images);
  ~ImageDecoder();
  ImageDecoder(ImageDecoder&&) noexcept;

  // Fills `out` with size.height rows of size.width RGB pixels.
  // Requires: out.size() == 3 * size.width * size.height.
  // Errors: kCorrupt, with the decoder's reason; kUnsupported, neither JPEG nor
  // PNG; kTooLarge. Messages don't name the file, which is not known here.
  Status Decode(ByteSpan bytes, ImageSize size, std::span<std::byte> out);

 private:
  struct Impl;  // Keeps TurboJPEG, libpng and OpenCV out of this header.
  std::unique_ptr<Impl> impl_;
};

// Resizes RGB rows without gaps: by area where both sides shrink, else linearly.
// Requires: both spans have 3 bytes a pixel of their size.
// Errors: kInternal, OpenCV refused.
Status ResizeRgb(ByteSpan pixels, ImageSize size, std::span<std::byte> out, ImageSize out_size);

}  // namespace dnc::image
