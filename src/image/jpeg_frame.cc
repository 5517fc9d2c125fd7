#include "image/jpeg_frame.h"

namespace dnc::image {
namespace {

constexpr unsigned kBaseline = 0xc0;  // SOF0, and up to SOF15 but for the three below.
constexpr unsigned kHuffmanTables = 0xc4;
constexpr unsigned kExtension = 0xc8;
constexpr unsigned kArithmeticTables = 0xcc;
constexpr unsigned kProgressive = 0xc2;
constexpr unsigned kProgressiveArithmetic = 0xca;
constexpr unsigned kScan = 0xda;

bool IsFrame(unsigned marker) {
  return marker >= kBaseline && marker <= kBaseline + 15 && marker != kHuffmanTables &&
         marker != kExtension && marker != kArithmeticTables;
}

}  // namespace

JpegFrame FindJpegFrame(ByteSpan bytes) {
  const auto at = [&](std::size_t i) { return std::to_integer<unsigned>(bytes[i]); };
  JpegFrame frame;
  unsigned component_count = 0;
  std::size_t i = 2;
  while (i + 4 <= bytes.size()) {
    if (at(i) != 0xff || at(i + 1) == 0xff) {  // Fill bytes.
      ++i;
      continue;
    }
    const unsigned marker = at(i + 1);
    const std::size_t length = at(i + 2) << 8 | at(i + 3);
    if (IsFrame(marker) && i + 9 < bytes.size()) {
      frame.size = {at(i + 7) << 8 | at(i + 8), at(i + 5) << 8 | at(i + 6)};
      component_count = at(i + 9);
      if (marker == kProgressive || marker == kProgressiveArithmetic) frame.is_buffered = true;
      if (frame.is_buffered) return frame;
    }
    if (marker == kScan) {
      frame.is_buffered = i + 4 < bytes.size() && at(i + 4) < component_count;
      return frame;
    }
    i += 2 + length;
  }
  return frame;
}

}  // namespace dnc::image
