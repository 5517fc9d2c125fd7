// The known layers: one row of a table each, from Keras's class name to the two
// functions that read its options and that derive its output shape and weights
// from its input's shape.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "array/shape.h"
#include "base/result.h"
#include "model/model.h"
#include "model/option_reader.h"

namespace dnc::model {

// A layer while it is read: what its options say beyond `Layer`.
struct LayerDraft {
  Layer layer;
  std::vector<WeightSpec> weights;  // In Keras's order, without offsets.
  std::optional<array::Shape> given_input_shape;
  Initializer kernel, bias, gamma, beta, moving_mean, moving_variance;
  array::Shape target_shape;  // Reshape; -1 for the axis to be derived.
  std::int64_t axis = -1;     // BatchNormalization and Softmax, counted with the batch axis.
  bool keep_dimensions = false;
};

struct LayerClass {
  const char* class_name;
  const char* default_name;  // As Keras names an unnamed layer of the class.
  LayerKind kind;
  void (*read)(OptionReader* options, LayerDraft* draft);
  // Sets the output shape and weights. Errors: kInvalidArgument, a shape that does
  // not fit, both named; kUnsupported.
  Status (*infer)(const array::Shape& input, LayerDraft* draft);
};

// null for an unknown class.
const LayerClass* FindLayerClass(const std::string& class_name);
std::vector<std::string> KnownLayerClasses();

// Reads what every layer has (name, trainable, dtype, input shape), then its own
// options, and refuses the rest.
Status ReadLayer(const LayerClass& layer_class, OptionReader* options, LayerDraft* draft);

// The rows' functions; layer_options.cc and layer_shapes.cc.
void ReadInput(OptionReader* options, LayerDraft* draft);
void ReadDense(OptionReader* options, LayerDraft* draft);
void ReadConv2D(OptionReader* options, LayerDraft* draft);
void ReadPooling2D(OptionReader* options, LayerDraft* draft);
void ReadGlobalPooling2D(OptionReader* options, LayerDraft* draft);
void ReadFlatten(OptionReader* options, LayerDraft* draft);
void ReadReshape(OptionReader* options, LayerDraft* draft);
void ReadDropout(OptionReader* options, LayerDraft* draft);
void ReadBatchNormalization(OptionReader* options, LayerDraft* draft);
void ReadActivation(OptionReader* options, LayerDraft* draft);
void ReadRelu(OptionReader* options, LayerDraft* draft);
void ReadSoftmax(OptionReader* options, LayerDraft* draft);
void ReadRescaling(OptionReader* options, LayerDraft* draft);

Status InferInput(const array::Shape& input, LayerDraft* draft);
Status InferSameShape(const array::Shape& input, LayerDraft* draft);
Status InferDense(const array::Shape& input, LayerDraft* draft);
Status InferConv2D(const array::Shape& input, LayerDraft* draft);
Status InferPooling2D(const array::Shape& input, LayerDraft* draft);
Status InferGlobalPooling2D(const array::Shape& input, LayerDraft* draft);
Status InferFlatten(const array::Shape& input, LayerDraft* draft);
Status InferReshape(const array::Shape& input, LayerDraft* draft);
Status InferBatchNormalization(const array::Shape& input, LayerDraft* draft);
Status InferSoftmax(const array::Shape& input, LayerDraft* draft);

}  // namespace dnc::model
