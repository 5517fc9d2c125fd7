#include "model/layer_registry.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/json_text.h"
#include "model/recurrent_layers.h"

namespace dnc::model {
namespace {

constexpr LayerClass kLayerClasses[] = {
    {"InputLayer", "input_1", LayerKind::kInput, 0, ReadInput, InferInput},
    {"Dense", "dense", LayerKind::kDense, 0, ReadDense, InferDense},
    {"Conv1D", "conv1d", LayerKind::kConv, 1, ReadConv, InferConv},
    {"Conv2D", "conv2d", LayerKind::kConv, 2, ReadConv, InferConv},
    {"Conv3D", "conv3d", LayerKind::kConv, 3, ReadConv, InferConv},
    {"Conv1DTranspose", "conv1d_transpose", LayerKind::kConvTranspose, 1, ReadConvTranspose,
     InferConvTranspose},
    {"Conv2DTranspose", "conv2d_transpose", LayerKind::kConvTranspose, 2, ReadConvTranspose,
     InferConvTranspose},
    {"Conv3DTranspose", "conv3d_transpose", LayerKind::kConvTranspose, 3, ReadConvTranspose,
     InferConvTranspose},
    {"DepthwiseConv1D", "depthwise_conv1d", LayerKind::kDepthwiseConv, 1, ReadDepthwiseConv,
     InferDepthwiseConv},
    {"DepthwiseConv2D", "depthwise_conv2d", LayerKind::kDepthwiseConv, 2, ReadDepthwiseConv,
     InferDepthwiseConv},
    {"SeparableConv1D", "separable_conv1d", LayerKind::kSeparableConv, 1, ReadSeparableConv,
     InferSeparableConv},
    {"SeparableConv2D", "separable_conv2d", LayerKind::kSeparableConv, 2, ReadSeparableConv,
     InferSeparableConv},
    {"LocallyConnected1D", "locally_connected1d", LayerKind::kLocallyConnected, 1,
     ReadLocallyConnected, InferLocallyConnected},
    {"LocallyConnected2D", "locally_connected2d", LayerKind::kLocallyConnected, 2,
     ReadLocallyConnected, InferLocallyConnected},
    {"MaxPooling1D", "max_pooling1d", LayerKind::kMaxPooling, 1, ReadPooling, InferPooling},
    {"MaxPooling2D", "max_pooling2d", LayerKind::kMaxPooling, 2, ReadPooling, InferPooling},
    {"MaxPooling3D", "max_pooling3d", LayerKind::kMaxPooling, 3, ReadPooling, InferPooling},
    {"AveragePooling1D", "average_pooling1d", LayerKind::kAveragePooling, 1, ReadPooling,
     InferPooling},
    {"AveragePooling2D", "average_pooling2d", LayerKind::kAveragePooling, 2, ReadPooling,
     InferPooling},
    {"AveragePooling3D", "average_pooling3d", LayerKind::kAveragePooling, 3, ReadPooling,
     InferPooling},
    {"GlobalMaxPooling1D", "global_max_pooling1d", LayerKind::kGlobalMaxPooling, 1,
     ReadGlobalPooling, InferGlobalPooling},
    {"GlobalMaxPooling2D", "global_max_pooling2d", LayerKind::kGlobalMaxPooling, 2,
     ReadGlobalPooling, InferGlobalPooling},
    {"GlobalMaxPooling3D", "global_max_pooling3d", LayerKind::kGlobalMaxPooling, 3,
     ReadGlobalPooling, InferGlobalPooling},
    {"GlobalAveragePooling1D", "global_average_pooling1d", LayerKind::kGlobalAveragePooling, 1,
     ReadGlobalPooling, InferGlobalPooling},
    {"GlobalAveragePooling2D", "global_average_pooling2d", LayerKind::kGlobalAveragePooling, 2,
     ReadGlobalPooling, InferGlobalPooling},
    {"GlobalAveragePooling3D", "global_average_pooling3d", LayerKind::kGlobalAveragePooling, 3,
     ReadGlobalPooling, InferGlobalPooling},
    {"ZeroPadding1D", "zero_padding1d", LayerKind::kZeroPadding, 1, ReadZeroPadding,
     InferZeroPadding},
    {"ZeroPadding2D", "zero_padding2d", LayerKind::kZeroPadding, 2, ReadZeroPadding,
     InferZeroPadding},
    {"ZeroPadding3D", "zero_padding3d", LayerKind::kZeroPadding, 3, ReadZeroPadding,
     InferZeroPadding},
    {"Cropping1D", "cropping1d", LayerKind::kCropping, 1, ReadCropping, InferCropping},
    {"Cropping2D", "cropping2d", LayerKind::kCropping, 2, ReadCropping, InferCropping},
    {"Cropping3D", "cropping3d", LayerKind::kCropping, 3, ReadCropping, InferCropping},
    {"UpSampling1D", "up_sampling1d", LayerKind::kUpSampling, 1, ReadUpSampling, InferUpSampling},
    {"UpSampling2D", "up_sampling2d", LayerKind::kUpSampling, 2, ReadUpSampling, InferUpSampling},
    {"UpSampling3D", "up_sampling3d", LayerKind::kUpSampling, 3, ReadUpSampling, InferUpSampling},
    {"Resizing", "resizing", LayerKind::kResizing, 2, ReadResizing, InferResizing},
    {"SpatialDropout1D", "spatial_dropout1d", LayerKind::kSpatialDropout, 1, ReadSpatialDropout,
     InferSpatialDropout},
    {"SpatialDropout2D", "spatial_dropout2d", LayerKind::kSpatialDropout, 2, ReadSpatialDropout,
     InferSpatialDropout},
    {"SpatialDropout3D", "spatial_dropout3d", LayerKind::kSpatialDropout, 3, ReadSpatialDropout,
     InferSpatialDropout},
    {"RandomFlip", "random_flip", LayerKind::kRandomFlip, 2, ReadRandomFlip, InferRandomFlip},
    {"RandomRotation", "random_rotation", LayerKind::kRandomRotation, 2, ReadRandomRotation,
     InferRandomRotation},
    {"RandomCrop", "random_crop", LayerKind::kRandomCrop, 2, ReadRandomCrop, InferRandomCrop},
    {"Flatten", "flatten", LayerKind::kFlatten, 0, ReadFlatten, InferFlatten},
    {"Reshape", "reshape", LayerKind::kReshape, 0, ReadReshape, InferReshape},
    {"Permute", "permute", LayerKind::kPermute, 0, ReadPermute, InferPermute},
    {"Dropout", "dropout", LayerKind::kDropout, 0, ReadDropout, InferSameShape},
    {"GaussianNoise", "gaussian_noise", LayerKind::kGaussianNoise, 0, ReadNoise, InferSameShape},
    {"GaussianDropout", "gaussian_dropout", LayerKind::kGaussianDropout, 0, ReadNoise,
     InferSameShape},
    {"AlphaDropout", "alpha_dropout", LayerKind::kAlphaDropout, 0, ReadNoise, InferSameShape},
    {"BatchNormalization", "batch_normalization", LayerKind::kBatchNormalization, 0,
     ReadBatchNormalization, InferBatchNormalization},
    {"LayerNormalization", "layer_normalization", LayerKind::kLayerNormalization, 0,
     ReadLayerNormalization, InferLayerNormalization},
    {"GroupNormalization", "group_normalization", LayerKind::kGroupNormalization, 0,
     ReadGroupNormalization, InferGroupNormalization},
    {"UnitNormalization", "unit_normalization", LayerKind::kUnitNormalization, 0,
     ReadUnitNormalization, InferUnitNormalization},
    {"Normalization", "normalization", LayerKind::kNormalization, 0, ReadNormalization,
     InferNormalization},
    {"Activation", "activation", LayerKind::kActivation, 0, ReadActivation, InferSoftmax},
    {"ReLU", "re_lu", LayerKind::kActivation, 0, ReadRelu, InferSameShape},
    {"LeakyReLU", "leaky_re_lu", LayerKind::kActivation, 0, ReadLeakyRelu, InferSameShape},
    {"ELU", "elu", LayerKind::kActivation, 0, ReadElu, InferSameShape},
    {"ThresholdedReLU", "thresholded_re_lu", LayerKind::kActivation, 0, ReadThresholdedRelu,
     InferSameShape},
    {"PReLU", "p_re_lu", LayerKind::kPRelu, 0, ReadPRelu, InferPRelu},
    {"Softmax", "softmax", LayerKind::kActivation, 0, ReadSoftmax, InferSoftmax},
    {"ActivityRegularization", "activity_regularization", LayerKind::kActivityRegularization, 0,
     ReadActivityRegularization, InferSameShape},
    {"Rescaling", "rescaling", LayerKind::kRescaling, 0, ReadRescaling, InferSameShape},
    {"SimpleRNN", "simple_rnn", LayerKind::kSimpleRnn, 0, ReadSimpleRnn, InferRecurrent},
    {"LSTM", "lstm", LayerKind::kLstm, 0, ReadLstm, InferRecurrent},
    {"GRU", "gru", LayerKind::kGru, 0, ReadGru, InferRecurrent},
    {"ConvLSTM2D", "conv_lstm2d", LayerKind::kConvLstm2D, 2, ReadConvLstm2D, InferConvLstm2D},
    {"Bidirectional", "bidirectional", LayerKind::kBidirectional, 0, ReadBidirectional,
     InferBidirectional},
    {"TimeDistributed", "time_distributed", LayerKind::kTimeDistributed, 0, ReadTimeDistributed,
     InferTimeDistributed},
    {"Embedding", "embedding", LayerKind::kEmbedding, 0, ReadEmbedding, InferEmbedding},
    {"Masking", "masking", LayerKind::kMasking, 0, ReadMasking, InferSameShape},
    {"RepeatVector", "repeat_vector", LayerKind::kRepeatVector, 0, ReadRepeatVector,
     InferRepeatVector},
    {"Add", "add", LayerKind::kMerge, 0, ReadAdd, nullptr, JoinElementwise},
    {"Subtract", "subtract", LayerKind::kMerge, 0, ReadSubtract, nullptr, JoinElementwise},
    {"Multiply", "multiply", LayerKind::kMerge, 0, ReadMultiply, nullptr, JoinElementwise},
    {"Average", "average", LayerKind::kMerge, 0, ReadAverage, nullptr, JoinElementwise},
    {"Maximum", "maximum", LayerKind::kMerge, 0, ReadMaximum, nullptr, JoinElementwise},
    {"Minimum", "minimum", LayerKind::kMerge, 0, ReadMinimum, nullptr, JoinElementwise},
    {"Concatenate", "concatenate", LayerKind::kMerge, 0, ReadConcatenate, nullptr, JoinConcatenate},
    {"Dot", "dot", LayerKind::kMerge, 0, ReadDot, nullptr, JoinDot},
    {"MultiHeadAttention", "multi_head_attention", LayerKind::kMultiHeadAttention, 0,
     ReadMultiHeadAttention, nullptr, JoinMultiHeadAttention},
};

void ReadGivenShape(OptionReader* options, LayerDraft* draft) {
  struct Form {
    const char* key;
    bool has_batch;
  };
  for (const Form form : {Form{"batch_input_shape", true}, Form{"batch_shape", true},
                          Form{"input_shape", false}, Form{"shape", false}}) {
    // "shape" means the input only in an InputLayer.
    if (std::string_view(form.key) == "shape" && draft->layer.kind != LayerKind::kInput) continue;
    const nlohmann::json* value = options->Find(form.key);
    if (value == nullptr || value->is_null()) continue;
    // Behind an InputLayer Keras repeats an Embedding's [null, null]: it says nothing.
    const auto is_null = [](const nlohmann::json& axis) { return axis.is_null(); };
    if (draft->layer.kind == LayerKind::kEmbedding && value->is_array() &&
        std::all_of(value->begin(), value->end(), is_null)) {
      continue;
    }
    Result<array::Shape> shape = ShapeFromJson(*value, form.has_batch);
    if (!shape.ok()) {
      options->Fail(shape.error().code, shape.error().message);
    } else if (draft->given_input_shape && *draft->given_input_shape != *shape) {
      options->Fail(ErrorCode::kInvalidArgument,
                    "two input shapes are given: " + array::ShapeText(*draft->given_input_shape) +
                        " and " + array::ShapeText(*shape));
    } else {
      draft->given_input_shape = *shape;
    }
  }
}

}  // namespace

const LayerClass* FindLayerClass(const std::string& class_name) {
  for (const LayerClass& row : kLayerClasses) {
    if (class_name == row.class_name) return &row;
  }
  return nullptr;
}

std::vector<std::string> KnownLayerClasses() {
  std::vector<std::string> names;
  for (const LayerClass& row : kLayerClasses) names.push_back(row.class_name);
  return names;
}

Status ReadLayer(const LayerClass& layer_class, OptionReader* options, LayerDraft* draft) {
  draft->layer.kind = layer_class.kind;
  draft->layer.rank = layer_class.rank;
  draft->layer_class = &layer_class;
  options->Ignore({"name"});
  options->Record("name", draft->layer.name);
  if (layer_class.kind == LayerKind::kInput) {
    options->Ignore({"trainable"});
  } else {
    draft->layer.trainable = options->Bool("trainable", true);
  }
  ReadGivenShape(options, draft);
  if (layer_class.kind == LayerKind::kInput) {
    options->OnlyNumbers("dtype");  // Layers make floats of them, as Keras's do.
  } else {
    options->OnlyFloat32("dtype");
  }
  layer_class.read(options, draft);
  return options->Finish();
}

Error DoesNotFit(const LayerDraft& draft, const std::string& what) {
  return {ErrorCode::kInvalidArgument, draft.layer.name + ": " + what};
}

void AddWeight(LayerDraft* draft, const char* name, array::Shape shape, const WeightRule& rule,
               bool is_statistic) {
  WeightSpec weight;
  weight.name = draft->layer.name + "/" + name + ":0";
  weight.shape = std::move(shape);
  weight.trainable = draft->layer.trainable && !is_statistic;
  weight.initializer = rule.initializer;
  weight.regularizer = rule.regularizer;
  weight.constraint = rule.constraint;
  draft->weights.push_back(std::move(weight));
}

bool ReadChannelsLast(OptionReader* options) {
  return options->Choice("data_format", "channels_last", {"channels_last", "channels_first"}) ==
         "channels_last";
}

void ReadActivationAndBias(OptionReader* options, LayerDraft* draft) {
  draft->layer.activation = options->ActivationName("activation");
  draft->layer.use_bias = options->Bool("use_bias", true);
  draft->bias = ReadWeightRule(options, "bias", "Zeros");
  draft->layer.activity = ReadRegularizer(options, "activity_regularizer");
}

void ReadAxes(OptionReader* options, const char* key, std::int64_t fallback, LayerDraft* draft) {
  const nlohmann::json given = fallback;
  const nlohmann::json* value = options->Find(key);
  if (value == nullptr) value = &given;
  const nlohmann::json list = value->is_array() ? *value : nlohmann::json::array({*value});
  for (const nlohmann::json& element : list) {
    const std::optional<std::int64_t> axis = WholeNumber(element);
    if (!axis || *axis < -16 || *axis > 16 || list.size() > 16) {
      options->Fail(ErrorCode::kInvalidArgument, "option \"" + std::string(key) + "\" is " +
                                                     ShortJson(*value) +
                                                     "; expected axes, such as -1 or [1, 2]");
      return;
    }
    draft->given_axes.push_back(*axis);
  }
  options->Record(key, draft->given_axes);
}

Result<std::vector<int>> AxesOf(const array::Shape& input, const LayerDraft& draft) {
  const auto axis_count = static_cast<std::int64_t>(input.size());
  std::vector<int> axes;
  for (const std::int64_t given : draft.given_axes) {
    // With the batch axis first, as Keras counts.
    const std::int64_t axis = given < 0 ? given + axis_count + 1 : given;
    if (axis < 1 || axis > axis_count) {
      return DoesNotFit(draft, "axis " + std::to_string(given) + " is not an axis of its input " +
                                   array::ShapeText(input) + " (axis 0 is the batch)");
    }
    axes.push_back(static_cast<int>(axis - 1));
  }
  std::sort(axes.begin(), axes.end());
  axes.erase(std::unique(axes.begin(), axes.end()), axes.end());
  return axes;
}

}  // namespace dnc::model
