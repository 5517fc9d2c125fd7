// Output shapes and weights as Keras derives them (conv_output_length and the
// layers' build() in keras/utils/conv_utils.py and keras/layers).

#include "model/layer_registry.h"

namespace dnc::model {
namespace {

using array::Shape;
using array::ShapeText;

Error DoesNotFit(const LayerDraft& draft, const std::string& what) {
  return {ErrorCode::kInvalidArgument, draft.layer.name + ": " + what};
}

void AddWeight(LayerDraft* draft, const char* name, Shape shape, const Initializer& initializer,
               bool statistic = false) {
  WeightSpec weight;
  weight.name = draft->layer.name + "/" + name + ":0";
  weight.shape = std::move(shape);
  weight.trainable = draft->layer.trainable && !statistic;
  weight.initializer = initializer;
  draft->weights.push_back(std::move(weight));
}

// Requires: three axes.
struct Image {
  Image(const Shape& shape, bool channels_last)
      : size{shape[channels_last ? 0 : 1], shape[channels_last ? 1 : 2]},
        channels(shape[channels_last ? 2 : 0]) {}
  std::array<std::int64_t, 2> size;
  std::int64_t channels;
};

Shape ImageShape(const std::array<std::int64_t, 2>& size, std::int64_t channels,
                 bool channels_last) {
  return channels_last ? Shape{size[0], size[1], channels} : Shape{channels, size[0], size[1]};
}

Status CheckIsImage(const Shape& input, const LayerDraft& draft) {
  if (input.size() == 3) return {};
  return DoesNotFit(draft, std::string("its input has shape ") + ShapeText(input) +
                               "; expected an image of three axes, " +
                               (draft.layer.channels_last ? "(height, width, channels)"
                                                          : "(channels, height, width)") +
                               "; a Reshape or a Flatten before it may be missing or too much");
}

// The output of a window over an image, or an error that names both shapes.
Result<std::array<std::int64_t, 2>> WindowOutput(const Shape& input, const LayerDraft& draft) {
  const Layer& layer = draft.layer;
  const Image image(input, layer.channels_last);
  std::array<std::int64_t, 2> output{};
  for (int i = 0; i < 2; ++i) {
    // At most 2^62: each option is below 2^31.
    const std::int64_t window =
        layer.kernel_size[i] + (layer.kernel_size[i] - 1) * (layer.dilation_rate[i] - 1);
    std::int64_t positions = image.size[i];
    if (layer.padding == Padding::kValid) positions = image.size[i] - window + 1;
    if (positions < 1) {
      const std::string size =
          std::to_string(layer.kernel_size[0]) + "x" + std::to_string(layer.kernel_size[1]);
      const bool dilated = layer.dilation_rate[0] > 1 || layer.dilation_rate[1] > 1;
      return DoesNotFit(
          draft, (layer.kind == LayerKind::kConv2D ? "kernel " : "pool ") + size +
                     (dilated ? " dilated by " + std::to_string(layer.dilation_rate[0]) + "x" +
                                    std::to_string(layer.dilation_rate[1])
                              : "") +
                     " does not fit its input " + ShapeText(input));
    }
    output[i] = (positions + layer.strides[i] - 1) / layer.strides[i];
  }
  return output;
}

}  // namespace

Status InferInput(const Shape&, LayerDraft* draft) {
  draft->layer.output_shape = draft->given_input_shape.value_or(Shape{});
  return {};
}

Status InferSameShape(const Shape& input, LayerDraft* draft) {
  draft->layer.output_shape = input;
  return {};
}

Status InferDense(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  if (input.empty()) {
    return DoesNotFit(*draft, "its input has shape (); expected at least one axis");
  }
  layer.output_shape = input;
  layer.output_shape.back() = layer.units;
  AddWeight(draft, "kernel", {input.back(), layer.units}, draft->kernel);
  if (layer.use_bias) AddWeight(draft, "bias", {layer.units}, draft->bias);
  return {};
}

Status InferConv2D(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  DNC_TRY(CheckIsImage(input, *draft));
  const Image image(input, layer.channels_last);
  if (image.channels % layer.groups != 0 || layer.filters % layer.groups != 0) {
    return DoesNotFit(*draft, std::to_string(layer.groups) + " groups do not divide the " +
                                  std::to_string(image.channels) + " channels of its input " +
                                  ShapeText(input) + " and its " + std::to_string(layer.filters) +
                                  " filters evenly");
  }
  DNC_ASSIGN(const auto output, WindowOutput(input, *draft));
  layer.output_shape = ImageShape(output, layer.filters, layer.channels_last);
  AddWeight(
      draft, "kernel",
      {layer.kernel_size[0], layer.kernel_size[1], image.channels / layer.groups, layer.filters},
      draft->kernel);
  if (layer.use_bias) AddWeight(draft, "bias", {layer.filters}, draft->bias);
  return {};
}

Status InferPooling2D(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  DNC_TRY(CheckIsImage(input, *draft));
  DNC_ASSIGN(const auto output, WindowOutput(input, *draft));
  const Image image(input, layer.channels_last);
  layer.output_shape = ImageShape(output, image.channels, layer.channels_last);
  return {};
}

Status InferGlobalPooling2D(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  DNC_TRY(CheckIsImage(input, *draft));
  const Image image(input, layer.channels_last);
  layer.output_shape = draft->keep_dimensions
                           ? ImageShape({1, 1}, image.channels, layer.channels_last)
                           : Shape{image.channels};
  return {};
}

Status InferFlatten(const Shape& input, LayerDraft* draft) {
  // The input's own layer bounded its element count.
  draft->layer.output_shape = {static_cast<std::int64_t>(*array::ElementCount(input))};
  return {};
}

Status InferReshape(const Shape& input, LayerDraft* draft) {
  Shape target = draft->target_shape;
  const auto input_count = static_cast<std::int64_t>(*array::ElementCount(input));
  std::int64_t* derived = nullptr;
  std::int64_t known_count = 1;
  bool fits = true;
  for (std::int64_t& axis : target) {
    if (axis == -1) {
      derived = &axis;
    } else if (axis > input_count / known_count) {
      fits = false;
      break;
    } else {
      known_count *= axis;
    }
  }
  if (fits && derived != nullptr) *derived = input_count / known_count;
  fits = fits && (derived == nullptr ? known_count == input_count : input_count % known_count == 0);
  if (!fits) {
    return DoesNotFit(
        *draft, "its input " + ShapeText(input) + " has " + std::to_string(input_count) +
                    " elements, which do not fit the shape " + ShapeText(draft->target_shape));
  }
  draft->layer.output_shape = target;
  return {};
}

Status InferBatchNormalization(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  const auto axis_count = static_cast<std::int64_t>(input.size());
  // With the batch axis first, as Keras counts.
  const std::int64_t axis = draft->axis < 0 ? draft->axis + axis_count + 1 : draft->axis;
  if (axis < 1 || axis > axis_count) {
    return DoesNotFit(*draft, "axis " + std::to_string(draft->axis) +
                                  " is not an axis of its input " + ShapeText(input) +
                                  " (axis 0 is the batch)");
  }
  if (axis != 1 && axis != axis_count) {
    return Error{ErrorCode::kUnsupported, layer.name + ": axis " + std::to_string(draft->axis) +
                                              " of its input " + ShapeText(input) +
                                              " is neither the first nor the last; only those "
                                              "are supported"};
  }
  layer.channels_last = axis == axis_count;
  layer.output_shape = input;
  const Shape shape = {input[static_cast<std::size_t>(axis - 1)]};
  if (layer.scale) AddWeight(draft, "gamma", shape, draft->gamma);
  if (layer.center) AddWeight(draft, "beta", shape, draft->beta);
  AddWeight(draft, "moving_mean", shape, draft->moving_mean, true);
  AddWeight(draft, "moving_variance", shape, draft->moving_variance, true);
  return {};
}

Status InferSoftmax(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  layer.output_shape = input;
  if (layer.activation != Activation::kSoftmax) return {};
  const auto axis_count = static_cast<std::int64_t>(input.size());
  const std::int64_t axis = draft->axis < 0 ? draft->axis : draft->axis - axis_count - 1;
  if (axis < -axis_count || axis >= 0 || draft->axis == 0) {
    return DoesNotFit(*draft, "a softmax over axis " + std::to_string(draft->axis) +
                                  " does not fit its input " + ShapeText(input) +
                                  " (axis 0 is the batch)");
  }
  layer.softmax_axis = static_cast<int>(axis);
  return {};
}

}  // namespace dnc::model
