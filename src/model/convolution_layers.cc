// Convolutions of one, two and three spatial axes: options as Keras has them, and output
// shapes as it derives them (conv_output_length and deconv_output_length in
// keras/utils/conv_utils.py).

#include <nlohmann/json.hpp>

#include "model/json_text.h"
#include "model/layer_registry.h"
#include "model/spatial_shape.h"

namespace dnc::model {
namespace {

using array::Shape;
using array::ShapeText;

// "kernel_size", "strides", "dilation_rate", "padding", "data_format".
void ReadWindow(OptionReader* options, LayerDraft* draft) {
  Layer& layer = draft->layer;
  layer.kernel_size = options->Axes("kernel_size", layer.rank, 0);
  layer.strides = options->Axes("strides", layer.rank, 1);
  layer.padding = ReadPadding(options, layer.rank == 1 && layer.kind == LayerKind::kConv);
  layer.channels_last = ReadChannelsLast(options);
  layer.dilation_rate = options->Axes("dilation_rate", layer.rank, 1);
  const auto above_one = [](std::int64_t axis) { return axis > 1; };
  if (std::any_of(layer.strides.begin(), layer.strides.end(), above_one) &&
      std::any_of(layer.dilation_rate.begin(), layer.dilation_rate.end(), above_one)) {
    options->Fail(ErrorCode::kUnsupported,
                  "strides and dilation_rate are both above 1; Keras supports one of them");
  }
  options->RefuseUnlessNull({"lora_rank", "quantization_config"});
}

// Keras lists them in the config of every convolution that inherits them.
void IgnoreKernelOfBase(OptionReader* options) {
  options->Ignore({"kernel_initializer", "kernel_regularizer", "kernel_constraint", "filters"});
}

Shape KernelShape(const Layer& layer, std::initializer_list<std::int64_t> more) {
  Shape shape = layer.kernel_size;
  shape.insert(shape.end(), more);
  return shape;
}

}  // namespace

void ReadConv(OptionReader* options, LayerDraft* draft) {
  Layer& layer = draft->layer;
  layer.filters = options->Int("filters", std::nullopt, 1);
  ReadWindow(options, draft);
  layer.groups = options->Int("groups", 1, 1);
  draft->kernel = ReadWeightRule(options, "kernel", "GlorotUniform");
  ReadActivationAndBias(options, draft);
}

Status InferConv(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  DNC_ASSIGN(const SpatialShape given, SpatialShapeOf(input, *draft));
  if (given.channels % layer.groups != 0 || layer.filters % layer.groups != 0) {
    return DoesNotFit(*draft, std::to_string(layer.groups) + " groups do not divide the " +
                                  std::to_string(given.channels) + " channels of its input " +
                                  ShapeText(input) + " and its " + std::to_string(layer.filters) +
                                  " filters evenly");
  }
  DNC_ASSIGN(const Shape size, WindowOutput(given, input, *draft));
  layer.output_shape = JoinedShape({size, layer.filters}, layer.channels_last);
  AddWeight(draft, "kernel", KernelShape(layer, {given.channels / layer.groups, layer.filters}),
            draft->kernel);
  if (layer.use_bias) AddWeight(draft, "bias", {layer.filters}, draft->bias);
  return {};
}

void ReadConvTranspose(OptionReader* options, LayerDraft* draft) {
  Layer& layer = draft->layer;
  layer.filters = options->Int("filters", std::nullopt, 1);
  ReadWindow(options, draft);
  options->Ignore({"groups"});  // Inherited; no such convolution has any.
  const nlohmann::json* padding = options->Find("output_padding");
  if (padding != nullptr && !padding->is_null()) {
    const auto is_zero = [](const nlohmann::json& value) { return value == 0; };
    // Axes() begins at 1, but no padding is a padding, too.
    const bool zero = padding->is_array() ? std::all_of(padding->begin(), padding->end(), is_zero)
                                          : is_zero(*padding);
    const auto rank = static_cast<std::size_t>(layer.rank);
    layer.output_padding = zero ? Shape(rank, 0) : options->Axes("output_padding", layer.rank, 1);
    for (std::size_t i = 0; i < rank; ++i) {
      if (layer.output_padding[i] < layer.strides[i]) continue;
      options->Fail(ErrorCode::kInvalidArgument,
                    "option \"output_padding\" is " + ShapeText(layer.output_padding) +
                        "; expected less than the strides " + ShapeText(layer.strides));
    }
  }
  options->Record("output_padding", layer.output_padding.empty()
                                        ? nlohmann::ordered_json()
                                        : nlohmann::ordered_json(layer.output_padding));
  draft->kernel = ReadWeightRule(options, "kernel", "GlorotUniform");
  ReadActivationAndBias(options, draft);
}

Status InferConvTranspose(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  DNC_ASSIGN(const SpatialShape given, SpatialShapeOf(input, *draft));
  SpatialShape made{{}, layer.filters};
  for (std::size_t i = 0; i < given.size.size(); ++i) {
    const std::int64_t length = given.size[i];
    const std::int64_t stride = layer.strides[i];
    const std::int64_t window = (layer.kernel_size[i] - 1) * layer.dilation_rate[i] + 1;
    const bool same = layer.padding == Padding::kSame;
    std::int64_t output = length * stride;
    if (!layer.output_padding.empty()) {
      const std::int64_t pad = same ? window / 2 : 0;
      output = (length - 1) * stride + window - 2 * pad + layer.output_padding[i];
    } else if (!same) {
      output += std::max<std::int64_t>(window - stride, 0);
    }
    if (output < 1 || output > kAxisMax) {
      return DoesNotFit(*draft, "it would make an axis of " + std::to_string(output) +
                                    " of its input " + ShapeText(input));
    }
    made.size.push_back(output);
  }
  layer.output_shape = JoinedShape(made, layer.channels_last);
  AddWeight(draft, "kernel", KernelShape(layer, {layer.filters, given.channels}), draft->kernel);
  if (layer.use_bias) AddWeight(draft, "bias", {layer.filters}, draft->bias);
  return {};
}

void ReadDepthwiseConv(OptionReader* options, LayerDraft* draft) {
  ReadWindow(options, draft);
  IgnoreKernelOfBase(options);
  options->Ignore({"groups"});
  draft->layer.depth_multiplier = options->Int("depth_multiplier", 1, 1);
  draft->kernel = ReadWeightRule(options, "depthwise", "GlorotUniform");
  ReadActivationAndBias(options, draft);
}

Status InferDepthwiseConv(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  DNC_ASSIGN(const SpatialShape given, SpatialShapeOf(input, *draft));
  DNC_ASSIGN(const Shape size, WindowOutput(given, input, *draft));
  if (given.channels > kAxisMax / layer.depth_multiplier) {
    return DoesNotFit(*draft, "too many channels: " + std::to_string(given.channels) + " times " +
                                  std::to_string(layer.depth_multiplier));
  }
  const std::int64_t made = given.channels * layer.depth_multiplier;
  layer.output_shape = JoinedShape({size, made}, layer.channels_last);
  AddWeight(draft, "depthwise_kernel", KernelShape(layer, {given.channels, layer.depth_multiplier}),
            draft->kernel);
  if (layer.use_bias) AddWeight(draft, "bias", {made}, draft->bias);
  return {};
}

void ReadSeparableConv(OptionReader* options, LayerDraft* draft) {
  draft->layer.filters = options->Int("filters", std::nullopt, 1);
  ReadWindow(options, draft);
  options->Ignore({"groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"});
  draft->layer.depth_multiplier = options->Int("depth_multiplier", 1, 1);
  draft->kernel = ReadWeightRule(options, "depthwise", "GlorotUniform");
  draft->pointwise = ReadWeightRule(options, "pointwise", "GlorotUniform");
  ReadActivationAndBias(options, draft);
}

Status InferSeparableConv(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  DNC_ASSIGN(const SpatialShape given, SpatialShapeOf(input, *draft));
  DNC_ASSIGN(const Shape size, WindowOutput(given, input, *draft));
  if (given.channels > kAxisMax / layer.depth_multiplier) {
    return DoesNotFit(*draft, "too many channels: " + std::to_string(given.channels) + " times " +
                                  std::to_string(layer.depth_multiplier));
  }
  layer.output_shape = JoinedShape({size, layer.filters}, layer.channels_last);
  AddWeight(draft, "depthwise_kernel", KernelShape(layer, {given.channels, layer.depth_multiplier}),
            draft->kernel);
  Shape pointwise(static_cast<std::size_t>(layer.rank), 1);
  pointwise.push_back(given.channels * layer.depth_multiplier);
  pointwise.push_back(layer.filters);
  AddWeight(draft, "pointwise_kernel", pointwise, draft->pointwise);
  if (layer.use_bias) AddWeight(draft, "bias", {layer.filters}, draft->bias);
  return {};
}

void ReadLocallyConnected(OptionReader* options, LayerDraft* draft) {
  Layer& layer = draft->layer;
  layer.filters = options->Int("filters", std::nullopt, 1);
  layer.kernel_size = options->Axes("kernel_size", layer.rank, 0);
  layer.strides = options->Axes("strides", layer.rank, 1);
  layer.dilation_rate = Shape(static_cast<std::size_t>(layer.rank), 1);
  layer.padding = ReadPadding(options, false);
  layer.channels_last = ReadChannelsLast(options);
  const std::int64_t implementation = options->Int("implementation", 1, 1);
  if (implementation != 1 || layer.padding != Padding::kValid) {
    options->Fail(ErrorCode::kUnsupported,
                  "implementation " + std::to_string(implementation) +
                      (layer.padding == Padding::kValid ? "" : " with padding \"same\"") +
                      "; only 1 with padding \"valid\" is supported");
  }
  draft->kernel = ReadWeightRule(options, "kernel", "GlorotUniform");
  ReadActivationAndBias(options, draft);
}

Status InferLocallyConnected(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  DNC_ASSIGN(const SpatialShape given, SpatialShapeOf(input, *draft));
  DNC_ASSIGN(const Shape size, WindowOutput(given, input, *draft));
  layer.output_shape = JoinedShape({size, layer.filters}, layer.channels_last);
  std::int64_t terms = given.channels;
  std::int64_t positions = 1;
  for (std::size_t i = 0; i < size.size(); ++i) {
    positions *= size[i];
    terms *= layer.kernel_size[i];  // At most the input's elements.
  }
  AddWeight(draft, "kernel", {positions, terms, layer.filters}, draft->kernel);
  Shape bias = size;
  bias.push_back(layer.filters);
  if (layer.use_bias) AddWeight(draft, "bias", bias, draft->bias);
  return {};
}

}  // namespace dnc::model
