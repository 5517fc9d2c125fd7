// Decodes one picture (JPEG, PNG or WebP, recognised by its content) to RGB or grey
// pixels of a fixed size. The bytes may come from strangers: dimensions are checked
// before anything is allocated, and a damaged image is an error, never half grey.
//
// JPEGs are decoded at the smallest of 1/8, 1/4, 1/2 or full size that still
// covers the result (the scaled inverse DCT of libjpeg-turbo), which is most of
// the speed. Grey becomes three equal channels; alpha is dropped, CMYK converted;
// 16 bits become 8. The orientation in EXIF is not applied, as Keras does not: the
// pixels are those of the file as it is stored.

#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
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

enum class ImageKind { kUnknown, kJpeg, kPng, kWebp };
// Needs the first 12 bytes.
ImageKind RecogniseImage(ByteSpan start);
// "unknown", "JPEG", "PNG", "WebP".
const char* ImageKindName(ImageKind kind);

struct ImageInfo {
  ImageKind kind = ImageKind::kUnknown;
  ImageSize size;
};

// What an image states about itself, without decoding it. `start` need not be all
// of the file; a JPEG states its size behind its metadata, at times after 64 KiB.
// Errors: kCorrupt, no size is found in these bytes; kUnsupported, none of the
// kinds above.
Result<ImageInfo> ReadImageInfo(ByteSpan start);

// What pixels are made of an image: resized, then cropped, then grey.
struct PixelForm {
  std::optional<ImageSize> resize;  // Both sides are taken to it, whatever their ratio.
  std::optional<ImageSize> crop;    // The middle of it.
  bool grayscale = false;

  friend bool operator==(const PixelForm&, const PixelForm&) = default;

  bool has_size() const { return resize || crop; }
  // Requires: has_size().
  ImageSize size() const { return crop ? *crop : *resize; }
  int channels() const { return grayscale ? 1 : 3; }
  // Requires: has_size().
  std::uint64_t bytes() const {
    return std::uint64_t{size().width} * size().height * static_cast<std::uint64_t>(channels());
  }
};

// Errors: kInvalidArgument, neither resize nor crop, a side of 0, or a crop larger
// than the resized image; kTooLarge, above kDecodedPixelsMax.
Status CheckPixelForm(const PixelForm& form);

// Not thread-safe; one a thread.
class ImageDecoder {
 public:
  // Images that need more than 32 MiB are decoded one at a time, by whoever
  // holds `large_images`, which all decoders share and which must outlive them.
  explicit ImageDecoder(std::mutex* large_images);
  ~ImageDecoder();
  ImageDecoder(ImageDecoder&&) noexcept;

  // Fills `out` with rows of pixels, form.channels() bytes each.
  // Requires: CheckPixelForm(form) succeeds; out.size() == form.bytes().
  // Errors: kCorrupt, with the decoder's reason; kUnsupported, none of the kinds
  // above, or an animation; kTooLarge; kInvalidArgument, the image is smaller than
  // form.crop. Messages don't name the file, which is not known here.
  Status Decode(ByteSpan bytes, const PixelForm& form, std::span<std::byte> out);
  // To RGB, resized to `size`. Requires: out.size() == 3 * size.width * size.height.
  Status Decode(ByteSpan bytes, ImageSize size, std::span<std::byte> out) {
    return Decode(bytes, PixelForm{.resize = size}, out);
  }
  // Whether the image can be decoded, at the least cost that tells.
  // Errors: as Decode.
  Status Check(ByteSpan bytes);

 private:
  struct Impl;  // Keeps TurboJPEG, libpng and libwebp out of this header.
  std::unique_ptr<Impl> impl_;
};

}  // namespace dnc::image
