#include <algorithm>

#include "model/model.h"

namespace dnc::model {
namespace {

// As a double, since no check bounds the product of a kernel and an output.
double Elements(const array::Shape& shape) {
  double count = 1;
  for (const std::int64_t axis : shape) {
    count *= static_cast<double>(std::max<std::int64_t>(axis, 1));
  }
  return count;
}

double Kernel(const Model& model, const Layer& layer, int index = 0) {
  return Elements(model.weights[layer.first_weight + index].shape);
}

// At each position of the output (of the input, for a transposed convolution) every
// element of a kernel is used once.
double MultiplyAdds(const Model& model, const Layer& layer) {
  const auto positions = [](const array::Shape& shape, std::int64_t channels) {
    return Elements(shape) / static_cast<double>(std::max<std::int64_t>(channels, 1));
  };
  switch (layer.kind) {  // Without a default: the compiler asks for each new kind.
    case LayerKind::kDense:
      return Kernel(model, layer) * positions(layer.output_shape, layer.units);
    case LayerKind::kConv:
      return Kernel(model, layer) * positions(layer.output_shape, layer.filters);
    case LayerKind::kConvTranspose: {
      const array::Shape& input = model.layers[layer.inputs[0]].output_shape;
      const std::int64_t channels = model.weights[layer.first_weight].shape.back();
      return Kernel(model, layer) * positions(input, channels);
    }
    case LayerKind::kDepthwiseConv: {
      const array::Shape& kernel = model.weights[layer.first_weight].shape;
      const std::int64_t channels = kernel[kernel.size() - 2] * kernel.back();
      return Kernel(model, layer) * positions(layer.output_shape, channels);
    }
    case LayerKind::kSeparableConv:
      return (Kernel(model, layer) + Kernel(model, layer, 1)) *
             positions(layer.output_shape, layer.filters);
    case LayerKind::kLocallyConnected:  // A kernel for each position.
      return Kernel(model, layer);
    case LayerKind::kInput:
    case LayerKind::kMaxPooling:
    case LayerKind::kAveragePooling:
    case LayerKind::kGlobalMaxPooling:
    case LayerKind::kGlobalAveragePooling:
    case LayerKind::kZeroPadding:
    case LayerKind::kCropping:
    case LayerKind::kUpSampling:
    case LayerKind::kResizing:
    case LayerKind::kSpatialDropout:
    case LayerKind::kFlatten:
    case LayerKind::kReshape:
    case LayerKind::kPermute:
    case LayerKind::kDropout:
    case LayerKind::kGaussianNoise:
    case LayerKind::kGaussianDropout:
    case LayerKind::kAlphaDropout:
    case LayerKind::kBatchNormalization:
    case LayerKind::kLayerNormalization:
    case LayerKind::kGroupNormalization:
    case LayerKind::kUnitNormalization:
    case LayerKind::kNormalization:
    case LayerKind::kActivation:
    case LayerKind::kPRelu:
    case LayerKind::kActivityRegularization:
    case LayerKind::kRescaling:
    case LayerKind::kRandomFlip:
    case LayerKind::kRandomRotation:
    case LayerKind::kRandomCrop:
      return 0;
  }
  return 0;
}

}  // namespace

std::uint64_t ForwardFlops(const Model& model, const Layer& layer) {
  return static_cast<std::uint64_t>(std::min(2 * MultiplyAdds(model, layer), 1e18));
}

std::uint64_t ForwardFlops(const Model& model) {
  // 4,096 layers of 1e18 would not fit.
  std::uint64_t flops = 0;
  for (const Layer& layer : model.layers) {
    flops = std::min<std::uint64_t>(flops + ForwardFlops(model, layer), 1'000'000'000'000'000'000);
  }
  return flops;
}

}  // namespace dnc::model
