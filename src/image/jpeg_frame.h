// Finds the frame header of a JPEG (ITU-T T.81, B.2.2) by walking its markers.
// Damage is not judged here: the decoder does. Private to this room.

#pragma once

#include "base/bytes.h"
#include "image/image.h"

namespace dnc::image {

struct JpegFrame {
  ImageSize size;  // 0x0 if no frame header is in these bytes.
  // Whether libjpeg must hold all coefficients of the image at once: a progressive
  // one, or one whose components come in scans of their own.
  bool is_buffered = false;
};

// Walks up to the first scan.
JpegFrame FindJpegFrame(ByteSpan bytes);

}  // namespace dnc::image
