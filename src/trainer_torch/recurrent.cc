// The equations are those of the cells in keras/layers/rnn (2.15): simple_rnn.py,
// lstm.py, gru.py and base_conv_lstm.py; masks are those of backend.rnn.

#include "trainer_torch/recurrent.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <functional>
#include <string>
#include <vector>

#include "base/assert.h"
#include "base/prng.h"
#include "trainer_torch/device_random.h"

namespace dnc::trainer_torch {

namespace {

using model::Layer;
using model::LayerKind;
using model::MergeMode;
using model::Padding;
using model::SequenceOptions;

// What Dropout multiplies by, from our own generator: 0 or 1 / (1 - rate).
at::Tensor DropoutMask(at::IntArrayRef sizes, double rate, std::uint64_t seed, at::Device device) {
  if (!device.is_cpu()) {
    return DeviceDropMask(sizes.vec(), rate, static_cast<float>(1 / (1 - rate)), seed, device);
  }
  at::Tensor mask = at::empty(sizes, at::kFloat);
  float* const values = mask.data_ptr<float>();
  const auto kept = static_cast<float>(1 / (1 - rate));
  Prng prng(seed);
  for (std::int64_t i = 0; i < mask.numel(); ++i) values[i] = prng.Unit() < rate ? 0.0f : kept;
  return mask;
}

int GateCount(const Layer& layer) {
  switch (layer.kind) {
    case LayerKind::kSimpleRnn:
      return 1;
    case LayerKind::kGru:
      return 3;
    default:
      return 4;
  }
}

// One recurrent layer in one batch: its weights by name, and its dropout masks, which
// are the same at every step.
struct Cell {
  explicit Cell(const LayerCall& call) : layer(*call.layer), options(call.layer->sequence) {
    kernel = call.weights[0];
    recurrent_kernel = call.weights[1];
    if (layer.use_bias) bias = call.weights[2];
    if (layer.kind == LayerKind::kGru && options.reset_after && layer.use_bias) {
      recurrent_bias = bias[1];
      bias = bias[0];
    }
  }

  // Masks for `count` gates, or none where nothing is dropped.
  static std::vector<at::Tensor> Masks(const LayerCall& call, double rate, int count,
                                       std::uint64_t purpose, at::IntArrayRef sizes) {
    std::vector<at::Tensor> masks;
    if (!call.training || rate <= 0) return masks;
    for (int gate = 0; gate < count; ++gate) {
      masks.push_back(DropoutMask(sizes, rate,
                                  DeriveSeed(call.seed, purpose, static_cast<std::uint64_t>(gate)),
                                  call.weights[0].device()));
    }
    return masks;
  }

