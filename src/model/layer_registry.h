// The known layers: one row of a table each, from Keras's class name to the two
// functions that read its options and that derive its output shape and weights
// from its input's shape.

#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "array/shape.h"
#include "base/result.h"
#include "model/model.h"
#include "model/option_reader.h"
#include "model/weight_rule.h"

namespace dnc::model {

struct LayerClass;

// A layer while it is read: what its options say beyond `Layer`.
struct LayerDraft {
  Layer layer;
  const LayerClass* layer_class = nullptr;
  std::vector<WeightSpec> weights;  // In Keras's order, without offsets.
  std::optional<array::Shape> given_input_shape;
  // Of a separable convolution `kernel` is the depthwise one; of a PReLU it is alpha.
  WeightRule kernel, pointwise, bias, gamma, beta, moving_mean, moving_variance;
  array::Shape target_shape;             // Reshape; -1 for the axis to be derived.
  std::vector<std::int64_t> given_axes;  // Counted with the batch axis, or from the end.
  bool keep_dimensions = false;
  WeightRule recurrent_kernel;
  std::int64_t repeat_count = 0;                   // RepeatVector.
  std::vector<LayerDraft> wrapped;                 // As Layer::wrapped.
  std::array<std::int64_t, 2> merge_axes{-1, -1};  // Concatenate and Dot, with the batch axis.
};

struct LayerClass {
  const char* class_name;
  const char* default_name;  // As Keras names an unnamed layer of the class.
  LayerKind kind;
  int rank;  // Spatial axes; 0 where there are none.
  void (*read)(OptionReader* options, LayerDraft* draft);
  // Sets the output shape and weights. Errors: kInvalidArgument, a shape that does
  // not fit, both named; kUnsupported.
  Status (*infer)(const array::Shape& input, LayerDraft* draft);
  // The same of a layer that takes several inputs, which has no `infer`.
  Status (*join)(std::span<const array::Shape> inputs, LayerDraft* draft) = nullptr;
};

// null for an unknown class.
const LayerClass* FindLayerClass(const std::string& class_name);
std::vector<std::string> KnownLayerClasses();

// Reads what every layer has (name, trainable, dtype, input shape), then its own
// options, and refuses the rest.
Status ReadLayer(const LayerClass& layer_class, OptionReader* options, LayerDraft* draft);

// For the rows' functions.
// An error that begins with the layer's name.
Error DoesNotFit(const LayerDraft& draft, const std::string& what);
// Appends a weight called "<layer>/<name>:0". A statistic is not trained.
void AddWeight(LayerDraft* draft, const char* name, array::Shape shape, const WeightRule& rule,
               bool is_statistic = false);
bool ReadChannelsLast(OptionReader* options);
// "activation", "use_bias", and the rule of the bias.
void ReadActivationAndBias(OptionReader* options, LayerDraft* draft);
// Axes that an option lists, or one alone.
void ReadAxes(OptionReader* options, const char* key, std::int64_t fallback, LayerDraft* draft);
// draft.given_axes as indices into `input`, from 0, ascending and distinct.
// Errors: kInvalidArgument, no such axis.
Result<std::vector<int>> AxesOf(const array::Shape& input, const LayerDraft& draft);

// The rows' functions. plain_layers.cc:
void ReadInput(OptionReader* options, LayerDraft* draft);
void ReadDense(OptionReader* options, LayerDraft* draft);
void ReadFlatten(OptionReader* options, LayerDraft* draft);
void ReadReshape(OptionReader* options, LayerDraft* draft);
void ReadPermute(OptionReader* options, LayerDraft* draft);
void ReadActivation(OptionReader* options, LayerDraft* draft);
void ReadRelu(OptionReader* options, LayerDraft* draft);
void ReadLeakyRelu(OptionReader* options, LayerDraft* draft);
void ReadElu(OptionReader* options, LayerDraft* draft);
void ReadThresholdedRelu(OptionReader* options, LayerDraft* draft);
void ReadPRelu(OptionReader* options, LayerDraft* draft);
void ReadSoftmax(OptionReader* options, LayerDraft* draft);
void ReadRescaling(OptionReader* options, LayerDraft* draft);
void ReadDropout(OptionReader* options, LayerDraft* draft);
void ReadNoise(OptionReader* options, LayerDraft* draft);
void ReadActivityRegularization(OptionReader* options, LayerDraft* draft);

// attention_layers.cc:
void ReadMultiHeadAttention(OptionReader* options, LayerDraft* draft);
Status JoinMultiHeadAttention(std::span<const array::Shape> inputs, LayerDraft* draft);

// merge_layers.cc:
void ReadAdd(OptionReader* options, LayerDraft* draft);
void ReadSubtract(OptionReader* options, LayerDraft* draft);
void ReadMultiply(OptionReader* options, LayerDraft* draft);
void ReadAverage(OptionReader* options, LayerDraft* draft);
void ReadMaximum(OptionReader* options, LayerDraft* draft);
void ReadMinimum(OptionReader* options, LayerDraft* draft);
void ReadConcatenate(OptionReader* options, LayerDraft* draft);
void ReadDot(OptionReader* options, LayerDraft* draft);
Status JoinElementwise(std::span<const array::Shape> inputs, LayerDraft* draft);
Status JoinConcatenate(std::span<const array::Shape> inputs, LayerDraft* draft);
Status JoinDot(std::span<const array::Shape> inputs, LayerDraft* draft);

Status InferInput(const array::Shape& input, LayerDraft* draft);
Status InferSameShape(const array::Shape& input, LayerDraft* draft);
Status InferDense(const array::Shape& input, LayerDraft* draft);
Status InferFlatten(const array::Shape& input, LayerDraft* draft);
Status InferReshape(const array::Shape& input, LayerDraft* draft);
Status InferPermute(const array::Shape& input, LayerDraft* draft);
Status InferSoftmax(const array::Shape& input, LayerDraft* draft);
Status InferPRelu(const array::Shape& input, LayerDraft* draft);

// normalization_layers.cc:
void ReadBatchNormalization(OptionReader* options, LayerDraft* draft);
void ReadLayerNormalization(OptionReader* options, LayerDraft* draft);
void ReadGroupNormalization(OptionReader* options, LayerDraft* draft);
void ReadUnitNormalization(OptionReader* options, LayerDraft* draft);
void ReadNormalization(OptionReader* options, LayerDraft* draft);
Status InferBatchNormalization(const array::Shape& input, LayerDraft* draft);
Status InferLayerNormalization(const array::Shape& input, LayerDraft* draft);
Status InferGroupNormalization(const array::Shape& input, LayerDraft* draft);
Status InferUnitNormalization(const array::Shape& input, LayerDraft* draft);
Status InferNormalization(const array::Shape& input, LayerDraft* draft);

// convolution_layers.cc:
void ReadConv(OptionReader* options, LayerDraft* draft);
void ReadConvTranspose(OptionReader* options, LayerDraft* draft);
void ReadDepthwiseConv(OptionReader* options, LayerDraft* draft);
void ReadSeparableConv(OptionReader* options, LayerDraft* draft);
void ReadLocallyConnected(OptionReader* options, LayerDraft* draft);
Status InferConv(const array::Shape& input, LayerDraft* draft);
Status InferConvTranspose(const array::Shape& input, LayerDraft* draft);
Status InferDepthwiseConv(const array::Shape& input, LayerDraft* draft);
Status InferSeparableConv(const array::Shape& input, LayerDraft* draft);
Status InferLocallyConnected(const array::Shape& input, LayerDraft* draft);

// augmentation_layers.cc:
void ReadRandomFlip(OptionReader* options, LayerDraft* draft);
void ReadRandomRotation(OptionReader* options, LayerDraft* draft);
void ReadRandomCrop(OptionReader* options, LayerDraft* draft);
Status InferRandomFlip(const array::Shape& input, LayerDraft* draft);
Status InferRandomRotation(const array::Shape& input, LayerDraft* draft);
Status InferRandomCrop(const array::Shape& input, LayerDraft* draft);

// spatial_layers.cc:
void ReadPooling(OptionReader* options, LayerDraft* draft);
void ReadGlobalPooling(OptionReader* options, LayerDraft* draft);
void ReadZeroPadding(OptionReader* options, LayerDraft* draft);
void ReadCropping(OptionReader* options, LayerDraft* draft);
void ReadUpSampling(OptionReader* options, LayerDraft* draft);
void ReadResizing(OptionReader* options, LayerDraft* draft);
void ReadSpatialDropout(OptionReader* options, LayerDraft* draft);
Status InferPooling(const array::Shape& input, LayerDraft* draft);
Status InferGlobalPooling(const array::Shape& input, LayerDraft* draft);
Status InferZeroPadding(const array::Shape& input, LayerDraft* draft);
Status InferCropping(const array::Shape& input, LayerDraft* draft);
Status InferUpSampling(const array::Shape& input, LayerDraft* draft);
Status InferResizing(const array::Shape& input, LayerDraft* draft);
Status InferSpatialDropout(const array::Shape& input, LayerDraft* draft);

}  // namespace dnc::model
