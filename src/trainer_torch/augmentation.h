// Random changes of images (N, height, width, channels), a sample each, by numbers that are
// a function of the seed alone.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "model/model.h"

namespace dnc::trainer_torch {

at::Tensor RandomFlip(const model::Layer& layer, const at::Tensor& images, std::uint64_t seed);
at::Tensor RandomRotation(const model::Layer& layer, const at::Tensor& images, std::uint64_t seed);
// While not `training`: the middle of the wanted proportions, resized (keras
// smart_resize).
at::Tensor RandomCrop(const model::Layer& layer, const at::Tensor& images, bool training,
                      std::uint64_t seed);

}  // namespace dnc::trainer_torch