  const Layer& layer;
  const SequenceOptions& options;
  at::Tensor kernel, recurrent_kernel, bias, recurrent_bias;
  std::vector<at::Tensor> state_masks;  // One a gate, or empty.
};

// The hidden state times a recurrent kernel, all gates side by side, and `addend`; with recurrent
// dropout each gate sees a state of its own.
at::Tensor StateProduct(const Cell& cell, const at::Tensor& addend, const at::Tensor& state,
                        const at::Tensor& kernel) {
  if (cell.state_masks.empty()) {
    return addend.defined() ? at::addmm(addend, state, kernel) : at::mm(state, kernel);
  }
  const std::int64_t units = cell.layer.units;
  std::vector<at::Tensor> gates;
  for (std::int64_t gate = 0; gate < kernel.size(1) / units; ++gate) {
    gates.push_back(at::mm(state * cell.state_masks[static_cast<std::size_t>(gate)],
                           kernel.narrow(1, gate * units, units)));
  }
  const at::Tensor product = at::cat(gates, 1);
  return addend.defined() ? product + addend : product;
}

at::Tensor Act(model::Activation activation, const at::Tensor& input) {
  return Activate(activation, input, -1, /*in_place=*/false);
}

struct State {
  at::Tensor hidden;  // Also the output.
  at::Tensor carry;   // Of an LSTM.
};

State StepSimpleRnn(const Cell& cell, const at::Tensor& x, const State& state) {
  const at::Tensor sum = StateProduct(cell, x, state.hidden, cell.recurrent_kernel);
  return {Act(cell.layer.activation, sum), {}};
}

// Gates in the order input, forget, candidate, output, along `axis` of `sum`.
State FinishLstm(const Layer& layer, const at::Tensor& sum, std::int64_t axis,
                 const at::Tensor& carry) {
  const std::vector<at::Tensor> gates = sum.chunk(4, axis);
  const model::Activation gate_activation = layer.sequence.recurrent_activation;
  const at::Tensor in = Act(gate_activation, gates[0]);
  const at::Tensor forget = Act(gate_activation, gates[1]);
  const at::Tensor next = forget * carry + in * Act(layer.activation, gates[2]);
  return {Act(gate_activation, gates[3]) * Act(layer.activation, next), next};
}

State StepLstm(const Cell& cell, const at::Tensor& x, const State& state) {
  const at::Tensor sum = StateProduct(cell, x, state.hidden, cell.recurrent_kernel);
  return FinishLstm(cell.layer, sum, 1, state.carry);
}

// Gates in the order update, reset, candidate.
State StepGru(const Cell& cell, const at::Tensor& x, const State& state) {
  const std::int64_t units = cell.layer.units;
  const model::Activation gate_activation = cell.options.recurrent_activation;
  const std::vector<at::Tensor> in = x.chunk(3, 1);
  at::Tensor update, reset, recurrent;
  if (cell.options.reset_after) {
    const std::vector<at::Tensor> inner =
        StateProduct(cell, cell.recurrent_bias, state.hidden, cell.recurrent_kernel).chunk(3, 1);
    update = Act(gate_activation, in[0] + inner[0]);
    reset = Act(gate_activation, in[1] + inner[1]);
    recurrent = reset * inner[2];
  } else {
    const at::Tensor gates = cell.recurrent_kernel.narrow(1, 0, 2 * units);
    const std::vector<at::Tensor> inner = StateProduct(cell, {}, state.hidden, gates).chunk(2, 1);
    update = Act(gate_activation, in[0] + inner[0]);
    reset = Act(gate_activation, in[1] + inner[1]);
    at::Tensor hidden = reset * state.hidden;
    if (!cell.state_masks.empty()) hidden = hidden * cell.state_masks[2];
    recurrent = at::mm(hidden, cell.recurrent_kernel.narrow(1, 2 * units, units));
  }
  const at::Tensor candidate = Act(cell.layer.activation, in[2] + recurrent);
  return {update * state.hidden + (1 - update) * candidate, {}};
}

// What one step does: from that step's projected input and the state to the next state.
using Step = std::function<State(const at::Tensor& x, const State& state)>;

// Runs `step` over the first axis of `projected` and gives all outputs, stacked behind
// the batch axis, or the last. A masked step leaves the state as it is.
at::Tensor RunSteps(const LayerCall& call, const at::Tensor& projected, State state,
                    const Step& step) {
  const SequenceOptions& options = call.layer->sequence;
  const std::int64_t count = projected.size(0);
  const std::vector<at::Tensor> inputs = projected.unbind(0);
  std::vector<std::int64_t> mask_sizes(static_cast<std::size_t>(state.hidden.dim()), 1);
  mask_sizes[0] = state.hidden.size(0);
  const at::Tensor zero = at::zeros({}, projected.options());
  std::vector<at::Tensor> outputs;
  at::Tensor output = state.hidden;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t time = options.go_backwards ? count - 1 - i : i;
    State next = step(inputs[static_cast<std::size_t>(time)], state);
    output = next.hidden;
    if (call.mask.defined()) {
      const at::Tensor counts = call.mask.select(1, time).reshape(mask_sizes);
      next.hidden = at::where(counts, next.hidden, state.hidden);
      if (next.carry.defined()) next.carry = at::where(counts, next.carry, state.carry);
      output = options.zero_output_for_mask ? at::where(counts, output, zero) : next.hidden;
    }
    state = std::move(next);
    if (options.return_sequences) outputs.push_back(output);
  }
  return options.return_sequences ? at::stack(outputs, 1) : output;
}

// (steps, batch, gates x units): all steps' inputs through the kernel in one product.
at::Tensor ProjectInput(const LayerCall& call, const Cell& cell, const at::Tensor& input) {
  const std::int64_t batch = input.size(0), steps = input.size(1), width = input.size(2);
  const at::Tensor rows = input.transpose(0, 1);
  const int mask_count = cell.options.drop_per_gate ? GateCount(cell.layer) : 1;
  const std::vector<at::Tensor> masks =
      Cell::Masks(call, cell.options.dropout, mask_count, 1, {batch, width});
  at::Tensor projected;
  if (masks.size() <= 1) {
    const at::Tensor sequence = masks.empty() ? rows : rows * masks[0];
    const at::Tensor flat = sequence.reshape({steps * batch, width});
    projected =
        cell.bias.defined() ? at::addmm(cell.bias, flat, cell.kernel) : at::mm(flat, cell.kernel);
  } else {
    std::vector<at::Tensor> gates;
    const std::vector<at::Tensor> kernels = cell.kernel.chunk(mask_count, 1);
    for (std::size_t gate = 0; gate < masks.size(); ++gate) {
      gates.push_back(at::mm((rows * masks[gate]).reshape({steps * batch, width}), kernels[gate]));
    }
    projected = at::cat(gates, 1);
    if (cell.bias.defined()) projected = projected + cell.bias;
  }
  return projected.reshape({steps, batch, -1});
}

at::Tensor Recurrent(const LayerCall& call, const at::Tensor& input) {
  Cell cell(call);
  const Layer& layer = cell.layer;
  const std::int64_t batch = input.size(0);
  cell.state_masks =
      Cell::Masks(call, cell.options.recurrent_dropout, GateCount(layer), 2, {batch, layer.units});
  State state{at::zeros({batch, layer.units}, input.options()), {}};
  if (layer.kind == LayerKind::kLstm) state.carry = state.hidden;
  const auto step = layer.kind == LayerKind::kSimpleRnn ? StepSimpleRnn
                    : layer.kind == LayerKind::kLstm    ? StepLstm
                                                        : StepGru;
  return RunSteps(call, ProjectInput(call, cell, input), std::move(state),
                  [&](const at::Tensor& x, const State& now) { return step(cell, x, now); });
}

struct ConvolutionOptions {
  std::array<std::int64_t, 2> strides{1, 1};
  std::array<std::int64_t, 2> dilation{1, 1};
  bool same = true;
};

// Of (N, C, H, W) with Keras's kernel (height, width, in, out) and TensorFlow's padding,
// whose smaller half comes first.
at::Tensor Convolve(const at::Tensor& image, const at::Tensor& kernel, const at::Tensor& bias,
                    const ConvolutionOptions& options) {
  std::array<std::int64_t, 4> pads{};  // Left, right, top, bottom.
  for (std::size_t i = 0; i < 2 && options.same; ++i) {
    const auto axis = static_cast<std::int64_t>(i);
    const std::int64_t length = image.size(2 + axis);
    const std::int64_t outputs = (length + options.strides[i] - 1) / options.strides[i];
    const std::int64_t window = (kernel.size(axis) - 1) * options.dilation[i] + 1;
    const std::int64_t total =
        std::max<std::int64_t>((outputs - 1) * options.strides[i] + window - length, 0);
    pads[2 * (1 - i)] = total / 2;
    pads[2 * (1 - i) + 1] = total - total / 2;
  }
  const bool padded = std::any_of(pads.begin(), pads.end(), [](auto pad) { return pad > 0; });
  constexpr std::array<std::int64_t, 2> no_padding{0, 0};
  return at::conv2d(padded ? at::constant_pad_nd(image, pads, 0) : image,
                    kernel.permute({3, 2, 0, 1}), bias, options.strides, no_padding,
                    options.dilation, 1);
}

at::Tensor ConvLstm2D(const LayerCall& call, const at::Tensor& input) {
  Cell cell(call);
  const Layer& layer = cell.layer;
  const std::int64_t batch = input.size(0), steps = input.size(1);
  at::Tensor images = layer.channels_last ? input.permute({1, 0, 4, 2, 3}) : input.transpose(0, 1);
  ConvolutionOptions options;
  options.same = layer.padding == Padding::kSame;
  for (std::size_t i = 0; i < 2; ++i) {
    options.strides[i] = layer.strides[i];
    options.dilation[i] = layer.dilation_rate[i];
  }
  const std::vector<at::Tensor> masks =
      Cell::Masks(call, cell.options.dropout, 4, 1, images.sizes().slice(1));
  const auto project = [&](const at::Tensor& sequence, const at::Tensor& kernel,
                           const at::Tensor& bias) {
    return Convolve(sequence.flatten(0, 1), kernel, bias, options);
  };
  at::Tensor projected;
  if (masks.empty()) {
    projected = project(images, cell.kernel, cell.bias);
  } else {
    std::vector<at::Tensor> gates;
    const std::vector<at::Tensor> kernels = cell.kernel.chunk(4, 3);
    for (std::size_t gate = 0; gate < 4; ++gate) {
      gates.push_back(project(images * masks[gate], kernels[gate], {}));
    }
    projected = at::cat(gates, 1);
    if (cell.bias.defined()) projected = projected + cell.bias.view({1, -1, 1, 1});
  }
  projected =
      projected.reshape({steps, batch, projected.size(1), projected.size(2), projected.size(3)});
  State state;
  state.hidden =
      at::zeros({batch, layer.filters, projected.size(3), projected.size(4)}, projected.options());
  state.carry = state.hidden;
  const std::vector<at::Tensor> state_masks =
      Cell::Masks(call, cell.options.recurrent_dropout, 4, 2, state.hidden.sizes());
  const std::vector<at::Tensor> state_kernels = cell.recurrent_kernel.chunk(4, 3);
  const Step step = [&](const at::Tensor& x, const State& now) {
    at::Tensor recurrent;
    if (state_masks.empty()) {
      recurrent = Convolve(now.hidden, cell.recurrent_kernel, {}, {});
    } else {
      std::vector<at::Tensor> gates;
      for (std::size_t gate = 0; gate < 4; ++gate) {
        gates.push_back(Convolve(now.hidden * state_masks[gate], state_kernels[gate], {}, {}));
      }
      recurrent = at::cat(gates, 1);
    }
    return FinishLstm(layer, x + recurrent, 1, now.carry);
  };
  const at::Tensor out = RunSteps(call, projected, std::move(state), step);
  return layer.channels_last ? out.movedim(cell.options.return_sequences ? 2 : 1, -1) : out;
}

// The call of a wrapped layer.
LayerCall InnerCall(const LayerCall& call, std::size_t index) {
  LayerCall inner = call;
  inner.layer = &call.layer->wrapped[index];
  inner.weights = call.weights.subspan(static_cast<std::size_t>(inner.layer->first_weight),
                                       static_cast<std::size_t>(inner.layer->weight_count));
  inner.seed = DeriveSeed(call.seed, 3, index);
  inner.skip_activation = false;
  return inner;
}

at::Tensor Bidirectional(const LayerCall& call, const at::Tensor& input) {
  const at::Tensor forward = Forward(InnerCall(call, 0), input);
  at::Tensor backward = Forward(InnerCall(call, 1), input);
  if (call.layer->sequence.return_sequences) backward = backward.flip(1);
  switch (call.layer->sequence.merge_mode) {
    case MergeMode::kConcatenate:
      return at::cat({forward, backward}, -1);
    case MergeMode::kSum:
      return forward + backward;
    case MergeMode::kMultiply:
      return forward * backward;
    case MergeMode::kAverage:
      return (forward + backward) / 2;
  }
  return forward;
}

// A mask over several axes, seen by the layer that is applied at each step.
at::Tensor InnerMask(const at::Tensor& mask) {
  return mask.defined() && mask.dim() > 2 ? mask.flatten(0, 1) : at::Tensor();
}

at::Tensor TimeDistributed(const LayerCall& call, const at::Tensor& input) {
  LayerCall inner = InnerCall(call, 0);
  inner.mask = InnerMask(call.mask);
  const at::Tensor out = Forward(inner, input.flatten(0, 1));
  std::vector<std::int64_t> sizes = out.sizes().vec();
  sizes[0] = input.size(0);
  sizes.insert(sizes.begin() + 1, input.size(1));
  return out.reshape(sizes);
}

at::Tensor Embedding(const LayerCall& call, const at::Tensor& input) {
  const Layer& layer = *call.layer;
  at::Tensor indices = input.to(at::kLong);
  if (indices.numel() > 0) {
    const auto [low, high] = at::aminmax(input);
    // Written so that it refuses what is not a number, too.
    if (!(low.item<float>() > -1 &&
          high.item<float>() < static_cast<float>(layer.sequence.input_dim))) {
      *call.problem = Error{
          ErrorCode::kInvalidArgument,
          layer.name + ": the data have indices from " + std::to_string(low.item<float>()) +
              " to " + std::to_string(high.item<float>()) + "; expected whole numbers from 0 to " +
              std::to_string(layer.sequence.input_dim - 1)};
      indices = at::zeros_like(indices);
    }
  }
  return at::embedding(call.weights[0], indices);
}

at::Tensor CountingSteps(const Layer& layer, const at::Tensor& input) {
  return at::any(at::ne(input, layer.sequence.mask_value), -1);
}

at::Tensor RepeatVector(const Layer& layer, const at::Tensor& input) {
  return input.unsqueeze(1).expand({input.size(0), layer.output_shape[0], input.size(1)});
}

}  // namespace

