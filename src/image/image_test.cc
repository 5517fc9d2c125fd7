// Images come from anywhere, so these tests cut and change them on purpose.

#include "image/image.h"

#include <zlib.h>

#include "image/test_images.h"
#include "testing/testing.h"

namespace dnc::image {
namespace {

using test::FailsWith;
using test::Succeeds;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;

constexpr Rgb kRed = {255, 0, 0};

Rgb Gradient(std::uint32_t x, std::uint32_t y) {
  return {static_cast<std::uint8_t>(x * 7), static_cast<std::uint8_t>(y * 5),
          static_cast<std::uint8_t>(x + y)};
}

Result<std::vector<std::uint8_t>> Decode(const std::string& file, ImageSize size) {
  std::mutex large_images;
  ImageDecoder decoder(&large_images);
  std::vector<std::uint8_t> pixels(std::size_t{3} * size.width * size.height);
  DNC_TRY(decoder.Decode(AsBytes(file), size, std::as_writable_bytes(std::span(pixels))));
  return pixels;
}

void ExpectNear(const Result<std::vector<std::uint8_t>>& pixels, const Painter& painter,
                ImageSize size, int tolerance) {
  ASSERT_THAT(pixels, Succeeds());
  const std::vector<std::uint8_t> expected = Paint(size, painter);
  ASSERT_EQ(pixels->size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR((*pixels)[i], expected[i], tolerance) << "at byte " << i;
  }
}

TEST(ImageTest, DecodesPngExactlyAndJpegClosely) {
  const ImageSize size{16, 12};
  ExpectNear(Decode(Png(size, Gradient), size), Gradient, size, 0);
  ExpectNear(Decode(Jpeg(size, Gradient), size), Gradient, size, 6);
}

TEST(ImageTest, DecodesProgressiveAndSubsampledJpegs) {
  const ImageSize size{32, 32};
  for (const int subsampling : {TJSAMP_444, TJSAMP_422, TJSAMP_420}) {
    const std::string jpeg = EncodeJpeg(Paint(size, Plain({200, 100, 50})), size, TJPF_RGB,
                                        subsampling, TJFLAG_PROGRESSIVE);
    ExpectNear(Decode(jpeg, size), Plain({200, 100, 50}), size, 4);
  }
}

TEST(ImageTest, TurnsGreyIntoThreeEqualChannels) {
  const ImageSize size{8, 8};
  const std::vector<std::uint8_t> grey(64, 77);
  ExpectNear(Decode(EncodePng(grey.data(), size, PNG_FORMAT_GRAY), size), Plain({77, 77, 77}), size,
             0);
  ExpectNear(Decode(EncodeJpeg(grey, size, TJPF_GRAY, TJSAMP_GRAY), size), Plain({77, 77, 77}),
             size, 1);
}

TEST(ImageTest, ConvertsTheInvertedCmykOfJpegs) {
  const ImageSize size{8, 8};
  std::vector<std::uint8_t> cmyk;
  for (int i = 0; i < 64; ++i) cmyk.insert(cmyk.end(), {255, 0, 128, 255});
  ExpectNear(Decode(EncodeJpeg(cmyk, size, TJPF_CMYK), size), Plain({255, 0, 128}), size, 4);
}

TEST(ImageTest, ConvertsPalettesAlphaAnd16BitPngs) {
  const ImageSize size{4, 4};
  const std::vector<std::uint8_t> indices(16, 1);
  const std::uint8_t palette[] = {0, 0, 0, 10, 20, 30};
  ExpectNear(Decode(EncodePng(indices.data(), size, PNG_FORMAT_RGB_COLORMAP, palette, 2), size),
             Plain({10, 20, 30}), size, 0);
  std::vector<std::uint8_t> rgba;
  for (int i = 0; i < 16; ++i) rgba.insert(rgba.end(), {10, 20, 30, 128});
  ExpectNear(Decode(EncodePng(rgba.data(), size, PNG_FORMAT_RGBA), size), Plain({10, 20, 30}), size,
             0);
  const std::vector<std::uint16_t> white(48, 0xffff);
  ExpectNear(Decode(EncodePng(white.data(), size, PNG_FORMAT_LINEAR_RGB), size),
             Plain({255, 255, 255}), size, 0);
}

TEST(ImageTest, ShrinksByAreaAndEnlargesLinearly) {
  // Columns of black and white: any area of two has their mean.
  const auto stripes = [](std::uint32_t x, std::uint32_t) {
    return x % 2 == 0 ? Rgb{0, 0, 0} : Rgb{200, 200, 200};
  };
  ExpectNear(Decode(Png({64, 64}, stripes), {32, 16}), Plain({100, 100, 100}), {32, 16}, 1);
  ExpectNear(Decode(Png({8, 8}, Plain(kRed)), {24, 40}), Plain(kRed), {24, 40}, 0);
  ExpectNear(Decode(Png({64, 4}, Plain(kRed)), {16, 16}), Plain(kRed), {16, 16}, 0);
}

TEST(ImageTest, ShrinksALargeJpegToTheSameAsAtFullSize) {
  const ImageSize size{512, 256};
  const auto smooth = [](std::uint32_t x, std::uint32_t y) {
    return Rgb{static_cast<std::uint8_t>(x / 2), static_cast<std::uint8_t>(y), 90};
  };
  for (const ImageSize wanted : {ImageSize{64, 32}, ImageSize{65, 33}, ImageSize{200, 200}}) {
    const auto exact = Decode(Png(size, smooth), wanted);
    ASSERT_THAT(exact, Succeeds());
    const auto at = [&](std::uint32_t x, std::uint32_t y) {
      const std::uint8_t* p = exact->data() + 3 * (y * wanted.width + x);
      return Rgb{p[0], p[1], p[2]};
    };
    ExpectNear(Decode(Jpeg(size, smooth), wanted), at, wanted, 6);
  }
}

TEST(ImageTest, RefusesAJpegCutAnywhere) {
  const ImageSize size{24, 24};
  const std::string jpeg = Jpeg(size, Gradient);
  for (std::size_t bytes = 0; bytes + 2 < jpeg.size(); ++bytes) {
    SCOPED_TRACE(bytes);
    EXPECT_THAT(Decode(jpeg.substr(0, bytes), size),
                FailsWith(AnyOf(ErrorCode::kCorrupt, ErrorCode::kUnsupported)));
  }
  EXPECT_THAT(Decode(jpeg.substr(0, jpeg.size() / 2), size),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("corrupt JPEG: ")));
}

TEST(ImageTest, RefusesAPngCutOrChangedAnywhere) {
  const ImageSize size{24, 24};
  const std::string png = Png(size, Gradient);
  for (std::size_t bytes = 0; bytes < png.size(); ++bytes) {
    SCOPED_TRACE(bytes);
    EXPECT_FALSE(Decode(png.substr(0, bytes), size).ok());
    std::string damaged = png;
    damaged[bytes] = static_cast<char>(damaged[bytes] ^ 0x10);
    const auto pixels = Decode(damaged, size);
    if (pixels.ok()) {
      EXPECT_EQ(*pixels, Paint(size, Gradient));  // Metadata beside the pixels.
    }
  }
}

TEST(ImageTest, SurvivesAnyChangedByteOfAJpeg) {
  const ImageSize size{24, 24};
  for (const int flags : {0, TJFLAG_PROGRESSIVE}) {
    const std::string jpeg = EncodeJpeg(Paint(size, Gradient), size, TJPF_RGB, TJSAMP_420, flags);
    int refused_count = 0;
    for (std::size_t offset = 0; offset < jpeg.size(); ++offset) {
      std::string damaged = jpeg;
      damaged[offset] = static_cast<char>(damaged[offset] ^ 0x10);
      if (!Decode(damaged, {8, 8}).ok()) ++refused_count;
    }
    EXPECT_GT(refused_count, 0);
  }
}

TEST(ImageTest, TakesAJpegPaddedBeforeItsEnd) {
  const ImageSize size{16, 16};
  std::string jpeg = Jpeg(size, Plain(kRed));
  jpeg.insert(jpeg.size() - 2, 5, '\0');
  ExpectNear(Decode(jpeg, size), Plain({254, 0, 0}), size, 3);
}

TEST(ImageTest, RefusesDishonestSizesBeforeAllocating) {
  std::string jpeg = Jpeg({16, 16}, Plain(kRed));
  const std::size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, "\xff\xdc\xff\xdc");
  EXPECT_THAT(Decode(jpeg, {8, 8}), FailsWith(ErrorCode::kTooLarge, HasSubstr("65500x65500")));

