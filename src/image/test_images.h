// Helpers for this room's tests: small JPEGs and PNGs, made in memory.

#pragma once

#include <png.h>
#include <turbojpeg.h>
#include <webp/encode.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/assert.h"
#include "image/image.h"

namespace dnc::image {

using Rgb = std::array<std::uint8_t, 3>;
using Painter = std::function<Rgb(std::uint32_t x, std::uint32_t y)>;

inline std::vector<std::uint8_t> Paint(ImageSize size, const Painter& painter) {
  std::vector<std::uint8_t> pixels;
  for (std::uint32_t y = 0; y < size.height; ++y) {
    for (std::uint32_t x = 0; x < size.width; ++x) {
      const Rgb rgb = painter(x, y);
      pixels.insert(pixels.end(), rgb.begin(), rgb.end());
    }
  }
  return pixels;
}

inline Painter Plain(Rgb rgb) {
  return [rgb](std::uint32_t, std::uint32_t) { return rgb; };
}

// `format` is a TJPF_ constant, `flags` for example TJFLAG_PROGRESSIVE.
inline std::string EncodeJpeg(const std::vector<std::uint8_t>& pixels, ImageSize size,
                              int format = TJPF_RGB, int subsampling = TJSAMP_444, int flags = 0) {
  tjhandle handle = tjInitCompress();
  unsigned char* out = nullptr;
  unsigned long out_size = 0;
  DNC_ASSERT(tjCompress2(handle, pixels.data(), static_cast<int>(size.width), 0,
                         static_cast<int>(size.height), format, &out, &out_size, subsampling, 95,
                         flags) == 0);
  std::string jpeg(reinterpret_cast<const char*>(out), out_size);
  tjFree(out);
  tjDestroy(handle);
  return jpeg;
}

inline std::string Jpeg(ImageSize size, const Painter& painter) {
  return EncodeJpeg(Paint(size, painter), size);
}

// `format` is a PNG_FORMAT_ constant; 16-bit for the linear ones.
inline std::string EncodePng(const void* pixels, ImageSize size, std::uint32_t format,
                             const void* colormap = nullptr, std::uint32_t colormap_entries = 0) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = size.width;
  image.height = size.height;
  image.format = format;
  image.colormap_entries = colormap_entries;
  png_alloc_size_t bytes = 0;
  DNC_ASSERT(png_image_write_to_memory(&image, nullptr, &bytes, 0, pixels, 0, colormap) != 0);
  std::string png(bytes, '\0');
  DNC_ASSERT(png_image_write_to_memory(&image, png.data(), &bytes, 0, pixels, 0, colormap) != 0);
  png.resize(bytes);
  return png;
}

inline std::string Png(ImageSize size, const Painter& painter) {
  return EncodePng(Paint(size, painter).data(), size, PNG_FORMAT_RGB);
}

// A quality of 100 is lossless.
inline std::string Webp(ImageSize size, const Painter& painter, int quality) {
  const std::vector<std::uint8_t> pixels = Paint(size, painter);
  const int width = static_cast<int>(size.width);
  const int height = static_cast<int>(size.height);
  std::uint8_t* out = nullptr;
  const std::size_t bytes =
      quality == 100 ? WebPEncodeLosslessRGB(pixels.data(), width, height, 3 * width, &out)
                     : WebPEncodeRGB(pixels.data(), width, height, 3 * width,
                                     static_cast<float>(quality), &out);
  DNC_ASSERT(bytes > 0);
  std::string webp(reinterpret_cast<const char*>(out), bytes);
  WebPFree(out);
  return webp;
}

}  // namespace dnc::image
