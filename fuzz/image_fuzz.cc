// A JPEG, PNG or WebP, decoded and resized. libjpeg-turbo, libpng and libwebp come
// from the system without instrumentation; what is watched is our use of them.

#include "base/bytes.h"
#include "image/image.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static std::mutex large_images;
  static dnc::image::ImageDecoder decoder(&large_images);
  std::byte out[3 * 5 * 7];
  const dnc::ByteSpan bytes(reinterpret_cast<const std::byte*>(data), size);
  static_cast<void>(dnc::image::ReadImageInfo(bytes));
  static_cast<void>(decoder.Decode(bytes, dnc::image::ImageSize{5, 7}, out));
  return 0;
}
