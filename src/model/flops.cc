#include "model/model.h"

namespace dnc::model {
namespace {

std::uint64_t Elements(const array::Shape& shape) {
  const auto count = array::ElementCount(shape);
  DNC_ASSERT(count.has_value());
  return *count;
}

}  // namespace

std::uint64_t ForwardFlops(const Model& model) {
  std::uint64_t multiply_adds = 0;
  for (const Layer& layer : model.layers) {
    if (layer.kind != LayerKind::kDense && layer.kind != LayerKind::kConv) continue;
    // Every element of the output is a sum over one column of the kernel.
    const array::Shape& kernel = model.weights[layer.first_weight].shape;
    const std::uint64_t terms = Elements(kernel) / static_cast<std::uint64_t>(kernel.back());
    multiply_adds += terms * Elements(layer.output_shape);
  }
  return 2 * multiply_adds;
}

}  // namespace dnc::model
