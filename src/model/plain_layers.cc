// Layers that look at a sample as a whole, or at its last axis: options as Keras has
// them, with its defaults, and shapes as it derives them. Keras 3's own options are
// accepted where they change nothing.

#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/json_text.h"
#include "model/layer_registry.h"

namespace dnc::model {
namespace {

using array::Shape;
using array::ShapeText;
using nlohmann::json;

// The masks' seed comes from the project.
void ReadSeed(OptionReader* options) {
  const json* seed = options->Find("seed");
  const bool whole = seed != nullptr && seed->is_number_integer();
  options->Record("seed", whole ? nlohmann::ordered_json(*seed) : nlohmann::ordered_json());
}

// A number that must be there, which Keras calls by one of two names.
double RequiredNumber(OptionReader* options, const char* name, const char* other_name, double min,
                      double max) {
  const char* key =
      options->Find(name) == nullptr && options->Find(other_name) != nullptr ? other_name : name;
  if (options->Find(key) == nullptr) {
    options->Fail(ErrorCode::kInvalidArgument, "option \"" + std::string(name) + "\" is missing");
  }
  return options->Number(key, min, min, max);
}

// A slope that is a number, or as Keras 2 wrote some an array of NumPy, within [min, 3.4e38].
double ReadSlope(OptionReader* options, std::initializer_list<const char*> names, double fallback,
                 double min) {
  double slope = fallback;
  for (const char* name : names) {
    if (options->Find(name) == nullptr) continue;
    slope = options->OptionalNumber(name).value_or(fallback);
    options->Forget(name);  // Keras 2 refuses the name that Keras 3 has for it.
    if (slope < min) {
      options->Fail(
          ErrorCode::kInvalidArgument,
          "option \"" + std::string(name) + "\" must not be below " + ShortJson(json(min)));
    }
  }
  options->Record(*names.begin(), slope);
  return slope;
}

}  // namespace

void ReadInput(OptionReader* options, LayerDraft* draft) {
  options->OnlyBool("sparse", false);
  options->OnlyBool("ragged", false);
  options->OnlyBool("optional", false);
  if (!draft->given_input_shape && options->ok()) {
    options->Fail(ErrorCode::kInvalidArgument,
                  "the input's shape is missing; expected \"batch_input_shape\", such as "
                  "[null, 28, 28, 1]");
  }
}

Status InferInput(const Shape&, LayerDraft* draft) {
  draft->layer.output_shape = draft->given_input_shape.value_or(Shape{});
  return {};
}

Status InferSameShape(const Shape& input, LayerDraft* draft) {
  draft->layer.output_shape = input;
  return {};
}

// ---- Dense

void ReadDense(OptionReader* options, LayerDraft* draft) {
  draft->layer.units = options->Int("units", std::nullopt, 1);
  draft->kernel = ReadWeightRule(options, "kernel", "GlorotUniform");
  ReadActivationAndBias(options, draft);
  options->RefuseUnlessNull({"lora_rank", "quantization_config"});
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

// ---- Shapes

void ReadFlatten(OptionReader* options, LayerDraft* draft) {
  draft->layer.channels_last = ReadChannelsLast(options);
}

Status InferFlatten(const Shape& input, LayerDraft* draft) {
  // The input's own layer bounded its element count.
  draft->layer.output_shape = {static_cast<std::int64_t>(*array::ElementCount(input))};
  return {};
}

void ReadReshape(OptionReader* options, LayerDraft* draft) {
  const json* value = options->Find("target_shape");
  bool right = value != nullptr && value->is_array() && value->size() <= 16;
  int derived_count = 0;
  for (std::size_t i = 0; right && i < value->size(); ++i) {
    const std::int64_t length = WholeNumber((*value)[i]).value_or(0);
    right = length >= 1 || length == -1;
    derived_count += length == -1 ? 1 : 0;
    draft->target_shape.push_back(length);
  }
  if (!right || derived_count > 1) {
    options->Fail(ErrorCode::kInvalidArgument,
                  value == nullptr ? "option \"target_shape\" is missing"
                                   : "option \"target_shape\" is " + ShortJson(*value) +
                                         "; expected a list of lengths, at most one of them -1");
    return;
  }
  options->Record("target_shape", draft->target_shape);
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

void ReadPermute(OptionReader* options, LayerDraft* draft) {
  const json* value = options->Find("dims");
  bool right = value != nullptr && value->is_array() && !value->empty() && value->size() <= 16;
  for (std::size_t i = 0; right && i < value->size(); ++i) {
    const std::int64_t axis = WholeNumber((*value)[i]).value_or(0);
    right = axis >= 1 && axis <= static_cast<std::int64_t>(value->size());
    draft->layer.axes.push_back(static_cast<int>(axis));
  }
  std::vector<int> sorted = draft->layer.axes;
  std::sort(sorted.begin(), sorted.end());
  if (!right || std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
    options->Fail(ErrorCode::kInvalidArgument,
                  value == nullptr ? "option \"dims\" is missing"
                                   : "option \"dims\" is " + ShortJson(*value) +
                                         "; expected each axis once, counted from 1");
    return;
  }
  options->Record("dims", draft->layer.axes);
}

Status InferPermute(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  if (layer.axes.size() != input.size()) {
    return DoesNotFit(*draft, "it permutes " + std::to_string(layer.axes.size()) +
                                  " axes, but its input has shape " + ShapeText(input));
  }
  for (const int axis : layer.axes) {
    layer.output_shape.push_back(input[static_cast<std::size_t>(axis - 1)]);
  }
  return {};
}

// ---- Activations

void ReadActivation(OptionReader* options, LayerDraft* draft) {
  if (options->Find("activation") == nullptr) {
    options->Fail(ErrorCode::kInvalidArgument, "option \"activation\" is missing");
  }
  draft->layer.activation = options->ActivationName("activation");
  draft->given_axes = {-1};
}

void ReadRelu(OptionReader* options, LayerDraft* draft) {
  Layer& layer = draft->layer;
  layer.activation = Activation::kRelu;
  const std::optional<double> max_value = options->OptionalNumber("max_value");
  if (max_value && *max_value <= 0) {
    options->Fail(ErrorCode::kUnsupported, "option \"max_value\" is " +
                                               ShortJson(json(*max_value)) +
                                               "; only null or a number above 0 is supported");
  }
  layer.relu_max_value = max_value.value_or(0);
  layer.relu_negative_slope = options->OptionalNumber("negative_slope").value_or(0);
  layer.relu_threshold = options->OptionalNumber("threshold").value_or(0);
  if (layer.relu_negative_slope < 0 || layer.relu_threshold < 0) {
    options->Fail(ErrorCode::kInvalidArgument,
                  "options \"negative_slope\" and \"threshold\" must not be below 0");
  }
  options->Record("negative_slope", layer.relu_negative_slope);
  options->Record("threshold", layer.relu_threshold);
}

void ReadLeakyRelu(OptionReader* options, LayerDraft* draft) {
  draft->layer.activation = Activation::kRelu;
  draft->layer.relu_negative_slope = ReadSlope(options, {"alpha", "negative_slope"}, 0.3, 0);
}

void ReadElu(OptionReader* options, LayerDraft* draft) {
  draft->layer.activation = Activation::kElu;
  draft->layer.alpha = ReadSlope(options, {"alpha"}, 1, -3.4e38);
}

void ReadThresholdedRelu(OptionReader* options, LayerDraft* draft) {
  draft->layer.relu_strict = true;
  draft->layer.activation = Activation::kRelu;
  draft->layer.relu_threshold = ReadSlope(options, {"theta"}, 1, 0);
}

void ReadPRelu(OptionReader* options, LayerDraft* draft) {
  draft->kernel = ReadWeightRule(options, "alpha", "Zeros");
  const json* axes = options->Find("shared_axes");
  if (axes == nullptr || axes->is_null()) {
    options->Record("shared_axes", nullptr);
    return;
  }
  ReadAxes(options, "shared_axes", 1, draft);
}

Status InferPRelu(const Shape& input, LayerDraft* draft) {
  draft->layer.output_shape = input;
  DNC_ASSIGN(const std::vector<int> shared, AxesOf(input, *draft));
  Shape shape = input;
  for (const int axis : shared) shape[static_cast<std::size_t>(axis)] = 1;
  AddWeight(draft, "alpha", shape, draft->kernel);
  return {};
}

void ReadSoftmax(OptionReader* options, LayerDraft* draft) {
  draft->layer.activation = Activation::kSoftmax;
  ReadAxes(options, "axis", -1, draft);
  if (draft->given_axes.size() == 1) {
    options->Record("axis", draft->given_axes[0]);
  } else {
    options->Fail(ErrorCode::kUnsupported,
                  "option \"axis\" lists several axes; a softmax over one is supported");
  }
}

Status InferSoftmax(const Shape& input, LayerDraft* draft) {
  Layer& layer = draft->layer;
  layer.output_shape = input;
  if (layer.activation != Activation::kSoftmax) return {};
  DNC_ASSIGN(const std::vector<int> axes, AxesOf(input, *draft));
  layer.softmax_axis = axes[0] - static_cast<int>(input.size());
  return {};
}

void ReadRescaling(OptionReader* options, LayerDraft* draft) {
  if (options->Find("scale") == nullptr) {
    options->Fail(ErrorCode::kInvalidArgument, "option \"scale\" is missing");
  }
  for (const char* key : {"scale", "offset"}) {
    const json* value = options->Find(key);
    if (value != nullptr && value->is_array()) {
      options->Fail(ErrorCode::kUnsupported, "option \"" + std::string(key) + "\" is " +
                                                 ShortJson(*value) +
                                                 "; only one number for all channels is supported");
    }
  }
  draft->layer.rescale = options->Number("scale", 1, -3.4e38, 3.4e38);
  draft->layer.offset = options->Number("offset", 0, -3.4e38, 3.4e38);
}

// ---- Dropout and noise

void ReadDropout(OptionReader* options, LayerDraft* draft) {
  draft->layer.rate = options->Number("rate", 0.5, 0, 1);
  if (options->Find("rate") == nullptr) {
    options->Fail(ErrorCode::kInvalidArgument, "option \"rate\" is missing");
  }
  if (draft->layer.rate >= 1) {
    options->Fail(ErrorCode::kInvalidArgument, "option \"rate\" is 1: it would drop everything");
  }
  options->OnlyNull({"noise_shape"});
  ReadSeed(options);
}

void ReadNoise(OptionReader* options, LayerDraft* draft) {
  Layer& layer = draft->layer;
  if (layer.kind == LayerKind::kGaussianNoise) {
    layer.rate = RequiredNumber(options, "stddev", "sigma", 0, 3.4e38);
  } else {
    layer.rate = RequiredNumber(options, "rate", "p", 0, 1);
    if (layer.rate >= 1) {
      options->Fail(ErrorCode::kInvalidArgument, "option \"rate\" is 1: it would drop everything");
    }
  }
  options->OnlyNull({"noise_shape"});
  ReadSeed(options);
}

void ReadActivityRegularization(OptionReader* options, LayerDraft* draft) {
  draft->layer.activity.l1 = options->Number("l1", 0, 0, 1e30);
  draft->layer.activity.l2 = options->Number("l2", 0, 0, 1e30);
}

}  // namespace dnc::model
