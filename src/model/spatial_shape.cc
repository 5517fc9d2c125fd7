#include "model/spatial_shape.h"

namespace dnc::model {
namespace {

std::string TimesText(const array::Shape& lengths) {
  std::string text;
  for (const std::int64_t length : lengths)
    text += (text.empty() ? "" : "x") + std::to_string(length);
  return text;
}

}  // namespace

Result<SpatialShape> SpatialShapeOf(const array::Shape& input, const LayerDraft& draft) {
  const Layer& layer = draft.layer;
  const auto rank = static_cast<std::size_t>(layer.rank);
  if (input.size() != rank + 1) {
    constexpr const char* kNames[] = {"(steps, channels)", "(height, width, channels)",
                                      "(depth, height, width, channels)"};
    constexpr const char* kNamesFirst[] = {"(channels, steps)", "(channels, height, width)",
                                           "(channels, depth, height, width)"};
    return DoesNotFit(draft, "its input has shape " + array::ShapeText(input) + "; expected " +
                                 std::to_string(rank + 1) + " axes, " +
                                 (layer.channels_last ? kNames : kNamesFirst)[rank - 1] +
                                 "; a Reshape or a Flatten before it may be missing or too much");
  }
  SpatialShape shape;
  shape.channels = layer.channels_last ? input.back() : input.front();
  const auto begin = input.begin() + (layer.channels_last ? 0 : 1);
  shape.size.assign(begin, begin + layer.rank);
  return shape;
}

array::Shape JoinedShape(const SpatialShape& shape, bool channels_last) {
  array::Shape joined = shape.size;
  joined.insert(channels_last ? joined.end() : joined.begin(), shape.channels);
  return joined;
}

Result<array::Shape> WindowOutput(const SpatialShape& given, const array::Shape& input,
                                  const LayerDraft& draft) {
  const Layer& layer = draft.layer;
  array::Shape output;
  for (std::size_t i = 0; i < given.size.size(); ++i) {
    // At most 2^62: each option is below 2^31.
    const std::int64_t window =
        layer.kernel_size[i] + (layer.kernel_size[i] - 1) * (layer.dilation_rate[i] - 1);
    std::int64_t positions = given.size[i];
    if (layer.padding == Padding::kValid) positions = given.size[i] - window + 1;
    if (positions < 1) {
      const bool pools =
          layer.kind == LayerKind::kMaxPooling || layer.kind == LayerKind::kAveragePooling;
      const bool dilated = layer.dilation_rate != array::Shape(given.size.size(), 1);
      return DoesNotFit(draft,
                        (pools ? "pool " : "kernel ") + TimesText(layer.kernel_size) +
                            (dilated ? " dilated by " + TimesText(layer.dilation_rate) : "") +
                            " does not fit its input " + array::ShapeText(input));
    }
    output.push_back((positions + layer.strides[i] - 1) / layer.strides[i]);
  }
  return output;
}

Padding ReadPadding(OptionReader* options, bool may_be_causal) {
  const std::string padding = may_be_causal
                                  ? options->Choice("padding", "valid", {"valid", "same", "causal"})
                                  : options->Choice("padding", "valid", {"valid", "same"});
  if (padding == "causal") return Padding::kCausal;
  return padding == "same" ? Padding::kSame : Padding::kValid;
}

}  // namespace dnc::model
