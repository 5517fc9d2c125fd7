// Shapes with spatial axes (time; height and width; depth, height and width) and
// channels, last or first. Private to this room.

#pragma once

#include <cstdint>

#include "array/shape.h"
#include "base/result.h"
#include "model/layer_registry.h"

namespace dnc::model {

// No axis is longer, so that products of two stay within 64 bits.
inline constexpr std::int64_t kAxisMax = (std::int64_t{1} << 31) - 1;

struct SpatialShape {
  array::Shape size;  // One length a spatial axis.
  std::int64_t channels = 0;
};

// Errors: kInvalidArgument, not layer.rank + 1 axes.
Result<SpatialShape> SpatialShapeOf(const array::Shape& input, const LayerDraft& draft);
array::Shape JoinedShape(const SpatialShape& shape, bool channels_last);

// The lengths that the layer's window gives. `input` is for the message.
// Errors: kInvalidArgument, the window does not fit, naming both.
Result<array::Shape> WindowOutput(const SpatialShape& given, const array::Shape& input,
                                  const LayerDraft& draft);

Padding ReadPadding(OptionReader* options, bool may_be_causal);

}  // namespace dnc::model
