// Layers that change images at random while training, and leave them alone, or bring them
// to one size, otherwise.

#include <nlohmann/json.hpp>

#include "model/json_text.h"
#include "model/layer_registry.h"
#include "model/spatial_shape.h"

namespace dnc::model {
namespace {

using array::Shape;
using nlohmann::json;

void IgnoreSeed(OptionReader* options) { options->Ignore({"seed"}); }  // It is the project's.

Status InferImage(const Shape& input, LayerDraft* draft) {
  DNC_TRY(SpatialShapeOf(input, *draft).status());
  draft->layer.output_shape = input;
  return {};
}

}  // namespace

void ReadRandomFlip(OptionReader* options, LayerDraft* draft) {
  const std::string mode = options->Choice("mode", "horizontal_and_vertical",
                                           {"horizontal", "vertical", "horizontal_and_vertical"});
  draft->layer.flips_horizontally = mode != "vertical";
  draft->layer.flips_vertically = mode != "horizontal";
  IgnoreSeed(options);
}

Status InferRandomFlip(const Shape& input, LayerDraft* draft) { return InferImage(input, draft); }

void ReadRandomRotation(OptionReader* options, LayerDraft* draft) {
  // Parts of a full turn: one number for both directions, or the least and the greatest.
  const json* value = options->Find("factor");
  std::array<double, 2> factor{0, 0};
  bool right = false;
  if (value != nullptr && value->is_number()) {
    factor = {-value->get<double>(), value->get<double>()};
    right = factor[1] >= 0;
  } else if (value != nullptr && value->is_array() && value->size() == 2 &&
             (*value)[0].is_number() && (*value)[1].is_number()) {
    factor = {(*value)[0].get<double>(), (*value)[1].get<double>()};
    right = factor[0] <= factor[1];
  }
  if (!right || factor[0] < -1 || factor[1] > 1) {
    options->Fail(ErrorCode::kInvalidArgument,
                  "option \"factor\" is " + (value == nullptr ? "missing" : ShortJson(*value)) +
                      "; expected a part of a turn from 0 to 1, or the least and the greatest");
  }
  options->Record("factor", factor);
  draft->layer.rotation = factor;
  const std::string fill =
      options->Choice("fill_mode", "reflect", {"reflect", "constant", "nearest"});
  draft->layer.fill = fill == "reflect"    ? FillMode::kReflect
                      : fill == "constant" ? FillMode::kZero
                                           : FillMode::kNearest;
  draft->layer.interpolation =
      options->Choice("interpolation", "bilinear", {"nearest", "bilinear"}) == "nearest"
          ? Interpolation::kNearest
          : Interpolation::kBilinear;
  if (options->Number("fill_value", 0, -3.4e38, 3.4e38) != 0) {
    options->Fail(ErrorCode::kUnsupported, "option \"fill_value\" is not 0; only 0 is supported");
  }
  IgnoreSeed(options);
}

Status InferRandomRotation(const Shape& input, LayerDraft* draft) {
  return InferImage(input, draft);
}

void ReadRandomCrop(OptionReader* options, LayerDraft* draft) {
  draft->layer.kernel_size = {options->Int("height", std::nullopt, 1),
                              options->Int("width", std::nullopt, 1)};
  IgnoreSeed(options);
}

Status InferRandomCrop(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  DNC_ASSIGN(SpatialShape shape, SpatialShapeOf(input, *draft));
  for (std::size_t i = 0; i < 2; ++i) {
    if (layer.kernel_size[i] > shape.size[i]) {
      return DoesNotFit(*draft, "it crops to " + array::ShapeText(layer.kernel_size) +
                                    ", which is larger than its input " + array::ShapeText(input));
    }
  }
  shape.size = layer.kernel_size;
  layer.output_shape = JoinedShape(shape, layer.channels_last);
  return {};
}

}  // namespace dnc::model
