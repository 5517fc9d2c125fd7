#include "shard/picture_codec.h"

#include <jxl/decode.h>
#include <jxl/encode.h>

#include <cstring>
#include <memory>

#include "base/assert.h"

namespace dnc::shard {
namespace {

// 3 of 1 to 9: higher ones gain a few hundredths and cost many times the time.
constexpr int kEffort = 3;

// How the pictures of a chunk lie in the one that is encoded. Cells that are left over
// are 0.
struct Mosaic {
  std::size_t columns = 0;
  std::size_t rows = 0;
  std::size_t width = 0;  // In pixels.
  std::size_t height = 0;
};

// As near to a square as whole rows and columns come.
Mosaic MosaicOf(std::size_t count, const ChunkLayout& layout) {
  Mosaic mosaic;
  mosaic.columns = 1;
  while (mosaic.columns * layout.width <
         (count + mosaic.columns - 1) / mosaic.columns * layout.height) {
    ++mosaic.columns;
  }
  mosaic.rows = (count + mosaic.columns - 1) / mosaic.columns;
  mosaic.width = mosaic.columns * layout.width;
  mosaic.height = mosaic.rows * layout.height;
  return mosaic;
}

std::size_t PictureCount(std::size_t bytes, const ChunkLayout& layout) {
  const std::size_t picture = layout.plane_bytes() * layout.channels;
  DNC_ASSERT(CanHoldPictures(layout) && bytes > 0 && bytes % picture == 0);
  return bytes / picture;
}

// Where row y of picture i begins in the mosaic.
std::size_t PlaceOf(std::size_t i, std::size_t y, const Mosaic& mosaic, const ChunkLayout& layout) {
  const std::size_t row = i / mosaic.columns * layout.height + y;
  return (row * mosaic.width + i % mosaic.columns * layout.width) * layout.channels;
}

struct Close {
  void operator()(JxlEncoder* encoder) const { JxlEncoderDestroy(encoder); }
  void operator()(JxlDecoder* decoder) const { JxlDecoderDestroy(decoder); }
};

JxlPixelFormat PixelFormat(const ChunkLayout& layout) {
  return {layout.channels, JXL_TYPE_UINT8, JXL_NATIVE_ENDIAN, 0};
}

void SetUp(JxlEncoder* encoder, const Mosaic& mosaic, const ChunkLayout& layout) {
  JxlBasicInfo info;
  JxlEncoderInitBasicInfo(&info);
  info.xsize = static_cast<std::uint32_t>(mosaic.width);
  info.ysize = static_cast<std::uint32_t>(mosaic.height);
  info.bits_per_sample = 8;
  info.num_color_channels = layout.channels;
  info.uses_original_profile = JXL_TRUE;  // Lossless.
  DNC_ASSERT(JxlEncoderSetBasicInfo(encoder, &info) == JXL_ENC_SUCCESS);
  JxlColorEncoding colours;
  JxlColorEncodingSetToSRGB(&colours, layout.channels == 1 ? JXL_TRUE : JXL_FALSE);
  DNC_ASSERT(JxlEncoderSetColorEncoding(encoder, &colours) == JXL_ENC_SUCCESS);
}

}  // namespace

bool CanHoldPictures(const ChunkLayout& layout) {
  return layout.channels == 1 || (layout.channels == 3 && !layout.planar);
}

void EncodePictures(ByteSpan raw, const ChunkLayout& layout, Bytes* out) {
  const std::size_t count = PictureCount(raw.size(), layout);
  const Mosaic mosaic = MosaicOf(count, layout);
  const std::size_t row_bytes = std::size_t{layout.width} * layout.channels;
  Bytes pixels(mosaic.width * mosaic.height * layout.channels);
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t y = 0; y < layout.height; ++y) {
      std::memcpy(pixels.data() + PlaceOf(i, y, mosaic, layout),
                  raw.data() + (i * layout.height + y) * row_bytes, row_bytes);
    }
  }
  const std::unique_ptr<JxlEncoder, Close> encoder(JxlEncoderCreate(nullptr));
  DNC_ASSERT(encoder != nullptr);
  SetUp(encoder.get(), mosaic, layout);
  JxlEncoderFrameSettings* settings = JxlEncoderFrameSettingsCreate(encoder.get(), nullptr);
  DNC_ASSERT(JxlEncoderSetFrameLossless(settings, JXL_TRUE) == JXL_ENC_SUCCESS);
  DNC_ASSERT(JxlEncoderFrameSettingsSetOption(settings, JXL_ENC_FRAME_SETTING_EFFORT, kEffort) ==
             JXL_ENC_SUCCESS);
  const JxlPixelFormat format = PixelFormat(layout);
  DNC_ASSERT(JxlEncoderAddImageFrame(settings, &format, pixels.data(), pixels.size()) ==
             JXL_ENC_SUCCESS);
  JxlEncoderCloseInput(encoder.get());

  std::size_t end = out->size();
  JxlEncoderStatus status = JXL_ENC_NEED_MORE_OUTPUT;
  while (status == JXL_ENC_NEED_MORE_OUTPUT) {
    out->resize(end + raw.size() / 2 + 4096);
    auto* next = reinterpret_cast<std::uint8_t*>(out->data() + end);
    std::size_t room = out->size() - end;
    status = JxlEncoderProcessOutput(encoder.get(), &next, &room);
    end = out->size() - room;
  }
  DNC_ASSERT(status == JXL_ENC_SUCCESS);
  out->resize(end);
}

