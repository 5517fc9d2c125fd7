// Layers that pool, pad, crop, enlarge or drop along spatial axes.

#include <nlohmann/json.hpp>

#include "model/json_text.h"
#include "model/layer_registry.h"
#include "model/spatial_shape.h"

namespace dnc::model {
namespace {

using array::Shape;
using array::ShapeText;
using nlohmann::json;

// A number for all axes, a number an axis, or a pair (before, after) an axis; with one
// axis, a pair alone.
void ReadMargins(OptionReader* options, const char* key, LayerDraft* draft) {
  Layer& layer = draft->layer;
  const auto rank = static_cast<std::size_t>(layer.rank);
  const json one = 1;
  const json* value = options->Find(key);
  if (value == nullptr) value = &one;
  const auto number = [](const json& element) {
    const std::int64_t length = WholeNumber(element).value_or(-1);
    return length > kAxisMax / 4 ? -1 : length;
  };
  const auto is_pair = [](const json& element) {
    return element.is_array() && element.size() == 2;
  };
  if (!value->is_array()) {
    layer.margins.assign(rank, {number(*value), number(*value)});
  } else if (rank == 1 && is_pair(*value) && !(*value)[0].is_array()) {
    layer.margins = {{number((*value)[0]), number((*value)[1])}};
  } else if (value->size() == rank) {
    for (const json& axis : *value) {
      const json& before = is_pair(axis) ? axis[0] : axis;
      const json& after = is_pair(axis) ? axis[1] : axis;
      layer.margins.push_back({number(before), number(after)});
    }
  }
  bool right = layer.margins.size() == rank;
  for (const auto& [before, after] : layer.margins) right = right && before >= 0 && after >= 0;
  if (!right) {
    options->Fail(ErrorCode::kInvalidArgument, "option \"" + std::string(key) + "\" is " +
                                                   ShortJson(*value) +
                                                   "; expected a number, or a pair of before and "
                                                   "after for each of " +
                                                   std::to_string(rank) + " axes");
    return;
  }
  if (rank == 1) {
    options->Record(key, layer.margins[0]);
  } else {
    options->Record(key, layer.margins);
  }
}

Interpolation ReadInterpolation(OptionReader* options, const char* fallback) {
  return options->Choice("interpolation", fallback, {"nearest", "bilinear"}) == "nearest"
             ? Interpolation::kNearest
             : Interpolation::kBilinear;
}

}  // namespace

void ReadPooling(OptionReader* options, LayerDraft* draft) {
  Layer& layer = draft->layer;
  layer.kernel_size = options->Axes("pool_size", layer.rank, 2);
  layer.padding = ReadPadding(options, false);
  layer.strides = options->OptionalAxes("strides", layer.rank).value_or(layer.kernel_size);
  options->Record("strides", layer.strides);
  layer.dilation_rate = Shape(static_cast<std::size_t>(layer.rank), 1);
  layer.channels_last = ReadChannelsLast(options);
}

Status InferPooling(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  DNC_ASSIGN(const SpatialShape given, SpatialShapeOf(input, *draft));
  DNC_ASSIGN(const Shape size, WindowOutput(given, input, *draft));
  layer.output_shape = JoinedShape({size, given.channels}, layer.channels_last);
  return {};
}

void ReadGlobalPooling(OptionReader* options, LayerDraft* draft) {
  draft->layer.channels_last = ReadChannelsLast(options);
  draft->keep_dimensions = options->Bool("keepdims", false);
}

Status InferGlobalPooling(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  DNC_ASSIGN(SpatialShape given, SpatialShapeOf(input, *draft));
  layer.output_shape = {given.channels};
  given.size.assign(given.size.size(), 1);
  if (draft->keep_dimensions) layer.output_shape = JoinedShape(given, layer.channels_last);
  return {};
}

void ReadZeroPadding(OptionReader* options, LayerDraft* draft) {
  ReadMargins(options, "padding", draft);
  draft->layer.channels_last = ReadChannelsLast(options);
}

Status InferZeroPadding(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  DNC_ASSIGN(SpatialShape shape, SpatialShapeOf(input, *draft));
  for (std::size_t i = 0; i < shape.size.size(); ++i) {
    shape.size[i] += layer.margins[i][0] + layer.margins[i][1];
  }
  layer.output_shape = JoinedShape(shape, layer.channels_last);
  return {};
}

void ReadCropping(OptionReader* options, LayerDraft* draft) {
  ReadMargins(options, "cropping", draft);
  // Keras has no such option for one axis, and refuses it.
  if (draft->layer.rank > 1) draft->layer.channels_last = ReadChannelsLast(options);
}

Status InferCropping(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  DNC_ASSIGN(SpatialShape shape, SpatialShapeOf(input, *draft));
  for (std::size_t i = 0; i < shape.size.size(); ++i) {
    const std::int64_t taken = layer.margins[i][0] + layer.margins[i][1];
    if (taken >= shape.size[i]) {
      return DoesNotFit(*draft, "it crops " + std::to_string(taken) + " of " +
                                    std::to_string(shape.size[i]) + " on an axis of its input " +
                                    ShapeText(input) + "; nothing would be left");
    }
    shape.size[i] -= taken;
  }
  layer.output_shape = JoinedShape(shape, layer.channels_last);
  return {};
}

void ReadUpSampling(OptionReader* options, LayerDraft* draft) {
  Layer& layer = draft->layer;
  layer.kernel_size = options->Axes("size", layer.rank, 2);
  if (layer.rank > 1) {
    layer.channels_last = ReadChannelsLast(options);
  } else {  // Keras takes no list, and no format, of one axis.
    options->Record("size", layer.kernel_size.front());
  }
  if (layer.rank == 2) layer.interpolation = ReadInterpolation(options, "nearest");
}

Status InferUpSampling(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  DNC_ASSIGN(SpatialShape shape, SpatialShapeOf(input, *draft));
  for (std::size_t i = 0; i < shape.size.size(); ++i) {
    if (shape.size[i] > kAxisMax / layer.kernel_size[i]) {
      return DoesNotFit(*draft, "it would enlarge " + ShapeText(input) + " by " +
                                    std::to_string(layer.kernel_size[i]) + " on one axis");
    }
    shape.size[i] *= layer.kernel_size[i];
  }
  layer.output_shape = JoinedShape(shape, layer.channels_last);
  return {};
}

void ReadResizing(OptionReader* options, LayerDraft* draft) {
  Layer& layer = draft->layer;
  layer.kernel_size = {options->Int("height", std::nullopt, 1),
                       options->Int("width", std::nullopt, 1)};
  layer.interpolation = ReadInterpolation(options, "bilinear");
  layer.channels_last = ReadChannelsLast(options);
  for (const char* key : {"crop_to_aspect_ratio", "pad_to_aspect_ratio", "antialias"}) {
    options->OnlyBool(key, false);
  }
  options->Ignore({"fill_mode", "fill_value"});
}

Status InferResizing(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  DNC_ASSIGN(SpatialShape shape, SpatialShapeOf(input, *draft));
  shape.size = layer.kernel_size;
  layer.output_shape = JoinedShape(shape, layer.channels_last);
  return {};
}

void ReadSpatialDropout(OptionReader* options, LayerDraft* draft) {
  ReadDropout(options, draft);
  if (draft->layer.rank > 1) draft->layer.channels_last = ReadChannelsLast(options);
}

Status InferSpatialDropout(const Shape& input, LayerDraft* draft) {
  DNC_TRY(SpatialShapeOf(input, *draft).status());
  draft->layer.output_shape = input;
  return {};
}

}  // namespace dnc::model
