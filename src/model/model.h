// A model as data: a checked graph of known layers, with the shape of every
// tensor, the list of its weights and how it is compiled. It comes from Keras's
// own JSON (Sequential or functional; `to_json()` of Keras 2 and tf.keras, with an
// optional "compile" or "training_config" section) and nothing in it is executed.
//
// Weights of a model travel as one flat float32 vector: the tensors of `weights`
// one behind the other, each in Keras's own layout (Conv2D kernels are height,
// width, in, out; Dense kernels in, out) and in Keras's order.
//
// The JSON may come from a stranger: unknown layers and options are refused by
// name, shapes are checked, and sizes are limited before anything is allocated.

#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "array/column.h"
#include "array/shape.h"
#include "base/result.h"

namespace dnc::model {

enum class LayerKind : std::uint8_t {
  kInput,
  kDense,
  // Of one, two or three spatial axes (Layer::rank):
  kConv,
  kConvTranspose,
  kDepthwiseConv,
  kSeparableConv,
  kLocallyConnected,
  kMaxPooling,
  kAveragePooling,
  kGlobalMaxPooling,
  kGlobalAveragePooling,
  kZeroPadding,
  kCropping,
  kUpSampling,
  kResizing,
  kSpatialDropout,
  kRandomFlip,
  kRandomRotation,
  kRandomCrop,
  // Of any shape:
  kFlatten,
  kReshape,
  kPermute,
  kDropout,
  kGaussianNoise,
  kGaussianDropout,
  kAlphaDropout,
  kBatchNormalization,
  kLayerNormalization,
  kGroupNormalization,
  kUnitNormalization,
  kNormalization,
  kActivation,  // Also ReLU, LeakyReLU, ELU, ThresholdedReLU and Softmax layers.
  kPRelu,
  kActivityRegularization,
  kRescaling,
};

enum class Activation : std::uint8_t {
  kLinear,
  kRelu,
  kSigmoid,
  kTanh,
  kSoftmax,
  kElu,
  kSelu,
  kSoftplus,
  kSoftsign,
  kSwish,
  kExponential,
  kHardSigmoid,
  kGelu,
};

enum class Padding : std::uint8_t { kValid, kSame, kCausal };

// What lies outside an image.
enum class FillMode : std::uint8_t { kZero, kNearest, kReflect };

enum class Interpolation : std::uint8_t { kNearest, kBilinear };

// Adds l1 * sum |v| + l2 * sum v^2 to the loss, of a weight or an output.
struct Regularizer {
  double l1 = 0;
  double l2 = 0;
  friend bool operator==(const Regularizer&, const Regularizer&) = default;
};

struct Layer {
  LayerKind kind = LayerKind::kInput;
  std::string class_name;  // Keras's: "Conv2D".
  std::string name;
  std::vector<int> inputs;    // Indices of layers, all before this one.
  array::Shape output_shape;  // Of one sample, without the batch axis.
  int first_weight = 0;       // Into Model::weights.
  int weight_count = 0;
  bool trainable = true;