  std::string png = Png({16, 16}, Plain(kRed));
  for (const std::size_t i : {18u, 22u}) png[i] = '\x7f';  // IHDR's width and height.
  const auto crc =
      static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(png.data() + 12), 17));
  for (std::size_t i = 0; i < 4; ++i) png[29 + i] = static_cast<char>(crc >> (24 - 8 * i) & 0xff);
  EXPECT_THAT(Decode(png, {8, 8}), FailsWith(ErrorCode::kTooLarge, HasSubstr("32528x32528")));
}

TEST(ImageTest, RefusesAProgressiveJpegThatWouldBeHeldWhole) {
  const ImageSize size{16, 16};
  std::string jpeg =
      EncodeJpeg(Paint(size, Plain(kRed)), size, TJPF_RGB, TJSAMP_444, TJFLAG_PROGRESSIVE);
  const std::size_t frame = jpeg.find("\xff\xc2");
  ASSERT_NE(frame, std::string::npos);
  // 16384 x 8192: within the limit of plain JPEGs, at 1/8 of its size.
  jpeg.replace(frame + 5, 4, std::string("\x20\x00\x40\x00", 4));
  EXPECT_THAT(Decode(jpeg, {8, 8}), FailsWith(ErrorCode::kTooLarge, HasSubstr("16384x8192")));
}

