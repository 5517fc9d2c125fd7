// Output shapes and weights of the layers of sequences, as the build() functions in
// keras/layers/rnn of 2.15 make them.

#include "model/recurrent_layers.h"

namespace dnc::model {
namespace {

using array::Shape;
using array::ShapeText;

int GateCount(LayerKind kind) {
  return kind == LayerKind::kSimpleRnn ? 1 : kind == LayerKind::kGru ? 3 : 4;
}

// Infers a wrapped layer by its own row and takes its weights.
Status InferWrapped(const Shape& input, LayerDraft* inner, LayerDraft* draft) {
  inner->layer.trainable = inner->layer.trainable && draft->layer.trainable;
  DNC_TRY(inner->layer_class->infer(input, inner));
  inner->layer.first_weight = static_cast<int>(draft->weights.size());
  inner->layer.weight_count = static_cast<int>(inner->weights.size());
  for (WeightSpec& weight : inner->weights) draft->weights.push_back(std::move(weight));
  return {};
}

}  // namespace

Status InferRecurrent(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  if (input.size() != 2) {
    return DoesNotFit(*draft, "its input has shape " + ShapeText(input) +
                                  "; expected a sequence of two axes, (steps, features)");
  }
  layer.output_shape =
      layer.sequence.return_sequences ? Shape{input[0], layer.units} : Shape{layer.units};
  const std::int64_t width = GateCount(layer.kind) * layer.units;
  AddWeight(draft, "kernel", {input[1], width}, draft->kernel);
  AddWeight(draft, "recurrent_kernel", {layer.units, width}, draft->recurrent_kernel);
  if (!layer.use_bias) return {};
  const bool two_biases = layer.kind == LayerKind::kGru && layer.sequence.reset_after;
  AddWeight(draft, "bias", two_biases ? Shape{2, width} : Shape{width}, draft->bias);
  return {};
}

Status InferConvLstm2D(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  if (input.size() != 4) {
    return DoesNotFit(*draft, "its input has shape " + ShapeText(input) +
                                  "; expected a sequence of images of four axes, " +
                                  (layer.channels_last ? "(steps, height, width, channels)"
                                                       : "(steps, channels, height, width)"));
  }
  const std::int64_t channels = input[layer.channels_last ? 3 : 1];
  Shape size(2);
  for (std::size_t i = 0; i < 2; ++i) {
    const std::int64_t length = input[i + (layer.channels_last ? 1 : 2)];
    const std::int64_t window =
        layer.kernel_size[i] + (layer.kernel_size[i] - 1) * (layer.dilation_rate[i] - 1);
    const std::int64_t positions = layer.padding == Padding::kSame ? length : length - window + 1;
    if (positions < 1) {
      return DoesNotFit(*draft, "kernel " + std::to_string(layer.kernel_size[0]) + "x" +
                                    std::to_string(layer.kernel_size[1]) +
                                    " does not fit its input " + ShapeText(input));
    }
    size[i] = (positions + layer.strides[i] - 1) / layer.strides[i];
  }
  layer.output_shape = layer.channels_last ? Shape{size[0], size[1], layer.filters}
                                           : Shape{layer.filters, size[0], size[1]};
  if (layer.sequence.return_sequences) {
    layer.output_shape.insert(layer.output_shape.begin(), input[0]);
  }
  const std::int64_t width = 4 * layer.filters;
  AddWeight(draft, "kernel", {layer.kernel_size[0], layer.kernel_size[1], channels, width},
            draft->kernel);
  AddWeight(draft, "recurrent_kernel",
            {layer.kernel_size[0], layer.kernel_size[1], layer.filters, width},
            draft->recurrent_kernel);
  if (layer.use_bias) AddWeight(draft, "bias", {width}, draft->bias);
  return {};
}

Status InferBidirectional(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  for (LayerDraft& inner : draft->wrapped) {
    inner.layer.name = layer.name + "/" + inner.layer.name;
    DNC_TRY(InferWrapped(input, &inner, draft));
  }
  const Shape& forward = draft->wrapped[0].layer.output_shape;
  const Shape& backward = draft->wrapped[1].layer.output_shape;
  if (forward != backward) {
    return DoesNotFit(*draft, "its layers' outputs have the shapes " + ShapeText(forward) +
                                  " and " + ShapeText(backward) + "; expected equal ones");
  }
  layer.output_shape = forward;
  if (layer.sequence.merge_mode == MergeMode::kConcatenate) layer.output_shape.back() *= 2;
  for (LayerDraft& inner : draft->wrapped) layer.wrapped.push_back(std::move(inner.layer));
  return {};
}

Status InferTimeDistributed(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  if (input.size() < 2) {
    return DoesNotFit(*draft, "its input has shape " + ShapeText(input) +
                                  "; expected a sequence of at least two axes, (steps, ...)");
  }
  LayerDraft& inner = draft->wrapped[0];
  inner.layer.name = layer.name;  // Keras gives the weights the wrapper's name.
  DNC_TRY(InferWrapped(Shape(input.begin() + 1, input.end()), &inner, draft));
  layer.output_shape = inner.layer.output_shape;
  layer.output_shape.insert(layer.output_shape.begin(), input[0]);
  layer.wrapped.push_back(std::move(inner.layer));
  return {};
}

Status InferEmbedding(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  layer.output_shape = input;
  layer.output_shape.push_back(layer.units);
  AddWeight(draft, "embeddings", {layer.sequence.input_dim, layer.units}, draft->kernel);
  return {};
}

Status InferRepeatVector(const Shape& input, LayerDraft* draft) {
  if (input.size() != 1) {
    return DoesNotFit(
        *draft, "its input has shape " + ShapeText(input) + "; expected a vector of one axis");
  }
  draft->layer.output_shape = {draft->repeat_count, input[0]};
  return {};
}

}  // namespace dnc::model
