// Random layers change what they say and nothing else, the same for the same seed.

#include "trainer_torch/augmentation.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace dnc::trainer_torch {
namespace {

using model::FillMode;
using model::Interpolation;

at::Tensor Images(std::int64_t count, std::int64_t height, std::int64_t width) {
  return at::arange(count * height * width * 2, at::kFloat).reshape({count, height, width, 2});
}

TEST(AugmentationTest, FlipsSomeImagesOnTheAxesThatAreGiven) {
  model::Layer layer;
  layer.flips_horizontally = true;
  const at::Tensor images = Images(40, 3, 4);
  const at::Tensor flipped = RandomFlip(layer, images, 1);
  int changed = 0;
  for (std::int64_t i = 0; i < 40; ++i) {
    const bool same = flipped[i].equal(images[i]);
    EXPECT_TRUE(same || flipped[i].equal(images[i].flip({1})));
    changed += same ? 0 : 1;
  }
  EXPECT_GT(changed, 8);
  EXPECT_LT(changed, 32);
  EXPECT_TRUE(RandomFlip(layer, images, 1).equal(flipped));
  EXPECT_FALSE(RandomFlip(layer, images, 2).equal(flipped));
}

TEST(AugmentationTest, RotatesAboutTheMiddle) {
  model::Layer layer;
  layer.interpolation = Interpolation::kBilinear;
  layer.fill = FillMode::kZero;
  layer.rotation = {0, 0};
  const at::Tensor square = Images(2, 5, 5);
  EXPECT_TRUE(RandomRotation(layer, square, 1).allclose(square, 1e-4, 1e-3));
  layer.rotation = {0.25, 0.25};  // A quarter of a turn, one way or the other.
  const at::Tensor turned = RandomRotation(layer, square, 1);
  EXPECT_TRUE(turned.allclose(at::rot90(square, 1, {1, 2}), 1e-4, 1e-3) ||
              turned.allclose(at::rot90(square, -1, {1, 2}), 1e-4, 1e-3));
  layer.rotation = {0.5, 0.5};  // Whatever the proportions.
  const at::Tensor wide = Images(2, 4, 6);
  EXPECT_TRUE(RandomRotation(layer, wide, 1).allclose(wide.flip({1, 2}), 1e-4, 1e-3));
}

TEST(AugmentationTest, CropsAnywhereInTrainingAndTheMiddleOtherwise) {
  model::Layer layer;
  layer.kernel_size = {2, 3};
  const at::Tensor images = Images(60, 4, 6);
  const at::Tensor crops = RandomCrop(layer, images, true, 7);
  EXPECT_EQ(crops.sizes().vec(), (std::vector<std::int64_t>{60, 2, 3, 2}));
  std::set<std::pair<std::int64_t, std::int64_t>> places;
  for (std::int64_t i = 0; i < 60; ++i) {
    // The first value tells the place.
    const auto first = static_cast<std::int64_t>(crops[i][0][0][0].item<float>()) - i * 48;
    const std::int64_t top = first / 12;
    const std::int64_t left = first % 12 / 2;
    EXPECT_TRUE(crops[i].equal(images[i].narrow(0, top, 2).narrow(1, left, 3)));
    places.insert({top, left});
  }
  EXPECT_GT(places.size(), 9u);  // Of twelve.
  // 4x6 has the proportions of 2x3: nothing is cut, and each value is a mean of four.
  const at::Tensor resized = RandomCrop(layer, images, false, 7);
  EXPECT_FLOAT_EQ(resized[0][0][0][0].item<float>(), (0 + 2 + 12 + 14) / 4.0f);
}

}  // namespace
}  // namespace dnc::trainer_torch