TEST(ImageTest, RefusesOtherKindsAndEmptyFiles) {
  EXPECT_THAT(Decode("GIF89a", {8, 8}),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("neither JPEG nor PNG nor WebP")));
  EXPECT_THAT(Decode("", {8, 8}), FailsWith(ErrorCode::kUnsupported, HasSubstr("empty")));
}

TEST(ImageTest, DecodesAGoodImageAfterABadOne) {
  std::mutex large_images;
  ImageDecoder decoder(&large_images);
  const ImageSize size{16, 16};
  std::vector<std::uint8_t> pixels(std::size_t{3} * 16 * 16);
  const auto out = std::as_writable_bytes(std::span(pixels));
  const std::string jpeg = Jpeg(size, Plain(kRed));
  for (std::size_t bytes = 0; bytes + 2 < jpeg.size(); ++bytes) {
    EXPECT_FALSE(decoder.Decode(AsBytes(jpeg.substr(0, bytes)), size, out).ok());
    pixels[0] = 0;
    EXPECT_THAT(decoder.Decode(AsBytes(jpeg), size, out), Succeeds());
    EXPECT_NEAR(pixels[0], 254, 3);
  }
}

TEST(ImageTest, DecodesWebpExactlyAndClosely) {
  const ImageSize size{16, 12};
  ExpectNear(Decode(Webp(size, Gradient, 100), size), Gradient, size, 0);
  ExpectNear(Decode(Webp(size, Plain(kRed), 90), {8, 8}), Plain({254, 0, 0}), {8, 8}, 3);
}

TEST(ImageTest, RefusesAWebpCutAnywhereAndSurvivesAnyChangedByte) {
  const ImageSize size{24, 24};
  for (const int quality : {90, 100}) {
    const std::string webp = Webp(size, Gradient, quality);
    for (std::size_t bytes = 0; bytes < webp.size(); ++bytes) {
      SCOPED_TRACE(bytes);
      EXPECT_THAT(Decode(webp.substr(0, bytes), size),
                  FailsWith(AnyOf(ErrorCode::kCorrupt, ErrorCode::kUnsupported)));
      std::string damaged = webp;
      damaged[bytes] = static_cast<char>(damaged[bytes] ^ 0x10);
      static_cast<void>(Decode(damaged, {8, 8}));
    }
    EXPECT_THAT(Decode(webp.substr(0, webp.size() / 2), size),
                FailsWith(ErrorCode::kCorrupt, HasSubstr("corrupt WebP: ")));
  }
}

TEST(ImageTest, RefusesAnAnimatedWebp) {
  // A VP8X header with the animation flag, and an ANIM chunk.
  const std::string vp8x = std::string("VP8X\x0a\0\0\0\x02\0\0\0\x07\0\0\x07\0\0", 18);
  const std::string anim = std::string("ANIM\x06\0\0\0\0\0\0\0\0\0", 14);
  const std::string body = "WEBP" + vp8x + anim;
  const std::string file = "RIFF" + std::string(1, static_cast<char>(body.size())) +
                           std::string(3, '\0') + body + std::string(32, '\0');
  EXPECT_THAT(Decode(file, {8, 8}), FailsWith(AnyOf(ErrorCode::kUnsupported, ErrorCode::kCorrupt)));
}

