// Each filter against one written down plainly, element by element, from
// docs/formats/shard.md.

#include <algorithm>
#include <vector>

#include "base/prng.h"
#include "shard/chunk_layout.h"
#include "shard/element_filters.h"
#include "shard/image_prediction.h"
#include "shard/picture_codec.h"
#include "testing/testing.h"

namespace dnc::shard {
namespace {

Bytes Noise(std::size_t size, std::uint64_t seed) {
  Prng prng(seed);
  Bytes bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(prng.Next() >> 20);
  return bytes;
}

Bytes PlainShuffleBits(const Bytes& elements, std::size_t size) {
  const std::size_t count = elements.size() / size;
  const std::size_t groups = count / 8;
  Bytes out;
  for (std::size_t b = 0; b < size; ++b) {
    for (int k = 0; k < 8; ++k) {
      for (std::size_t g = 0; g < groups; ++g) {
        int byte = 0;
        for (std::size_t e = 0; e < 8; ++e) {
          const int bit = std::to_integer<int>(elements[(8 * g + e) * size + b]) >> k & 1;
          byte |= bit << e;
        }
        out.push_back(static_cast<std::byte>(byte));
      }
    }
  }
  for (std::size_t b = 0; b < size; ++b) {
    for (std::size_t e = groups * 8; e < count; ++e) out.push_back(elements[e * size + b]);
  }
  return out;
}

TEST(ElementFiltersTest, ShuffleBitsAsTheFormatSays) {
  for (const std::size_t size : {1u, 2u, 4u, 8u}) {
    for (const std::size_t count : {0u, 1u, 7u, 8u, 9u, 64u, 301u}) {
      SCOPED_TRACE(::testing::Message() << size << " bytes, " << count << " elements");
      const Bytes elements = Noise(size * count, count + size);
      Bytes scratch;
      Bytes out(elements.size());
      ShuffleBits(elements, size, &scratch, out.data());
      EXPECT_EQ(out, PlainShuffleBits(elements, size));
      Bytes back(elements.size());
      UnshuffleBits(out, size, &scratch, back.data());
      EXPECT_EQ(back, elements);
    }
  }
}

TEST(ElementFiltersTest, SubtractsTheElementOneStrideBefore) {
  const std::vector<std::uint16_t> values = {5, 65535, 7, 3, 3, 2};
  const std::vector<std::uint16_t> expected = {5, 65535, 2, 4, 65532, 65535};
  Bytes out(12);
  SubtractEarlier(std::as_bytes(std::span(values)), 2, 2, out.data());
  EXPECT_EQ(out, Bytes(std::as_bytes(std::span(expected)).begin(),
                       std::as_bytes(std::span(expected)).end()));
}

TEST(ElementFiltersTest, AddsWhatWasSubtracted) {
  for (const std::size_t size : {1u, 2u, 4u, 8u}) {
    for (const std::size_t stride : {1u, 3u, 64u, 1000u}) {
      const Bytes elements = Noise(size * 100, stride);
      Bytes out(elements.size());
      SubtractEarlier(elements, size, stride, out.data());
      AddEarlier(size, stride, out);
      EXPECT_EQ(out, elements);
    }
  }
}

struct PictureCase {
  array::Shape shape;
  std::size_t count;
};

std::vector<PictureCase> PictureCases() {
  return {{{4, 4}, 1},      {{28, 28}, 5},     {{16, 16, 1}, 17}, {{5, 17, 3}, 3},
          {{31, 33, 3}, 7}, {{3, 20, 18}, 6},  {{1, 9, 40}, 2},   {{6, 5, 4}, 2},
          {{4, 7, 5}, 3},   {{64, 15, 2}, 11}, {{32, 32, 3}, 40}};
}

ChunkLayout LayoutOfShape(const array::Shape& shape) {
  return LayoutOf({.name = "x", .dtype = array::DType::kUint8, .shape = shape});
}

Bytes PlainPredict(const Bytes& raw, const ChunkLayout& layout, bool colours) {
  const std::size_t size = layout.plane_bytes();
  const std::size_t count = raw.size() / size / layout.channels;
  Bytes out;
  for (std::size_t c = 0; c < layout.channels; ++c) {
    for (std::size_t i = 0; i < count; ++i) {
      const auto sample = [&](std::size_t channel, std::size_t pixel) {
        const std::size_t place =
            layout.planar ? channel * size + pixel : pixel * layout.channels + channel;
        return std::to_integer<int>(raw[i * size * layout.channels + place]);
      };
      const auto value = [&](std::size_t y, std::size_t x) {
        const std::size_t pixel = y * layout.width + x;
        if (!colours || c == 1) return sample(c, pixel);
        return (sample(c, pixel) - sample(1, pixel) + 128) & 255;
      };
      for (std::size_t y = 0; y < layout.height; ++y) {
        for (std::size_t x = 0; x < layout.width; ++x) {
          int predicted = 0;
          if (x > 0 && y > 0) {
            const int a = value(y, x - 1);
            const int b = value(y - 1, x);
            std::vector<int> three = {a, b, a + b - value(y - 1, x - 1)};
            std::sort(three.begin(), three.end());
            predicted = three[1];
          } else if (x > 0) {
            predicted = value(y, x - 1);
          } else if (y > 0) {
            predicted = value(y - 1, x);
          }
          out.push_back(static_cast<std::byte>(value(y, x) - predicted));
        }
      }
    }
  }
  return out;
}

TEST(ImagePredictionTest, PredictsAsTheFormatSaysAndRestores) {
  for (const PictureCase& c : PictureCases()) {
    const ChunkLayout layout = LayoutOfShape(c.shape);
    ASSERT_TRUE(layout.is_picture()) << array::ShapeText(c.shape);
    for (const bool colours : {false, true}) {
      if (colours && !HasColours(layout)) continue;
      SCOPED_TRACE(array::ShapeText(c.shape) + (colours ? " colours" : ""));
      const Bytes raw = Noise(c.count * layout.plane_bytes() * layout.channels, c.count);
      Bytes residuals(raw.size());
      PredictPictures(raw, layout, colours, residuals.data());
      EXPECT_EQ(residuals, PlainPredict(raw, layout, colours));
      Bytes scratch;
      Bytes back(raw.size());
      RestorePictures(residuals, layout, colours, &scratch, back);
      EXPECT_EQ(back, raw);
    }
  }
}

TEST(ChunkLayoutTest, KnowsPicturesByTheirShape) {
  EXPECT_FALSE(LayoutOfShape({784}).is_picture());
  EXPECT_FALSE(LayoutOfShape({3, 28}).is_picture());
  EXPECT_FALSE(LayoutOfShape({28, 28, 5}).is_picture());
  EXPECT_FALSE(LayoutOfShape({28, 28, 0}).is_picture());
  EXPECT_FALSE(
      LayoutOf({.name = "x", .dtype = array::DType::kFloat32, .shape = {28, 28}}).is_picture());
  const ChunkLayout planar = LayoutOfShape({3, 30, 20});
  EXPECT_TRUE(planar.planar);
  EXPECT_EQ(planar.height, 30u);
  EXPECT_EQ(planar.width, 20u);
  EXPECT_FALSE(LayoutOfShape({4, 30, 3}).planar);
}

TEST(PictureCodecTest, BringsPicturesBack) {
  for (const PictureCase& c : PictureCases()) {
    const ChunkLayout layout = LayoutOfShape(c.shape);
    if (!CanHoldPictures(layout)) continue;
    SCOPED_TRACE(array::ShapeText(c.shape));
    const Bytes raw = Noise(c.count * layout.plane_bytes() * layout.channels, 7);
    Bytes stored;
    EncodePictures(raw, layout, &stored);
    Bytes again;
    EncodePictures(raw, layout, &again);
    EXPECT_EQ(stored, again);
    Bytes scratch;
    Bytes back(raw.size());
    ASSERT_TRUE(DecodePictures(stored, layout, &scratch, back));
    EXPECT_EQ(back, raw);
  }
}

TEST(PictureCodecTest, RefusesPicturesOfAnotherSizeAndTruncatedOnes) {
  const ChunkLayout layout = LayoutOfShape({8, 8, 3});
  const Bytes raw = Noise(4 * 192, 7);
  Bytes stored;
  EncodePictures(raw, layout, &stored);
  Bytes scratch;
  Bytes more(9 * 192);
  EXPECT_FALSE(DecodePictures(stored, layout, &scratch, more));
  Bytes back(raw.size());
  for (std::size_t size = 0; size < stored.size(); size += 7) {
    EXPECT_FALSE(DecodePictures(ByteSpan(stored).first(size), layout, &scratch, back));
  }
}

}  // namespace
}  // namespace dnc::shard
