#include <cstring>
#include <opencv2/imgproc.hpp>

#include "base/assert.h"
#include "image/image.h"

namespace dnc::image {
namespace {

cv::Mat View(const std::byte* pixels, ImageSize size) {
  return {static_cast<int>(size.height), static_cast<int>(size.width), CV_8UC3,
          const_cast<std::byte*>(pixels)};
}

}  // namespace

Status ResizeRgb(ByteSpan pixels, ImageSize size, std::span<std::byte> out, ImageSize out_size) {
  DNC_ASSERT(pixels.size() == std::size_t{3} * size.width * size.height);
  DNC_ASSERT(out.size() == std::size_t{3} * out_size.width * out_size.height);
  if (size.width == out_size.width && size.height == out_size.height) {
    std::memcpy(out.data(), pixels.data(), out.size());
    return {};
  }
  const bool shrinks = size.width >= out_size.width && size.height >= out_size.height;
  try {
    // Threads are ours: a pool inside each of them would only be in the way. Once
    // only, since OpenCV crashes where two threads say it together.
    static const bool is_single_threaded = (cv::setNumThreads(1), true);
    DNC_ASSERT(is_single_threaded);
    cv::Mat resized = View(out.data(), out_size);
    cv::resize(View(pixels.data(), size), resized, resized.size(), 0, 0,
               shrinks ? cv::INTER_AREA : cv::INTER_LINEAR);
    DNC_ASSERT(resized.data == reinterpret_cast<const uchar*>(out.data()));
  } catch (const std::exception& error) {
    return Error{ErrorCode::kInternal, std::string("OpenCV could not resize: ") + error.what()};
  }
  return {};
}

}  // namespace dnc::image
