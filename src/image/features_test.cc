#include "image/features.h"

#include <cmath>

#include "image/hog_reference.h"
#include "image/test_images.h"
#include "testing/testing.h"

namespace dnc::image {
namespace {

using test::FailsWith;
using test::Succeeds;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::FloatEq;
using ::testing::HasSubstr;

std::vector<std::uint8_t> Resized(const std::vector<std::uint8_t>& pixels, ImageSize size,
                                  ImageSize out_size, int channels) {
  std::vector<std::uint8_t> out(std::size_t{out_size.width} * out_size.height *
                                static_cast<std::size_t>(channels));
  Resize(std::as_bytes(std::span(pixels)), size, channels, std::as_writable_bytes(std::span(out)),
         out_size);
  return out;
}

TEST(ResizeTest, TakesTheMeanOfTheAreaThatAPixelCovers) {
  EXPECT_THAT(Resized({0, 10, 20, 30}, {4, 1}, {2, 1}, 1), ElementsAre(5, 25));
  EXPECT_THAT(Resized({0, 10, 20, 30}, {1, 4}, {1, 2}, 1), ElementsAre(5, 25));
  // (0 + 30 / 2) / 1.5 and (30 / 2 + 90) / 1.5.
  EXPECT_THAT(Resized({0, 30, 90}, {3, 1}, {2, 1}, 1), ElementsAre(10, 70));
  EXPECT_THAT(Resized({0, 100, 200, 40, 140, 250}, {2, 1}, {1, 1}, 3), ElementsAre(20, 120, 225));
}

TEST(ResizeTest, InterpolatesBetweenTheCentresOfPixels) {
  EXPECT_THAT(Resized({0, 100}, {2, 1}, {4, 1}, 1), ElementsAre(0, 25, 75, 100));
  EXPECT_THAT(Resized({0, 100}, {1, 2}, {1, 4}, 1), ElementsAre(0, 25, 75, 100));
  EXPECT_THAT(Resized({7}, {1, 1}, {3, 2}, 1), ElementsAre(7, 7, 7, 7, 7, 7));
  // One side grows, so the other is not averaged: it is sampled at its centres.
  EXPECT_THAT(Resized({0, 0, 90, 90, 0, 0}, {6, 1}, {2, 2}, 1), ElementsAre(0, 0, 0, 0));
}

TEST(ResizeTest, KeepsPlainColoursAtEverySize) {
  for (std::uint32_t side = 1; side < 40; ++side) {
    for (const std::uint8_t value : {0, 1, 127, 254, 255}) {
      const std::vector<std::uint8_t> plain(13 * 17 * 3, value);
      EXPECT_THAT(Resized(plain, {13, 17}, {side, 41 - side}, 3), Each(value));
    }
  }
}

// Against doubles and the definition of an area.
TEST(ResizeTest, IsTheExactMeanRoundedForEverySmallerSize) {
  constexpr std::uint32_t kSide = 23;
  std::vector<std::uint8_t> pixels;
  for (std::uint32_t i = 0; i < kSide; ++i) pixels.push_back(static_cast<std::uint8_t>(i * 97));
  for (std::uint32_t side = 1; side <= kSide; ++side) {
    const auto out = Resized(pixels, {kSide, 1}, {side, 1}, 1);
    const double scale = static_cast<double>(kSide) / side;
    for (std::uint32_t x = 0; x < side; ++x) {
      double sum = 0;
      for (std::uint32_t j = 0; j < kSide; ++j) {
        const double overlap =
            std::min((x + 1) * scale, j + 1.0) - std::max(x * scale, static_cast<double>(j));
        if (overlap > 0) sum += overlap * pixels[j];
      }
      EXPECT_NEAR(out[x], sum / scale, 0.501) << side << " " << x;
    }
  }
}

TEST(CentreCropTest, TakesTheMiddle) {
  const std::vector<std::uint8_t> pixels = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  std::vector<std::byte> out(2);
  CentreCrop(std::as_bytes(std::span(pixels)), {4, 3}, 1, out, {2, 1});
  EXPECT_THAT(out, ElementsAre(std::byte{5}, std::byte{6}));
  out.resize(6);
  CentreCrop(std::as_bytes(std::span(pixels)), {2, 2}, 3, out, {1, 2});
  EXPECT_THAT(out, ElementsAre(std::byte{0}, std::byte{1}, std::byte{2}, std::byte{6}, std::byte{7},
                               std::byte{8}));
}

// PIL's convert("L") of the same pixels.
TEST(GrayscaleTest, IsPilsLuma) {
  const std::vector<std::uint8_t> rgb = {255, 0,   0,   0,   255, 0,   0, 0,
                                         255, 255, 255, 255, 12,  200, 99};
  std::vector<std::uint8_t> out(5);
  Grayscale(std::as_bytes(std::span(rgb)), std::as_writable_bytes(std::span(out)));
  EXPECT_THAT(out, ElementsAre(76, 150, 29, 255, 132));
}

std::vector<std::uint8_t> ReferenceImage(const HogReference& reference) {
  std::vector<std::uint8_t> pixels;
  for (std::uint32_t y = 0; y < reference.size.height; ++y) {
    for (std::uint32_t x = 0; x < reference.size.width; ++x) {
      for (std::uint32_t c = 0; c < static_cast<std::uint32_t>(reference.channels); ++c) {
        pixels.push_back(
            static_cast<std::uint8_t>(7 * x * x + 5 * y * y + 3 * x * y + c * (29 + 11 * x)));
      }
    }
  }
  return pixels;
}

TEST(HogTest, EqualsScikitImage) {
  for (const HogReference& reference : HogReferences()) {
    SCOPED_TRACE(reference.options);
    const auto options = ParseHogOptions(reference.options);
    ASSERT_THAT(options, Succeeds());
    const auto length = HogLength(reference.size, *options);
    ASSERT_THAT(length, Succeeds());
    ASSERT_EQ(*length, reference.values.size());
    const std::vector<std::uint8_t> pixels = ReferenceImage(reference);
    const std::vector<double> doubles(pixels.begin(), pixels.end());
    HogExtractor extractor(reference.size, reference.channels, *options);
    for (const bool as_doubles : {false, true, false}) {
      std::vector<float> out(*length, -1);
      if (as_doubles) {
        extractor.Compute(std::span<const double>(doubles), out);
      } else {
        extractor.Compute(std::as_bytes(std::span(pixels)), out);
      }
      for (std::size_t i = 0; i < out.size(); ++i) {
        ASSERT_NEAR(out[i], reference.values[i], 1e-6) << "value " << i;
      }
    }
  }
}

// Two channels may have equally strong gradients in different directions.
TEST(HogTest, TakesBytesAndDoublesAlikeWhereChannelsTie) {
  const ImageSize size{33, 29};
  std::vector<std::uint8_t> pixels;
  std::uint32_t state = 1;
  for (std::size_t i = 0; i < std::size_t{3} * size.width * size.height; ++i) {
    state = state * 1664525u + 1013904223u;
    pixels.push_back(static_cast<std::uint8_t>((state >> 24) % 11));
  }
  const HogOptions options{.pixels_per_cell = {4, 4}, .cells_per_block = {2, 2}};
  HogExtractor extractor(size, 3, options);
  std::vector<float> bytes(*HogLength(size, options));
  std::vector<float> doubles(bytes.size());
  extractor.Compute(std::as_bytes(std::span(pixels)), bytes);
  const std::vector<double> values(pixels.begin(), pixels.end());
  extractor.Compute(std::span<const double>(values), doubles);
  for (std::size_t i = 0; i < bytes.size(); ++i) ASSERT_NEAR(bytes[i], doubles[i], 1e-6) << i;
}

TEST(HogTest, GivesZerosForAPlainImage) {
  HogExtractor extractor({24, 24}, 1, {});
  std::vector<float> out(81, -1);
  extractor.Compute(Bytes(24 * 24, std::byte{200}), out);
  EXPECT_THAT(out, Each(FloatEq(0)));
}

TEST(HogTest, ReadsAndWritesItsParameters) {
  EXPECT_THAT(FormatHogOptions({}),
              "orientations=9,pixels_per_cell=8x8,cells_per_block=3x3,block_norm=L2-Hys,"
              "transform_sqrt=false");
  const HogOptions options{.orientations = 4,
                           .pixels_per_cell = {6, 5},
                           .cells_per_block = {1, 2},
                           .block_norm = BlockNorm::kL1Sqrt,
                           .transform_sqrt = true};
  const auto read = ParseHogOptions(FormatHogOptions(options));
  ASSERT_THAT(read, Succeeds());
  EXPECT_EQ(*read, options);
  EXPECT_EQ(*ParseHogOptions(""), HogOptions{});
  EXPECT_EQ(*ParseHogOptions("nbins=4,cellSize=6"),
            (HogOptions{.orientations = 4, .pixels_per_cell = {6, 6}}));
}

TEST(HogTest, RefusesWrongParametersNamingThem) {
  EXPECT_THAT(ParseHogOptions("bins=3"),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("\"bins\""), HasSubstr("known are orientations"))));
  EXPECT_THAT(ParseHogOptions("orientations"),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("NAME=VALUE")));
  for (const char* text :
       {"orientations=0", "orientations=x", "pixels_per_cell=8x", "pixels_per_cell=0x8",
        "cells_per_block=-1", "block_norm=L3", "transform_sqrt=maybe", "orientations=9999999999"}) {
    EXPECT_THAT(ParseHogOptions(text),
                FailsWith(ErrorCode::kInvalidArgument, HasSubstr("expected")))
        << text;
  }
  EXPECT_THAT(
      HogLength({16, 100}, {}),
      FailsWith(ErrorCode::kInvalidArgument, AllOf(HasSubstr("16x100 pixels has 2x12 cells of 8x8"),
                                                   HasSubstr("a block takes 3x3"))));
  EXPECT_THAT(HogLength({16, 16}, {.orientations = 0}), FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_THAT(HogLength({64, 64}, {.orientations = 181}), FailsWith(ErrorCode::kTooLarge));
  EXPECT_THAT(HogLength({10'000, 10'000}, {}), FailsWith(ErrorCode::kTooLarge));
}

}  // namespace
}  // namespace dnc::image
