#include "image/image.h"

#include <png.h>
#include <turbojpeg.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <vector>

#include "base/assert.h"

namespace dnc::image {
namespace {

constexpr std::uint64_t kLargeBytes = 32 << 20;

std::uint64_t PixelCount(ImageSize size) { return std::uint64_t{size.width} * size.height; }

Status CheckSize(ImageSize size, std::uint64_t pixels_max) {
  if (PixelCount(size) <= pixels_max) return {};
  return Error{ErrorCode::kTooLarge, "the image is " + std::to_string(size.width) + "x" +
                                         std::to_string(size.height) + " pixels; at most " +
                                         std::to_string(pixels_max) + " pixels are decoded"};
}

Error CorruptJpeg(const std::string& reason) {
  return {ErrorCode::kCorrupt, "corrupt JPEG: " + reason};
}

// Whether libjpeg must hold all coefficients of the image at once: a progressive
// one, or one whose components come in scans of their own. Walks the markers up to
// the first scan; libjpeg itself reports whatever is malformed.
bool IsBuffered(ByteSpan bytes) {
  const auto at = [&](std::size_t i) { return std::to_integer<unsigned>(bytes[i]); };
  unsigned component_count = 0;
  std::size_t i = 2;
  while (i + 4 <= bytes.size()) {
    if (at(i) != 0xff || at(i + 1) == 0xff) {  // Fill bytes.
      ++i;
      continue;
    }
    const unsigned marker = at(i + 1);
    const std::size_t length = at(i + 2) << 8 | at(i + 3);
    if (marker == 0xc2 || marker == 0xca) return true;
    if ((marker == 0xc0 || marker == 0xc1 || marker == 0xc9) && i + 9 < bytes.size()) {
      component_count = at(i + 9);
    }
    if (marker == 0xda) return i + 4 < bytes.size() && at(i + 4) < component_count;
    i += 2 + length;
  }
  return false;
}

// The smallest power of two by which the decoder may divide without falling below
// the wanted size.
tjscalingfactor ChooseScale(ImageSize size, ImageSize wanted) {
  for (const int denominator : {8, 4, 2}) {
    const tjscalingfactor scale{1, denominator};
    if (TJSCALED(size.width, scale) >= wanted.width &&
        TJSCALED(size.height, scale) >= wanted.height) {
      return scale;
    }
  }
  return {1, 1};
}

// Adobe's programs, the only ones that write CMYK JPEGs, store it inverted.
void InvertedCmykToRgb(ByteSpan cmyk, std::span<std::byte> rgb) {
  for (std::size_t i = 0; i < cmyk.size() / 4; ++i) {
    const unsigned key = std::to_integer<unsigned>(cmyk[4 * i + 3]);
    for (std::size_t c = 0; c < 3; ++c) {
      rgb[3 * i + c] =
          static_cast<std::byte>((std::to_integer<unsigned>(cmyk[4 * i + c]) * key + 127) / 255);
    }
  }
}

struct PngInput {
  ByteSpan rest;
  char reason[128] = "";
};

void ReadPngBytes(png_structp png, png_bytep out, png_size_t size) {
  auto* input = static_cast<PngInput*>(png_get_io_ptr(png));
  if (input->rest.size() < size) png_error(png, "it ends early; the file is truncated");
  std::memcpy(out, input->rest.data(), size);
  input->rest = input->rest.subspan(size);
}

[[noreturn]] void OnPngError(png_structp png, png_const_charp message) {
  auto* input = static_cast<PngInput*>(png_get_error_ptr(png));
  std::strncpy(input->reason, message, sizeof input->reason - 1);
  png_longjmp(png, 1);
}

void OnPngWarning(png_structp, png_const_charp) {}

// libpng reports errors by longjmp, so each of these functions calls it without
// an object in scope that has a destructor.
class PngReader {
 public:
  explicit PngReader(ByteSpan bytes) : input_{bytes} {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &input_, OnPngError, OnPngWarning);
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  bool ok() const { return png_ != nullptr && info_ != nullptr; }
  const char* reason() const { return input_.reason; }
  ImageSize size() const {
    return {png_get_image_width(png_, info_), png_get_image_height(png_, info_)};
  }

  // Reads up to the pixels and asks for 8-bit RGB.
  bool ReadHeader() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_read_fn(png_, &input_, ReadPngBytes);
    png_set_chunk_malloc_max(png_, 8 << 20);
    png_read_info(png_, info_);
    png_set_expand(png_);
    png_set_scale_16(png_);
    png_set_gray_to_rgb(png_);
    png_set_strip_alpha(png_);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    if (png_get_rowbytes(png_, info_) != std::size_t{3} * png_get_image_width(png_, info_)) {
      png_error(png_, "its pixels do not become RGB");
    }
    return true;
  }

  // To the end of the file, so that every checksum is checked.
  bool ReadPixels(png_bytepp rows) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_read_image(png_, rows);
    png_read_end(png_, nullptr);
    return true;
  }

 private:
  PngInput input_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

}  // namespace

struct ImageDecoder::Impl {
  explicit Impl(std::mutex* large) : large_images(large) {}
  ~Impl() { DropJpegDecoder(); }

  // After an error TurboJPEG may go on in the middle of the image before.
  void DropJpegDecoder() {
    if (jpeg != nullptr) tjDestroy(jpeg);
    jpeg = nullptr;
  }

  Status DecodeJpeg(ByteSpan bytes, ImageSize wanted);
  Status DecodePng(ByteSpan bytes);
  // Locks if decoding takes a large amount of memory.
  std::unique_lock<std::mutex> LockIfLarge(std::uint64_t bytes) {
    return bytes > kLargeBytes ? std::unique_lock(*large_images) : std::unique_lock<std::mutex>();
  }
  Status JudgeJpegFailure() const;