at::Tensor ForwardSequence(const LayerCall& call, const at::Tensor& input) {
  const Layer& layer = *call.layer;
  switch (layer.kind) {
    case LayerKind::kSimpleRnn:
    case LayerKind::kLstm:
    case LayerKind::kGru:
      return Recurrent(call, input);
    case LayerKind::kConvLstm2D:
      return ConvLstm2D(call, input);
    case LayerKind::kBidirectional:
      return Bidirectional(call, input);
    case LayerKind::kTimeDistributed:
      return TimeDistributed(call, input);
    case LayerKind::kEmbedding:
      return Embedding(call, input);
    case LayerKind::kMasking:
      return input * CountingSteps(layer, input).unsqueeze(-1);
    case LayerKind::kRepeatVector:
      return RepeatVector(layer, input);
    default:
      break;
  }
  DNC_ASSERT(false);  // Not a layer of sequences.
  return input;
}

at::Tensor OutputMask(const Layer& layer, const at::Tensor& input, const at::Tensor& mask) {
  switch (layer.kind) {
    case LayerKind::kMasking:
      return CountingSteps(layer, input);
    case LayerKind::kEmbedding:
      return layer.sequence.mask_zero ? at::ne(input.to(at::kLong), 0) : at::Tensor();
    case LayerKind::kSimpleRnn:
    case LayerKind::kLstm:
    case LayerKind::kGru:
    case LayerKind::kConvLstm2D:
    case LayerKind::kBidirectional:
      return layer.sequence.return_sequences ? mask : at::Tensor();
    case LayerKind::kTimeDistributed: {
      const at::Tensor inner = OutputMask(layer.wrapped[0], input.flatten(0, 1), InnerMask(mask));
      if (inner.defined()) return inner.unflatten(0, {input.size(0), input.size(1)});
      return mask.defined() && mask.dim() > 2 ? mask.flatten(2).any(-1) : mask;
    }
    // Those that work on each step by itself.
    case LayerKind::kDense:
    case LayerKind::kDropout:
    case LayerKind::kBatchNormalization:
    case LayerKind::kActivation:
    case LayerKind::kActivityRegularization:
    case LayerKind::kAlphaDropout:
    case LayerKind::kGaussianDropout:
    case LayerKind::kGaussianNoise:
    case LayerKind::kGroupNormalization:
    case LayerKind::kLayerNormalization:
    case LayerKind::kMultiHeadAttention:  // Its query's.
    case LayerKind::kPRelu:
    case LayerKind::kSpatialDropout:
    case LayerKind::kUnitNormalization:
      return mask;
    default:
      return {};
  }
}

at::Tensor MaskedAverage(const LayerCall& call, const at::Tensor& input) {
  const std::int64_t steps = call.layer->channels_last ? 1 : 2;
  const at::Tensor counts = call.mask.unsqueeze(3 - steps).to(at::kFloat);
  const bool keep_axes = call.layer->output_shape.size() == 2;
  return (input * counts).sum(steps, keep_axes) / counts.sum(steps, keep_axes);
}

}  // namespace dnc::trainer_torch
