#include "trainer_torch/attention.h"

#include <ATen/ATen.h>

#include <cmath>

namespace dnc::trainer_torch {

namespace {

// A kernel of Keras's with its bias; of the four that attention has.
struct Projection {
  at::Tensor kernel;
  at::Tensor bias;  // Undefined for none.
};

Projection ProjectionAt(const LayerCall& call, std::size_t index) {
  if (!call.layer->use_bias) return {call.weights[index], {}};
  return {call.weights[2 * index], call.weights[2 * index + 1]};
}

at::Tensor Product(const Projection& projection, const at::Tensor& rows, std::int64_t in) {
  const at::Tensor kernel = projection.kernel.reshape({in, -1});
  if (!projection.bias.defined()) return at::mm(rows, kernel);
  return at::addmm(projection.bias.reshape({-1}), rows, kernel);
}

// (samples, steps, features) to (samples, heads, steps, size of a head).
at::Tensor Heads(const Projection& projection, const at::Tensor& input) {
  const std::int64_t in = input.size(2);
  return Product(projection, input.reshape({-1, in}), in)
      .view({input.size(0), input.size(1), projection.kernel.size(1), projection.kernel.size(2)})
      .permute({0, 2, 1, 3});
}

// Which pairs of steps count, (samples or 1, 1, steps of the query, steps of the value);
// undefined where all do.
at::Tensor PairMask(const LayerCall& call) {
  at::Tensor pairs;
  const auto narrow = [&](const at::Tensor& mask) {
    pairs = pairs.defined() ? at::logical_and(pairs, mask) : mask;
  };
  for (std::size_t i = 0; i < call.masks.size(); ++i) {
    const at::Tensor& mask = call.masks[i];
    if (mask.defined()) narrow(mask.unsqueeze(i == 0 ? 2 : 1).unsqueeze(1));
  }
  if (call.layer->attention.causal) {
    const at::Tensor all = at::ones({call.inputs[0].size(1), call.inputs[1].size(1)},
                                    call.inputs[0].options().dtype(at::kBool));
    narrow(at::tril(all).unsqueeze(0).unsqueeze(0));
  }
  return pairs;
}

}  // namespace

at::Tensor MultiHeadAttention(const LayerCall& call) {
  const model::Layer& layer = *call.layer;
  const double scale = 1 / std::sqrt(static_cast<double>(layer.attention.key_dim));
  const at::Tensor query = Heads(ProjectionAt(call, 0), call.inputs[0]) * scale;
  const at::Tensor key = Heads(ProjectionAt(call, 1), call.inputs.back());
  const at::Tensor value = Heads(ProjectionAt(call, 2), call.inputs[1]);
  at::Tensor scores = at::matmul(query, key.transpose(2, 3));
  if (const at::Tensor pairs = PairMask(call); pairs.defined()) {
    // Keras's number. Where nothing counts, all counts alike.
    scores = scores + at::logical_not(pairs).to(at::kFloat) * -1e9;
  }
  at::Tensor weights = at::softmax(scores, -1);
  if (call.training && layer.rate > 0) {
    weights =
        weights * DropMask(weights.sizes().vec(), layer.rate,
                           static_cast<float>(1 / (1 - layer.rate)), call.seed, weights.device());
  }
  const at::Tensor seen = at::matmul(weights, value).permute({0, 2, 1, 3});
  const Projection output = ProjectionAt(call, 3);
  const std::int64_t in = output.kernel.size(0) * output.kernel.size(1);
  return Product(output, seen.reshape({-1, in}), in)
      .view({seen.size(0), seen.size(1), output.kernel.size(2)});
}

}  // namespace dnc::trainer_torch
