#include "image/image.h"

#include <png.h>
#include <turbojpeg.h>
#include <webp/decode.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <vector>

#include "base/assert.h"
#include "image/features.h"
#include "image/jpeg_frame.h"

namespace dnc::image {
namespace {

constexpr std::uint64_t kLargeBytes = 32 << 20;

std::uint64_t PixelCount(ImageSize size) { return std::uint64_t{size.width} * size.height; }

std::string SizeText(ImageSize size) {
  return std::to_string(size.width) + "x" + std::to_string(size.height);
}

Status CheckSize(ImageSize size, std::uint64_t pixels_max) {
  if (PixelCount(size) <= pixels_max) return {};
  return Error{ErrorCode::kTooLarge, "the image is " + SizeText(size) + " pixels; at most " +
                                         std::to_string(pixels_max) + " pixels are decoded"};
}

Error UnknownKind(ByteSpan bytes) {
  return {ErrorCode::kUnsupported,
          bytes.empty() ? "the file is empty" : "neither JPEG nor PNG nor WebP"};
}

Error CorruptJpeg(const std::string& reason) {
  return {ErrorCode::kCorrupt, "corrupt JPEG: " + reason};
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

Status CheckWebp(VP8StatusCode code) {
  switch (code) {
    case VP8_STATUS_OK:
      return {};
    case VP8_STATUS_OUT_OF_MEMORY:
      return Error{ErrorCode::kResourceExhausted, "no memory to decode a WebP"};
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return Error{ErrorCode::kUnsupported, "a WebP with features that libwebp does not know"};
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
      return Error{ErrorCode::kCorrupt, "corrupt WebP: it ends early; the file is truncated"};
    default:
      return Error{ErrorCode::kCorrupt, "corrupt WebP: its bitstream is damaged"};
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
  Status DecodeWebp(ByteSpan bytes);
  Status DecodeKind(ByteSpan bytes, ImageSize wanted);
  Status Shape(const PixelForm& form, std::span<std::byte> out);
  // Locks if decoding takes a large amount of memory.
  std::unique_lock<std::mutex> LockIfLarge(std::uint64_t bytes) {
    return bytes > kLargeBytes ? std::unique_lock(*large_images) : std::unique_lock<std::mutex>();
  }
  Status JudgeJpegFailure() const;
  // Of what a large image took.
  void LetGo() {
    for (Bytes* buffer : {&pixels, &resized, &cropped}) {
      if (buffer->capacity() > kLargeBytes) *buffer = {};
    }
    lock = {};
  }

  std::mutex* large_images;
  tjhandle jpeg = nullptr;
  Bytes pixels;   // The decoded image, RGB.
  Bytes resized;  // Where more follows than a resize.
  Bytes cropped;
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
  const bool is_buffered = FindJpegFrame(bytes).is_buffered;
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

Status ImageDecoder::Impl::DecodeWebp(ByteSpan bytes) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0) {
    return Error{ErrorCode::kInternal, "libwebp is of another version than its header"};
  }
  DNC_TRY(CheckWebp(WebPGetFeatures(data, bytes.size(), &config.input)));
  if (config.input.has_animation != 0) {
    return Error{ErrorCode::kUnsupported, "an animated WebP; expected a single picture"};
  }
  size = {static_cast<std::uint32_t>(config.input.width),
          static_cast<std::uint32_t>(config.input.height)};
  DNC_TRY(CheckSize(size, kDecodedPixelsMax));
  lock = LockIfLarge(PixelCount(size) * 7);  // Lossless pixels are held as ARGB too.
  pixels.resize(PixelCount(size) * 3);
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = reinterpret_cast<std::uint8_t*>(pixels.data());
  config.output.u.RGBA.stride = static_cast<int>(size.width) * 3;
  config.output.u.RGBA.size = pixels.size();
  const VP8StatusCode code = WebPDecode(data, bytes.size(), &config);
  WebPFreeDecBuffer(&config.output);
  return CheckWebp(code);
}

Status ImageDecoder::Impl::DecodeKind(ByteSpan bytes, ImageSize wanted) {
  Status status;
  switch (RecogniseImage(bytes)) {
    case ImageKind::kJpeg:
      status = DecodeJpeg(bytes, wanted);
      if (!status.ok()) DropJpegDecoder();
      return status;
    case ImageKind::kPng:
      return DecodePng(bytes);
    case ImageKind::kWebp:
      return DecodeWebp(bytes);
    case ImageKind::kUnknown:
      break;
  }
  return UnknownKind(bytes);
}

// Each step writes to `out` if it is the last.
Status ImageDecoder::Impl::Shape(const PixelForm& form, std::span<std::byte> out) {
  ByteSpan from = pixels;
  ImageSize at = size;
  if (form.resize) {
    const bool is_last = !form.crop && !form.grayscale;
    if (!is_last) resized.resize(PixelCount(*form.resize) * 3);
    const std::span<std::byte> to = is_last ? out : std::span(resized);
    Resize(from, at, 3, to, *form.resize);
    from = to;
    at = *form.resize;
  }
  if (form.crop) {
    if (form.crop->width > at.width || form.crop->height > at.height) {
      return Error{ErrorCode::kInvalidArgument, "the image is " + SizeText(at) +
                                                    " pixels; it cannot be cropped to " +
                                                    SizeText(*form.crop) + "; resize it too"};
    }
    if (form.grayscale) cropped.resize(PixelCount(*form.crop) * 3);
    const std::span<std::byte> to = form.grayscale ? std::span(cropped) : out;
    CentreCrop(from, at, 3, to, *form.crop);
    from = to;
  }
  if (form.grayscale) Grayscale(from, out);
  return {};
}

ImageKind RecogniseImage(ByteSpan start) {
  const std::string_view text = AsText(start);
  if (text.starts_with("\xff\xd8\xff")) return ImageKind::kJpeg;
  if (text.starts_with("\x89PNG\r\n\x1a\n")) return ImageKind::kPng;
  if (text.starts_with("RIFF") && text.size() >= 12 && text.substr(8, 4) == "WEBP") {
    return ImageKind::kWebp;
  }
  return ImageKind::kUnknown;
}

const char* ImageKindName(ImageKind kind) {
  constexpr const char* kNames[] = {"unknown", "JPEG", "PNG", "WebP"};
  return kNames[static_cast<std::size_t>(kind)];
}

Result<ImageInfo> ReadImageInfo(ByteSpan start) {
  ImageInfo info{.kind = RecogniseImage(start)};
  switch (info.kind) {
    case ImageKind::kJpeg:
      info.size = FindJpegFrame(start).size;
      break;
    case ImageKind::kPng: {
      constexpr std::size_t kHeaderAt = 8 + 8;  // Behind the signature, a length and "IHDR".
      if (start.size() < kHeaderAt + 8) break;
      std::uint32_t sides[2];
      std::memcpy(sides, start.data() + kHeaderAt, sizeof sides);
      info.size = {__builtin_bswap32(sides[0]), __builtin_bswap32(sides[1])};
      break;
    }
    case ImageKind::kWebp: {
      WebPBitstreamFeatures features;
      if (WebPGetFeatures(reinterpret_cast<const std::uint8_t*>(start.data()), start.size(),
                          &features) == VP8_STATUS_OK) {
        info.size = {static_cast<std::uint32_t>(features.width),
                     static_cast<std::uint32_t>(features.height)};
      }
      break;
    }
    case ImageKind::kUnknown:
      return UnknownKind(start);
  }
  if (info.size.width == 0 || info.size.height == 0) {
    return Error{ErrorCode::kCorrupt, std::string("corrupt ") + ImageKindName(info.kind) +
                                          ": its size is not in the first " +
                                          std::to_string(start.size()) + " bytes"};
  }
  return info;
}

Status CheckPixelForm(const PixelForm& form) {
  const auto wrong = [](const std::string& what) {
    return Error{ErrorCode::kInvalidArgument, what};
  };
  if (!form.has_size()) {
    return wrong("decoded images need one size for all: give one to resize or to crop them to");
  }
  for (const std::optional<ImageSize>& size : {form.resize, form.crop}) {
    if (!size) continue;
    if (PixelCount(*size) == 0) return wrong("no image can be " + SizeText(*size) + " pixels");
    DNC_TRY(CheckSize(*size, kDecodedPixelsMax));
  }
  if (form.resize && form.crop &&
      (form.crop->width > form.resize->width || form.crop->height > form.resize->height)) {
    return wrong("images resized to " + SizeText(*form.resize) + " cannot be cropped to " +
                 SizeText(*form.crop));
  }
  return {};
}

ImageDecoder::ImageDecoder(std::mutex* large_images)
    : impl_(std::make_unique<Impl>(large_images)) {}
ImageDecoder::~ImageDecoder() = default;
ImageDecoder::ImageDecoder(ImageDecoder&&) noexcept = default;

Status ImageDecoder::Decode(ByteSpan bytes, const PixelForm& form, std::span<std::byte> out) {
  DNC_ASSERT(form.has_size() && out.size() == form.bytes());
  // A crop alone is cut from all the pixels that the file has.
  constexpr ImageSize kFull{UINT32_MAX, UINT32_MAX};
  Status status = impl_->DecodeKind(bytes, form.resize.value_or(kFull));
  if (status.ok()) status = impl_->Shape(form, out);
  impl_->LetGo();
  return status;
}

Status ImageDecoder::Check(ByteSpan bytes) {
  const Status status = impl_->DecodeKind(bytes, {1, 1});
  impl_->LetGo();
  return status;
}

}  // namespace dnc::image
