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

// All kernels of a layer: what one step of a sequence uses, or one position of it.
double AllKernels(const Model& model, const Layer& layer) {
  double count = 0;
  for (int i = 0; i < layer.weight_count; ++i) {
    const array::Shape& shape = model.weights[layer.first_weight + i].shape;
    // Biases have one axis, or a GRU's two rows.
    if (shape.size() > 2 || (shape.size() == 2 && shape[0] != 2)) count += Elements(shape);
  }
  return count;
}

// Of the sequence that a layer reads.
double Steps(const Model& model, const Layer& layer) {
  return static_cast<double>(model.layers[layer.inputs[0]].output_shape[0]);
}

double MultiplyAdds(const Model& model, const Layer& layer);

// Of query and output once a step of the query, of key and value once a step of theirs.
double Attention(const Model& model, const Layer& layer) {
  const int biases = layer.use_bias ? 1 : 0;
  const auto kernel = [&](int index) { return Kernel(model, layer, index * (1 + biases)); };
  const double value_steps = static_cast<double>(model.layers[layer.inputs[1]].output_shape[0]);
  return Steps(model, layer) * (kernel(0) + kernel(3)) + value_steps * (kernel(1) + kernel(2));
}

// The wrapped layer, once a step.
double TimeDistributed(const Model& model, const Layer& layer) {
  Layer inner = layer.wrapped[0];
  inner.first_weight = layer.first_weight;
  inner.weight_count = layer.weight_count;
  inner.inputs = layer.inputs;
  return Steps(model, layer) * MultiplyAdds(model, inner);
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
    case LayerKind::kSimpleRnn:
    case LayerKind::kLstm:
    case LayerKind::kGru:
    case LayerKind::kBidirectional:
      return Steps(model, layer) * AllKernels(model, layer);
    case LayerKind::kConvLstm2D: {
      const double images = layer.sequence.return_sequences ? Steps(model, layer) : 1;
      return Steps(model, layer) * AllKernels(model, layer) *
             positions(layer.output_shape, layer.filters) / std::max(images, 1.0);
    }
    case LayerKind::kTimeDistributed:
      return TimeDistributed(model, layer);
    case LayerKind::kMultiHeadAttention:
      return Attention(model, layer);
    case LayerKind::kEmbedding:
    case LayerKind::kMasking:
    case LayerKind::kRepeatVector:
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
    case LayerKind::kMerge:
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