bool DecodePictures(ByteSpan stored, const ChunkLayout& layout, Bytes* scratch,
                    std::span<std::byte> raw) {
  const std::size_t count = PictureCount(raw.size(), layout);
  const Mosaic mosaic = MosaicOf(count, layout);
  const std::size_t mosaic_bytes = mosaic.width * mosaic.height * layout.channels;
  if (scratch->size() < mosaic_bytes) scratch->resize(mosaic_bytes);
  const std::unique_ptr<JxlDecoder, Close> decoder(JxlDecoderCreate(nullptr));
  if (decoder == nullptr ||
      JxlDecoderSubscribeEvents(decoder.get(), JXL_DEC_BASIC_INFO | JXL_DEC_FULL_IMAGE) !=
          JXL_DEC_SUCCESS ||
      JxlDecoderSetInput(decoder.get(), reinterpret_cast<const std::uint8_t*>(stored.data()),
                         stored.size()) != JXL_DEC_SUCCESS) {
    return false;
  }
  JxlDecoderCloseInput(decoder.get());
  const JxlPixelFormat format = PixelFormat(layout);
  bool known = false;
  for (;;) {
    const JxlDecoderStatus status = JxlDecoderProcessInput(decoder.get());
    if (status == JXL_DEC_BASIC_INFO) {
      // Before a pixel is decoded, so that nothing larger is ever allocated.
      JxlBasicInfo info;
      if (JxlDecoderGetBasicInfo(decoder.get(), &info) != JXL_DEC_SUCCESS ||
          info.xsize != mosaic.width || info.ysize != mosaic.height || info.bits_per_sample != 8 ||
          info.num_color_channels != layout.channels || info.num_extra_channels != 0 ||
          info.have_animation || info.orientation != JXL_ORIENT_IDENTITY) {
        return false;
      }
      known = true;
    } else if (status == JXL_DEC_NEED_IMAGE_OUT_BUFFER && known) {
      if (JxlDecoderSetImageOutBuffer(decoder.get(), &format, scratch->data(), mosaic_bytes) !=
          JXL_DEC_SUCCESS) {
        return false;
      }
    } else if (status == JXL_DEC_FULL_IMAGE) {
      break;
    } else {
      return false;
    }
  }
  const std::size_t row_bytes = std::size_t{layout.width} * layout.channels;
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t y = 0; y < layout.height; ++y) {
      std::memcpy(raw.data() + (i * layout.height + y) * row_bytes,
                  scratch->data() + PlaceOf(i, y, mosaic, layout), row_bytes);
    }
  }
  return true;
}

}  // namespace dnc::shard
