// What each layer's options are in Keras 2, with its defaults, and which of them
// are supported. Keras 3's own options are accepted where they change nothing.

#include <nlohmann/json.hpp>

#include "model/initializer_option.h"
#include "model/json_text.h"
#include "model/layer_registry.h"

namespace dnc::model {
namespace {

using nlohmann::json;

bool ReadChannelsLast(OptionReader* options) {
  return options->Choice("data_format", "channels_last", {"channels_last", "channels_first"}) ==
         "channels_last";
}

Padding ReadPadding(OptionReader* options) {
  return options->Choice("padding", "valid", {"valid", "same"}) == "same" ? Padding::kSame
                                                                          : Padding::kValid;
}

void ReadKernelAndBias(OptionReader* options, LayerDraft* draft) {
  draft->layer.activation = options->ActivationName("activation");
  draft->layer.use_bias = options->Bool("use_bias", true);
  draft->kernel = ReadInitializer(options, "kernel_initializer", "GlorotUniform");
  draft->bias = ReadInitializer(options, "bias_initializer", "Zeros");
  options->OnlyNull({"kernel_regularizer", "bias_regularizer", "activity_regularizer",
                     "kernel_constraint", "bias_constraint"});
}

// An axis as a whole number or, as Keras 2 writes it, a list of one.
void ReadAxis(OptionReader* options, LayerDraft* draft) {
  const json* value = options->Find("axis");
  if (value == nullptr) return;
  const json* element = value->is_array() && value->size() == 1 ? &(*value)[0] : value;
  const std::optional<std::int64_t> axis = WholeNumber(*element);
  if (!axis || *axis < -16 || *axis > 16) {
    options->Fail(value->is_array() ? ErrorCode::kUnsupported : ErrorCode::kInvalidArgument,
                  "option \"axis\" is " + ShortJson(*value) + "; expected one axis, such as -1");
    return;
  }
  draft->axis = *axis;
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

void ReadDense(OptionReader* options, LayerDraft* draft) {
  draft->layer.units = options->Int("units", std::nullopt, 1);
  ReadKernelAndBias(options, draft);
  options->RefuseUnlessNull({"lora_rank", "quantization_config"});
}

void ReadConv2D(OptionReader* options, LayerDraft* draft) {
  Layer& layer = draft->layer;
  layer.filters = options->Int("filters", std::nullopt, 1);
  layer.kernel_size = options->Pair("kernel_size", 0);
  layer.strides = options->Pair("strides", 1);
  layer.padding = ReadPadding(options);
  layer.channels_last = ReadChannelsLast(options);
  layer.dilation_rate = options->Pair("dilation_rate", 1);
  layer.groups = options->Int("groups", 1, 1);
  ReadKernelAndBias(options, draft);
  options->RefuseUnlessNull({"lora_rank", "quantization_config"});
  const bool strided = layer.strides[0] > 1 || layer.strides[1] > 1;
  const bool dilated = layer.dilation_rate[0] > 1 || layer.dilation_rate[1] > 1;
  if (strided && dilated) {
    options->Fail(ErrorCode::kUnsupported,
                  "strides and dilation_rate are both above 1; Keras supports one of them");
  }
}

void ReadPooling2D(OptionReader* options, LayerDraft* draft) {
  Layer& layer = draft->layer;
  layer.kernel_size = options->Pair("pool_size", 2);
  layer.padding = ReadPadding(options);
  layer.strides = options->OptionalPair("strides").value_or(layer.kernel_size);
  options->Record("strides", {layer.strides[0], layer.strides[1]});
  layer.channels_last = ReadChannelsLast(options);
}

void ReadGlobalPooling2D(OptionReader* options, LayerDraft* draft) {
  draft->layer.channels_last = ReadChannelsLast(options);
  draft->keep_dimensions = options->Bool("keepdims", false);
}

void ReadFlatten(OptionReader* options, LayerDraft* draft) {
  draft->layer.channels_last = ReadChannelsLast(options);
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

void ReadDropout(OptionReader* options, LayerDraft* draft) {
  draft->layer.rate = options->Number("rate", 0.5, 0, 1);
  if (options->Find("rate") == nullptr) {
    options->Fail(ErrorCode::kInvalidArgument, "option \"rate\" is missing");
  }
  if (draft->layer.rate >= 1) {
    options->Fail(ErrorCode::kInvalidArgument, "option \"rate\" is 1: it would drop everything");
  }
  options->OnlyNull({"noise_shape"});
  // The masks' seed comes from the project.
  const json* seed = options->Find("seed");
  const bool whole = seed != nullptr && seed->is_number_integer();
  options->Record("seed", whole ? nlohmann::ordered_json(*seed) : nlohmann::ordered_json());
}

void ReadBatchNormalization(OptionReader* options, LayerDraft* draft) {
  Layer& layer = draft->layer;
  ReadAxis(options, draft);
  options->Record("axis", std::vector<std::int64_t>{draft->axis});
  layer.momentum = options->Number("momentum", 0.99, 0, 1);
  layer.epsilon = options->Number("epsilon", 1e-3, 0, 1e6);
  layer.center = options->Bool("center", true);
  layer.scale = options->Bool("scale", true);
  draft->beta = ReadInitializer(options, "beta_initializer", "Zeros");
  draft->gamma = ReadInitializer(options, "gamma_initializer", "Ones");
  draft->moving_mean = ReadInitializer(options, "moving_mean_initializer", "Zeros");
  draft->moving_variance = ReadInitializer(options, "moving_variance_initializer", "Ones");
  options->OnlyNull(
      {"beta_regularizer", "gamma_regularizer", "beta_constraint", "gamma_constraint"});
  options->RefuseUnlessNull({"virtual_batch_size", "adjustment"});
  options->OnlyBool("renorm", false);
  options->OnlyBool("synchronized", false);
  options->Ignore({"fused"});  // A choice of kernel, not of numbers.
}

void ReadActivation(OptionReader* options, LayerDraft* draft) {
  if (options->Find("activation") == nullptr) {
    options->Fail(ErrorCode::kInvalidArgument, "option \"activation\" is missing");
  }
  draft->layer.activation = options->ActivationName("activation");
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

void ReadSoftmax(OptionReader* options, LayerDraft* draft) {
  draft->layer.activation = Activation::kSoftmax;
  ReadAxis(options, draft);
  options->Record("axis", draft->axis);
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

}  // namespace dnc::model