TEST(ImageTest, ReadsKindAndSizeFromTheStartAlone) {
  const ImageSize size{40, 30};
  const auto expect = [&](const std::string& file, ImageKind kind, std::size_t start) {
    const auto info = ReadImageInfo(AsBytes(file).subspan(0, start));
    ASSERT_THAT(info, Succeeds());
    EXPECT_EQ(info->kind, kind);
    EXPECT_EQ(info->size, size);
  };
  const std::string jpeg = Jpeg(size, Gradient);
  expect(jpeg, ImageKind::kJpeg, jpeg.size() / 2);
  expect(EncodeJpeg(Paint(size, Gradient), size, TJPF_RGB, TJSAMP_420, TJFLAG_PROGRESSIVE),
         ImageKind::kJpeg, jpeg.size() / 2);
  expect(Png(size, Gradient), ImageKind::kPng, 24);
  expect(Webp(size, Gradient, 80), ImageKind::kWebp, 32);
  expect(Webp(size, Gradient, 100), ImageKind::kWebp, 32);
}

TEST(ImageTest, SaysWhyThereIsNoSize) {
  EXPECT_THAT(ReadImageInfo(AsBytes(Png({8, 8}, Gradient)).subspan(0, 20)),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("not in the first 20 bytes")));
  EXPECT_THAT(ReadImageInfo(AsBytes(Jpeg({8, 8}, Gradient)).subspan(0, 20)),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("corrupt JPEG")));
  EXPECT_THAT(ReadImageInfo(AsBytes("GIF89a")), FailsWith(ErrorCode::kUnsupported));
}

Result<std::vector<std::uint8_t>> DecodeForm(const std::string& file, const PixelForm& form) {
  std::mutex large_images;
  ImageDecoder decoder(&large_images);
  std::vector<std::uint8_t> pixels(form.bytes());
  DNC_TRY(decoder.Decode(AsBytes(file), form, std::as_writable_bytes(std::span(pixels))));
  return pixels;
}

TEST(ImageTest, ResizesThenCropsThenTurnsGrey) {
  // Thirds of red, green and blue.
  const auto thirds = [](std::uint32_t x, std::uint32_t) {
    return Rgb{static_cast<std::uint8_t>(x < 8 ? 255 : 0),
               static_cast<std::uint8_t>(x >= 8 && x < 16 ? 255 : 0),
               static_cast<std::uint8_t>(x >= 16 ? 255 : 0)};
  };
  const std::string png = Png({24, 6}, thirds);
  const auto all_are = [](const Result<std::vector<std::uint8_t>>& pixels, Rgb rgb) {
    for (std::size_t i = 0; i < pixels->size(); ++i) {
      if ((*pixels)[i] != rgb[i % 3]) return false;
    }
    return true;
  };
  EXPECT_TRUE(all_are(DecodeForm(png, {.crop = ImageSize{8, 6}}), {0, 255, 0}));
  EXPECT_TRUE(
      all_are(DecodeForm(png, {.resize = ImageSize{12, 6}, .crop = ImageSize{4, 2}}), {0, 255, 0}));
  EXPECT_TRUE(all_are(
      DecodeForm(png, {.resize = ImageSize{12, 6}, .crop = ImageSize{4, 2}, .grayscale = true}),
      {150, 150, 150}));
  EXPECT_TRUE(
      all_are(DecodeForm(png, {.crop = ImageSize{8, 1}, .grayscale = true}), {150, 150, 150}));
  const auto grey = DecodeForm(png, {.resize = ImageSize{3, 1}, .grayscale = true});
  ASSERT_THAT(grey, Succeeds());
  EXPECT_THAT(*grey, ::testing::ElementsAre(76, 150, 29));
}

TEST(ImageTest, RefusesFormsThatNoImageCanHave) {
  const std::string png = Png({24, 6}, Plain(kRed));
  EXPECT_THAT(DecodeForm(png, {.crop = ImageSize{8, 7}}),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("24x6"), HasSubstr("cropped to 8x7"))));
  EXPECT_THAT(CheckPixelForm({}), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("one size")));
  EXPECT_THAT(CheckPixelForm({.resize = ImageSize{0, 4}}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("0x4")));
  EXPECT_THAT(CheckPixelForm({.resize = ImageSize{4, 4}, .crop = ImageSize{5, 4}}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("cropped to 5x4")));
  EXPECT_THAT(CheckPixelForm({.crop = ImageSize{100'000, 100'000}}),
              FailsWith(ErrorCode::kTooLarge));
  EXPECT_THAT(CheckPixelForm({.crop = ImageSize{8, 8}, .grayscale = true}), Succeeds());
}

}  // namespace
}  // namespace dnc::image
