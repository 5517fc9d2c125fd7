// Layers that join several inputs, as keras/layers/merging of 2.11 defines them.

#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/json_text.h"
#include "model/layer_registry.h"

namespace dnc::model {
namespace {

using array::Shape;
using array::ShapeText;
using nlohmann::json;

// A whole number from -16 to 16 that is not the batch axis.
std::optional<std::int64_t> MergeAxis(const json& value) {
  const std::optional<std::int64_t> axis = WholeNumber(value);
  if (!axis || *axis < -16 || *axis > 16 || *axis == 0) return std::nullopt;
  return axis;
}

// As an index into the shape of a sample; Keras counts the batch axis, or from the end.
std::optional<int> AxisWithin(const Shape& shape, std::int64_t axis) {
  const auto count = static_cast<std::int64_t>(shape.size());
  const std::int64_t index = axis < 0 ? axis + count : axis - 1;
  if (index < 0 || index >= count) return std::nullopt;
  return static_cast<int>(index);
}

Error NoSuchAxis(const LayerDraft& draft, std::int64_t axis, const Shape& shape) {
  return DoesNotFit(draft, "axis " + std::to_string(axis) + " is not an axis of its input " +
                               ShapeText(shape) + " (axis 0 is the batch)");
}

}  // namespace

void ReadAdd(OptionReader*, LayerDraft* draft) { draft->layer.merge = MergeKind::kAdd; }
void ReadSubtract(OptionReader*, LayerDraft* draft) { draft->layer.merge = MergeKind::kSubtract; }
void ReadMultiply(OptionReader*, LayerDraft* draft) { draft->layer.merge = MergeKind::kMultiply; }
void ReadAverage(OptionReader*, LayerDraft* draft) { draft->layer.merge = MergeKind::kAverage; }
void ReadMaximum(OptionReader*, LayerDraft* draft) { draft->layer.merge = MergeKind::kMaximum; }
void ReadMinimum(OptionReader*, LayerDraft* draft) { draft->layer.merge = MergeKind::kMinimum; }

void ReadConcatenate(OptionReader* options, LayerDraft* draft) {
  draft->layer.merge = MergeKind::kConcatenate;
  const json* value = options->Find("axis");
  if (value != nullptr) {
    const std::optional<std::int64_t> axis = MergeAxis(*value);
    if (!axis) {
      options->Fail(ErrorCode::kInvalidArgument,
                    "option \"axis\" is " + ShortJson(*value) +
                        "; expected an axis such as -1, and not 0, which is the batch");
    }
    draft->merge_axes[0] = axis.value_or(-1);
  }
  options->Record("axis", draft->merge_axes[0]);
}

void ReadDot(OptionReader* options, LayerDraft* draft) {
  draft->layer.merge = MergeKind::kDot;
  const json* value = options->Find("axes");
  const bool two = value != nullptr && value->is_array() && value->size() == 2;
  for (std::size_t i = 0; i < 2; ++i) {
    const std::optional<std::int64_t> axis =
        value == nullptr ? std::nullopt : MergeAxis(two ? (*value)[i] : *value);
    if (!axis) {
      options->Fail(ErrorCode::kInvalidArgument,
                    value == nullptr ? "option \"axes\" is missing"
                                     : "option \"axes\" is " + ShortJson(*value) +
                                           "; expected one axis or a list of two, and not 0, "
                                           "which is the batch");
      return;
    }
    draft->merge_axes[i] = *axis;
  }
  options->Record("axes", {draft->merge_axes[0], draft->merge_axes[1]});
  draft->layer.normalize = options->Bool("normalize", false);
}

// Axes of length 1 are stretched; a shape of fewer axes gets some in front.
Status JoinElementwise(std::span<const Shape> inputs, LayerDraft* draft) {
  if (draft->layer.merge == MergeKind::kSubtract && inputs.size() != 2) {
    return DoesNotFit(*draft,
                      "a Subtract takes 2 inputs, and it has " + std::to_string(inputs.size()));
  }
  Shape joined = inputs.front();
  for (const Shape& input : inputs.subspan(1)) {
    Shape other = input;
    const std::size_t rank = std::max(joined.size(), other.size());
    joined.insert(joined.begin(), rank - joined.size(), 1);
    other.insert(other.begin(), rank - other.size(), 1);
    for (std::size_t axis = 0; axis < rank; ++axis) {
      if (joined[axis] != other[axis] && joined[axis] != 1 && other[axis] != 1) {
        return DoesNotFit(*draft, "its inputs have the shapes " + ShapeText(inputs.front()) +
                                      " and " + ShapeText(input) +
                                      ", which cannot be joined element by element");
      }
      joined[axis] = std::max(joined[axis], other[axis]);
    }
  }
  draft->layer.output_shape = std::move(joined);
  return {};
}

Status JoinConcatenate(std::span<const Shape> inputs, LayerDraft* draft) {
  const std::optional<int> axis = AxisWithin(inputs.front(), draft->merge_axes[0]);
  if (!axis) return NoSuchAxis(*draft, draft->merge_axes[0], inputs.front());
  const auto index = static_cast<std::size_t>(*axis);
  Shape joined = inputs.front();
  for (const Shape& input : inputs.subspan(1)) {
    Shape expected = inputs.front();
    if (input.size() == expected.size()) expected[index] = input[index];
    if (input != expected) {
      return DoesNotFit(*draft,
                        "its inputs have the shapes " + ShapeText(inputs.front()) + " and " +
                            ShapeText(input) + "; they must be equal but for the axis " +
                            std::to_string(draft->merge_axes[0]) + " along which they are joined");
    }
    joined[index] += input[index];  // Below 2^62: each input is bounded, and so is their number.
  }
  draft->layer.merge_axes[0] = *axis;
  draft->layer.output_shape = std::move(joined);
  return {};
}

Status JoinDot(std::span<const Shape> inputs, LayerDraft* draft) {
  if (inputs.size() != 2) {
    return DoesNotFit(*draft, "a Dot takes 2 inputs, and it has " + std::to_string(inputs.size()));
  }
  Shape joined;
  for (std::size_t i = 0; i < 2; ++i) {
    const std::optional<int> axis = AxisWithin(inputs[i], draft->merge_axes[i]);
    if (!axis) return NoSuchAxis(*draft, draft->merge_axes[i], inputs[i]);
    draft->layer.merge_axes[i] = *axis;
    Shape rest = inputs[i];
    rest.erase(rest.begin() + *axis);
    joined.insert(joined.end(), rest.begin(), rest.end());
  }
  const auto [first, second] = draft->layer.merge_axes;
  if (inputs[0][static_cast<std::size_t>(first)] != inputs[1][static_cast<std::size_t>(second)]) {
    return DoesNotFit(*draft, "its inputs have the shapes " + ShapeText(inputs[0]) + " and " +
                                  ShapeText(inputs[1]) + ", whose axes " +
                                  std::to_string(draft->merge_axes[0]) + " and " +
                                  std::to_string(draft->merge_axes[1]) + " have different lengths");
  }
  if (joined.empty()) joined = {1};
  draft->layer.output_shape = std::move(joined);
  return {};
}

}  // namespace dnc::model