  // What each kind reads, as Keras names it; the rest keeps its default.
  Activation activation = Activation::kLinear;
  double relu_max_value = 0;  // ReLU and its variants: 0 means none.
  double relu_negative_slope = 0;
  double relu_threshold = 0;
  bool relu_strict = false;  // At the threshold it gives 0, as ThresholdedReLU does.
  double alpha = 1;          // ELU.
  int softmax_axis = -1;
  bool use_bias = true;
  bool channels_last = true;
  std::int64_t units = 0;
  std::int64_t filters = 0;
  std::int64_t groups = 1;
  int rank = 0;              // Spatial axes; the lists below have an element for each.
  array::Shape kernel_size;  // Also pool_size, UpSampling's size and Resizing's.
  array::Shape strides;
  array::Shape dilation_rate;
  array::Shape output_padding;  // ConvTranspose; empty for none.
  // ZeroPadding and Cropping: before and after.
  std::vector<std::array<std::int64_t, 2>> margins;
  std::int64_t depth_multiplier = 1;
  Interpolation interpolation = Interpolation::kNearest;
  FillMode fill = FillMode::kReflect;
  bool flips_horizontally = false;
  bool flips_vertically = false;
  std::array<double, 2> rotation{0, 0};  // The least and the greatest, in turns.
  Padding padding = Padding::kValid;
  // Permute: 1 is the first axis behind the batch. Normalisations: the axes that have
  // weights of their own (LayerNormalization: that are normalised over), from 1, ascending.
  std::vector<int> axes;
  double rate = 0;         // Dropout; GaussianNoise: the standard deviation.
  double momentum = 0.99;  // BatchNormalization.
  double epsilon = 1e-3;
  bool center = true;
  bool scale = true;
  double rescale = 1;  // Rescaling: x * rescale + offset.
  double offset = 0;
  Regularizer activity;  // Of the output, a sample.
};

enum class InitializerKind : std::uint8_t {
  kZeros,
  kOnes,
  kConstant,
  kUniform,
  kNormal,
  kTruncatedNormal,
  kVarianceScaling,
  kOrthogonal,
};

struct Initializer {
  InitializerKind kind = InitializerKind::kZeros;
  double value = 0;                // Constant.
  double min = -0.05, max = 0.05;  // Uniform.
  double mean = 0, stddev = 0.05;  // Normal, truncated normal.
  // Variance scaling (Glorot, He and LeCun are cases of it): 'i' fan in, 'o' fan
  // out, 'a' their average; 'u' uniform, 'n' untruncated, 't' truncated normal.
  double scale = 1;
  char mode = 'i';
  char distribution = 't';
};

enum class ConstraintKind : std::uint8_t {
  kNone,
  kNonNegative,
  kUnitNorm,
  kMaxNorm,
  kMinMaxNorm,
};

// What a weight is brought to after each step; norms are those along `axes`.
struct Constraint {
  ConstraintKind kind = ConstraintKind::kNone;
  double min = 0;
  double max = 0;
  double rate = 1;  // How far it is brought, MinMaxNorm.
  std::vector<std::int64_t> axes{0};
  friend bool operator==(const Constraint&, const Constraint&) = default;
};

struct WeightSpec {
  std::string name;  // As Keras writes it: "conv2d/kernel:0".
  array::Shape shape;
  bool trainable = true;  // false: BatchNormalization's moving statistics.
  Initializer initializer;
  Regularizer regularizer;
  Constraint constraint;
  std::uint64_t offset = 0;  // Of its first element in the flat vector.
  std::uint64_t count = 0;
};

enum class OptimizerKind : std::uint8_t { kSgd, kAdam };

struct Optimizer {
  OptimizerKind kind = OptimizerKind::kSgd;
  double learning_rate = 0.01;
  double momentum = 0;
  bool nesterov = false;
  double beta_1 = 0.9;
  double beta_2 = 0.999;
  double epsilon = 1e-7;
  bool amsgrad = false;
};

enum class LossKind : std::uint8_t {
  kCategoricalCrossentropy,
  kSparseCategoricalCrossentropy,
  kBinaryCrossentropy,
  kMeanSquaredError,
  kHinge,
};

struct CompileConfig {
  Optimizer optimizer;
  LossKind loss = LossKind::kMeanSquaredError;
  bool from_logits = false;
  bool accuracy = false;  // Whether accuracy is among the metrics.
};

struct Model {
  std::string name;
  std::vector<Layer> layers;  // In topological order; layers[0] is the one input.
  int output_layer = 0;
  std::vector<WeightSpec> weights;
  std::uint64_t weight_count = 0;  // Elements of the flat vector.
  bool has_compile = false;
  CompileConfig compile;
  // Keras's JSON of the architecture and the compile section, as they are written
  // into an .h5 ("model_config", "training_config"; the latter may be empty).
  std::string model_config_json;
  std::string training_config_json;

  const array::Shape& input_shape() const { return layers.front().output_shape; }
  const array::Shape& output_shape() const { return layers[output_layer].output_shape; }
};

struct ModelLimits {
  std::uint64_t json_bytes_max = 16u << 20;
  std::uint32_t layer_count_max = 4096;
  std::uint64_t weight_count_max = std::uint64_t{1} << 31;
  std::uint64_t activation_count_max = std::uint64_t{1} << 28;  // Elements a sample and layer.
};

// Parses and checks a model. `name` (a path) is used in messages.
// Errors: kInvalidArgument, not Keras JSON, shapes that do not fit (both named),
// a cycle; kUnsupported, an unknown layer or option, with the known ones;
// kTooLarge, beyond `limits`.
Result<Model> ParseModel(std::string_view json, const std::string& name,
                         const ModelLimits& limits = {});

// The model as one JSON text that ParseModel reads back to an equal model.
std::string FormatModel(const Model& model);

// Checks that samples of these columns can be trained on: the input's shape (equal
// up to trailing axes of length 1), the labels' shape against the output and loss,
// and `class_count` (0: unknown) against the output's width.
// Errors: kInvalidArgument, naming both shapes.
Status CheckColumns(const Model& model, const array::ColumnSpec& x, const array::ColumnSpec& y,
                    std::uint64_t class_count);

// Initial weights, as the layers' initializers define them; a function of the
// model and the seed alone.
std::vector<float> InitialWeights(const Model& model, std::uint64_t seed);

// Multiply-adds x 2 of one forward pass of one sample, of all layers or of one.
// Only products with weights count (Dense, convolutions): the rest is little beside
// them. An axis of variable length counts once.
std::uint64_t ForwardFlops(const Model& model);
std::uint64_t ForwardFlops(const Model& model, const Layer& layer);

}  // namespace dnc::model