  std::mutex* large_images;
  tjhandle jpeg = nullptr;
  Bytes pixels;  // The decoded image, RGB.
  ImageSize size;
  std::unique_lock<std::mutex> lock;
};

// A warning leaves an image of sorts, mostly grey from some row on. The one that
// is harmless is padding in front of the end marker, when all rows are there.
Status ImageDecoder::Impl::JudgeJpegFailure() const {
  const std::string reason = tjGetErrorStr2(jpeg);
  if (tjGetErrorCode(jpeg) == TJERR_WARNING &&
      reason.ends_with("extraneous bytes before marker 0xd9")) {
    return {};
  }
  return CorruptJpeg(reason);
}

Status ImageDecoder::Impl::DecodeJpeg(ByteSpan bytes, ImageSize wanted) {
  if (jpeg == nullptr) jpeg = tjInitDecompress();
  if (jpeg == nullptr) return Error{ErrorCode::kResourceExhausted, "no memory for a JPEG decoder"};
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  int width = 0;
  int height = 0;
  int subsampling = 0;
  int colour = 0;
  if (tjDecompressHeader3(jpeg, data, bytes.size(), &width, &height, &subsampling, &colour) != 0) {
    DNC_TRY(JudgeJpegFailure());
  }
  if (width < 1 || height < 1) return CorruptJpeg("it holds no image");
  size = {static_cast<std::uint32_t>(width), static_cast<std::uint32_t>(height)};
  const bool is_buffered = IsBuffered(bytes);
  DNC_TRY(CheckSize(size, is_buffered ? kDecodedPixelsMax : kImagePixelsMax));
  const std::uint64_t buffered_bytes = is_buffered ? PixelCount(size) * 6 : 0;
  const tjscalingfactor scale = ChooseScale(size, wanted);
  size = {static_cast<std::uint32_t>(TJSCALED(width, scale)),
          static_cast<std::uint32_t>(TJSCALED(height, scale))};
  DNC_TRY(CheckSize(size, kDecodedPixelsMax));
  const bool is_cmyk = colour == TJCS_CMYK || colour == TJCS_YCCK;
  lock = LockIfLarge(buffered_bytes + PixelCount(size) * (is_cmyk ? 7 : 3));

  pixels.resize(PixelCount(size) * 3);
  Bytes cmyk(is_cmyk ? PixelCount(size) * 4 : 0);
  Bytes& target = is_cmyk ? cmyk : pixels;
  if (tjDecompress2(jpeg, data, bytes.size(), reinterpret_cast<unsigned char*>(target.data()),
                    static_cast<int>(size.width), 0, static_cast<int>(size.height),
                    is_cmyk ? TJPF_CMYK : TJPF_RGB, TJFLAG_LIMITSCANS) != 0) {
    DNC_TRY(JudgeJpegFailure());
  }
  if (is_cmyk) InvertedCmykToRgb(cmyk, pixels);
  return {};
}

Status ImageDecoder::Impl::DecodePng(ByteSpan bytes) {
  PngReader reader(bytes);
  if (!reader.ok()) return Error{ErrorCode::kResourceExhausted, "no memory for a PNG decoder"};
  const auto corrupt = [&] {
    return Error{ErrorCode::kCorrupt, std::string("corrupt PNG: ") + reader.reason()};
  };
  if (!reader.ReadHeader()) return corrupt();
  size = reader.size();
  DNC_TRY(CheckSize(size, kDecodedPixelsMax));
  lock = LockIfLarge(PixelCount(size) * 3);
  pixels.resize(PixelCount(size) * 3);
  std::vector<png_bytep> rows(size.height);
  for (std::size_t y = 0; y < rows.size(); ++y) {
    rows[y] = reinterpret_cast<png_bytep>(pixels.data() + y * 3 * size.width);
  }
  if (!reader.ReadPixels(rows.data())) return corrupt();
  return {};
}

ImageKind RecogniseImage(ByteSpan start) {
  const std::string_view text = AsText(start);
  if (text.starts_with("\xff\xd8\xff")) return ImageKind::kJpeg;
  if (text.starts_with("\x89PNG\r\n\x1a\n")) return ImageKind::kPng;
  return ImageKind::kUnknown;
}

ImageDecoder::ImageDecoder(std::mutex* large_images)
    : impl_(std::make_unique<Impl>(large_images)) {}
ImageDecoder::~ImageDecoder() = default;
ImageDecoder::ImageDecoder(ImageDecoder&&) noexcept = default;

Status ImageDecoder::Decode(ByteSpan bytes, ImageSize size, std::span<std::byte> out) {
  DNC_ASSERT(out.size() == PixelCount(size) * 3);
  Status status;
  switch (RecogniseImage(bytes)) {
    case ImageKind::kJpeg:
      status = impl_->DecodeJpeg(bytes, size);
      if (!status.ok()) impl_->DropJpegDecoder();
      break;
    case ImageKind::kPng:
      status = impl_->DecodePng(bytes);
      break;
    case ImageKind::kUnknown:
      status = Error{ErrorCode::kUnsupported,
                     bytes.empty() ? "the file is empty" : "neither JPEG nor PNG"};
      break;
  }
  if (status.ok()) status = ResizeRgb(impl_->pixels, impl_->size, out, size);
  if (impl_->pixels.capacity() > kLargeBytes) impl_->pixels = {};
  impl_->lock = {};
  return status;
}

}  // namespace dnc::image
