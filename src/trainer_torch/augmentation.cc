#include "trainer_torch/augmentation.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/prng.h"

namespace dnc::trainer_torch {

namespace {

using model::FillMode;
using model::Interpolation;
using model::Layer;

constexpr std::int64_t kHeight = 1;  // Axes.
constexpr std::int64_t kWidth = 2;

// As at::GridSampler takes them.
int InterpolationNumber(Interpolation interpolation) {
  return interpolation == Interpolation::kBilinear ? 0 : 1;
}
int FillNumber(FillMode fill) {
  switch (fill) {
    case FillMode::kZero:
      return 0;
    case FillMode::kNearest:
      return 1;
    case FillMode::kReflect:
      break;
  }
  return 2;
}

// The rotation about the middle, as a matrix that takes places of the result, within
// [-1, 1] on each axis, to places of the image.
at::Tensor RotationMatrices(const Layer& layer, const at::Tensor& images, Prng* prng) {
  const std::int64_t count = images.size(0);
  const float aspect = static_cast<float>(images.size(kHeight)) /
                       static_cast<float>(std::max<std::int64_t>(images.size(kWidth), 1));
  at::Tensor matrices = at::empty({count, 2, 3}, at::kFloat);
  float* row = matrices.data_ptr<float>();
  for (std::int64_t i = 0; i < count; ++i, row += 6) {
    const double turn = layer.rotation[0] + prng->Unit() * (layer.rotation[1] - layer.rotation[0]);
    const auto sine = static_cast<float>(std::sin(turn * 2 * M_PI));
    const auto cosine = static_cast<float>(std::cos(turn * 2 * M_PI));
    const float values[6] = {cosine, -sine * aspect, 0, sine / aspect, cosine, 0};
    std::copy(std::begin(values), std::end(values), row);
  }
  return matrices.to(images.device());
}

}  // namespace

at::Tensor RandomFlip(const Layer& layer, const at::Tensor& images, std::uint64_t seed) {
  Prng prng(seed);
  std::vector<at::Tensor> flipped;
  for (std::int64_t i = 0; i < images.size(0); ++i) {
    const std::uint64_t bits = prng.Next();
    std::vector<std::int64_t> axes;
    if (layer.flips_vertically && (bits & 1) != 0) axes.push_back(kHeight - 1);
    if (layer.flips_horizontally && (bits & 2) != 0) axes.push_back(kWidth - 1);
    flipped.push_back(axes.empty() ? images[i] : images[i].flip(axes));
  }
  return at::stack(flipped);
}

at::Tensor RandomRotation(const Layer& layer, const at::Tensor& images, std::uint64_t seed) {
  Prng prng(seed);
  const at::Tensor view = images.movedim(-1, 1);
  const at::Tensor grid =
      at::affine_grid_generator(RotationMatrices(layer, images, &prng), view.sizes(), false);
  return at::grid_sampler_2d(view, grid, InterpolationNumber(layer.interpolation),
                             FillNumber(layer.fill), /*align_corners=*/false)
      .movedim(1, -1);
}

at::Tensor RandomCrop(const Layer& layer, const at::Tensor& images, bool training,
                      std::uint64_t seed) {
  const std::int64_t height = layer.kernel_size[0];
  const std::int64_t width = layer.kernel_size[1];
  const std::int64_t given_height = images.size(kHeight);
  const std::int64_t given_width = images.size(kWidth);
  if (training) {
    Prng prng(seed);
    std::vector<at::Tensor> crops;
    const auto begin = [&](std::int64_t given, std::int64_t wanted) {
      return static_cast<std::int64_t>(prng.Below(static_cast<std::uint64_t>(given - wanted + 1)));
    };
    for (std::int64_t i = 0; i < images.size(0); ++i) {
      const std::int64_t top = begin(given_height, height);
      const std::int64_t left = begin(given_width, width);
      crops.push_back(images[i].narrow(0, top, height).narrow(1, left, width));
    }
    return at::stack(crops);
  }
  const std::int64_t kept_height = std::min(given_width * height / width, given_height);
  const std::int64_t kept_width = std::min(given_height * width / height, given_width);
  const at::Tensor middle = images.narrow(kHeight, (given_height - kept_height) / 2, kept_height)
                                .narrow(kWidth, (given_width - kept_width) / 2, kept_width);
  const std::vector<std::int64_t> size = {height, width};
  return at::upsample_bilinear2d(middle.movedim(-1, 1), size, /*align_corners=*/false)
      .movedim(1, -1);
}

}  // namespace dnc::trainer_torch
