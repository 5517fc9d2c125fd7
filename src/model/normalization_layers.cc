// Layers that bring their input to a mean of 0 and a deviation of 1.

#include <nlohmann/json.hpp>

#include "model/initializer_option.h"
#include "model/json_text.h"
#include "model/layer_registry.h"

namespace dnc::model {
namespace {

using array::Shape;
using array::ShapeText;
using nlohmann::json;

// "epsilon", "center", "scale", and the rules of gamma and beta.
void ReadScaleAndCenter(OptionReader* options, LayerDraft* draft) {
  Layer& layer = draft->layer;
  layer.epsilon = options->Number("epsilon", 1e-3, 0, 1e6);
  layer.center = options->Bool("center", true);
  layer.scale = options->Bool("scale", true);
  draft->beta = ReadWeightRule(options, "beta", "Zeros");
  draft->gamma = ReadWeightRule(options, "gamma", "Ones");
}

void AddScaleAndCenter(const Shape& shape, LayerDraft* draft) {
  if (draft->layer.scale) AddWeight(draft, "gamma", shape, draft->gamma);
  if (draft->layer.center) AddWeight(draft, "beta", shape, draft->beta);
}

Status SetAxes(const Shape& input, LayerDraft* draft) {
  DNC_ASSIGN(draft->layer.axes, AxesOf(input, *draft));
  for (int& axis : draft->layer.axes) ++axis;
  draft->layer.output_shape = input;
  return {};
}

Shape LengthsOf(const Shape& input, const Layer& layer) {
  Shape lengths;
  for (const int axis : layer.axes) lengths.push_back(input[static_cast<std::size_t>(axis - 1)]);
  return lengths;
}

Status CheckOneAxis(const LayerDraft& draft) {
  if (draft.layer.axes.size() == 1) return {};
  return Error{ErrorCode::kUnsupported,
               draft.layer.name + ": it normalises over several axes; one is supported"};
}

}  // namespace

void ReadBatchNormalization(OptionReader* options, LayerDraft* draft) {
  ReadAxes(options, "axis", -1, draft);
  draft->layer.momentum = options->Number("momentum", 0.99, 0, 1);
  ReadScaleAndCenter(options, draft);
  // These have no regularizer and no constraint: Keras refuses such options.
  draft->moving_mean.initializer = ReadInitializer(options, "moving_mean_initializer", "Zeros");
  draft->moving_variance.initializer =
      ReadInitializer(options, "moving_variance_initializer", "Ones");
  options->RefuseUnlessNull({"virtual_batch_size", "adjustment"});
  options->OnlyBool("renorm", false);
  options->OnlyBool("synchronized", false);
  // Choices of kernel, not of numbers, and options of renorm.
  options->Ignore({"fused", "mode", "renorm_clipping", "renorm_momentum"});
}

Status InferBatchNormalization(const Shape& input, LayerDraft* draft) {
  DNC_TRY(SetAxes(input, draft));
  DNC_TRY(CheckOneAxis(*draft));
  Layer& layer = draft->layer;
  const int axis = layer.axes[0];
  const int axis_count = static_cast<int>(input.size());
  if (axis != 1 && axis != axis_count) {
    return Error{ErrorCode::kUnsupported, layer.name + ": axis " + std::to_string(axis) +
                                              " of its input " + ShapeText(input) +
                                              " is neither the first nor the last; only those "
                                              "are supported"};
  }
  layer.channels_last = axis == axis_count;
  const Shape shape = LengthsOf(input, layer);
  AddScaleAndCenter(shape, draft);
  AddWeight(draft, "moving_mean", shape, draft->moving_mean, true);
  AddWeight(draft, "moving_variance", shape, draft->moving_variance, true);
  return {};
}

void ReadLayerNormalization(OptionReader* options, LayerDraft* draft) {
  ReadAxes(options, "axis", -1, draft);
  ReadScaleAndCenter(options, draft);
  options->OnlyBool("rms_scaling", false);
}

Status InferLayerNormalization(const Shape& input, LayerDraft* draft) {
  DNC_TRY(SetAxes(input, draft));
  AddScaleAndCenter(LengthsOf(input, draft->layer), draft);
  return {};
}

void ReadGroupNormalization(OptionReader* options, LayerDraft* draft) {
  ReadAxes(options, "axis", -1, draft);
  if (draft->given_axes.size() == 1) options->Record("axis", draft->given_axes[0]);
  const json* groups = options->Find("groups");
  // -1 is a group a channel.
  const bool each = groups != nullptr && groups->is_number_integer() && *groups == -1;
  draft->layer.groups = each ? -1 : options->Int("groups", 32, 1);
  if (each) options->Record("groups", -1);
  ReadScaleAndCenter(options, draft);
}

Status InferGroupNormalization(const Shape& input, LayerDraft* draft) {
  DNC_TRY(SetAxes(input, draft));
  DNC_TRY(CheckOneAxis(*draft));
  Layer& layer = draft->layer;
  const std::int64_t channels = LengthsOf(input, layer)[0];
  if (layer.groups == -1) layer.groups = channels;
  if (channels % layer.groups != 0) {
    return DoesNotFit(*draft, std::to_string(layer.groups) + " groups do not divide the " +
                                  std::to_string(channels) + " channels of its input " +
                                  ShapeText(input) + " evenly");
  }
  AddScaleAndCenter({channels}, draft);
  return {};
}

void ReadUnitNormalization(OptionReader* options, LayerDraft* draft) {
  ReadAxes(options, "axis", -1, draft);
}

Status InferUnitNormalization(const Shape& input, LayerDraft* draft) {
  return SetAxes(input, draft);
}

void ReadNormalization(OptionReader* options, LayerDraft* draft) {
  ReadAxes(options, "axis", -1, draft);
  options->OnlyBool("invert", false);
  // Given as options they would be constants of the graph and no weights.
  options->OnlyNull({"mean", "variance"});
}

Status InferNormalization(const Shape& input, LayerDraft* draft) {
  DNC_TRY(SetAxes(input, draft));
  const Shape shape = LengthsOf(input, draft->layer);
  const auto one = WeightRule{Initializer{.kind = InitializerKind::kOnes}, {}, {}};
  AddWeight(draft, "mean", shape, WeightRule{}, true);
  AddWeight(draft, "variance", shape, one, true);
  AddWeight(draft, "count", {}, WeightRule{}, true);
  return {};
}

}  // namespace dnc::model
