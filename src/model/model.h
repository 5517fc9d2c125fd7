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
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "array/column.h"
#include "array/shape.h"
#include "base/result.h"
#include "model/compile_config.h"

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
  kSimpleRnn,
  kLstm,
  kGru,
  kConvLstm2D,
  kBidirectional,
  kTimeDistributed,
  kEmbedding,
  kMasking,
  kRepeatVector,
  kMerge,               // Of several inputs: Layer::merge.
  kMultiHeadAttention,  // Of query, value and, where it is not the value, key.
};

enum class MergeKind : std::uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kAverage,
  kMaximum,
  kMinimum,
  kConcatenate,
  kDot,
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

enum class MergeMode : std::uint8_t { kConcatenate, kSum, kMultiply, kAverage };

// What the layers of sequences read beside their units and kernels.
struct SequenceOptions {
  Activation recurrent_activation = Activation::kSigmoid;
  bool return_sequences = false;
  bool go_backwards = false;
  bool zero_output_for_mask = false;  // Else masked steps repeat the output before them.
  bool reset_after = true;            // GRU.
  bool drop_per_gate = false;         // Each gate has masks of its own.
  double dropout = 0;
  double recurrent_dropout = 0;
  MergeMode merge_mode = MergeMode::kConcatenate;  // Bidirectional.
  std::int64_t input_dim = 0;                      // Embedding.
  bool mask_zero = false;                          // Embedding.
  double mask_value = 0;                           // Masking.
};

struct AttentionOptions {
  std::int64_t heads = 0;
  std::int64_t key_dim = 0;    // Of each head.
  std::int64_t value_dim = 0;  // Likewise.
  // Each step looks at itself and those before it only. Said of a call, not of the layer.
  bool causal = false;
};

// In a shape: an axis whose length comes with the data.
inline constexpr std::int64_t kVariableAxis = -1;

// One call of a layer.
struct Layer {
  LayerKind kind = LayerKind::kInput;
  std::string class_name;           // Keras's: "Conv2D".
  std::string name;                 // In a model within the model: "encoder/dense".
  std::vector<int> inputs;          // Indices of layers, all before this one.
  int first_call = -1;              // Of a shared layer called again: the index of its first call.
  array::Shape output_shape;        // Of one sample, without the batch axis.
  std::vector<bool> variable_axes;  // Of an input: of each axis; empty, if none is.
  int first_weight = 0;             // Into Model::weights; the calls of a layer share them.
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
  SequenceOptions sequence;
  // Bidirectional: the forward and the backward layer; TimeDistributed: one. Their
  // weights are this layer's, one behind the other; first_weight counts from its first.
  std::vector<Layer> wrapped;
  MergeKind merge = MergeKind::kAdd;
  std::array<int, 2> merge_axes{0, 0};  // Concatenate: the first; Dot: of each input; from 0.
  bool normalize = false;               // Dot.
  AttentionOptions attention;
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
  // These elements are 1 instead: the forget gate's in an LSTM's bias.
  std::int64_t ones_begin = 0;
  std::int64_t ones_end = 0;
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

// A group of an .h5: a layer of the model, or a model among its layers.
struct WeightGroup {
  std::string name;
  std::vector<int> weights;              // Into Model::weights, in the order of the file.
  std::vector<std::string> saved_names;  // Of each, within the group: "dense/kernel:0".
};

// What an .h5 says beside the model, kept so that the model is saved alike.
struct KerasFile {
  std::string keras_version = "2.11.0";
  std::string backend = "tensorflow";  // "": not said, as Keras 1 does not.
  bool is_ascii = false;               // The encoding of these two in the root.
  bool repeats_versions = true;        // In the group of the weights.
  bool has_top_level_group = true;     // Since Keras 2.6.
  bool has_variable_lists = false;     // Names of layers and weights are of variable length.
  // The training_config as it came, and what was read of it: it is saved as long as
  // Model::training_config_json is still that.
  std::string training_config;
  std::string training_config_read;
};

struct Model {
  std::string name;
  // Calls of layers in topological order; the first `input_count` are the inputs.
  std::vector<Layer> layers;
  int input_count = 1;
  bool sequential = false;  // Keras's Sequential, of whose files the input is no layer.
  std::vector<int> output_layers;
  int output_layer = 0;  // The first of them.
  // Of each, as Keras calls them: the layer's, or that of the model within the model.
  std::vector<std::string> output_names;
  std::vector<WeightSpec> weights;
  std::uint64_t weight_count = 0;          // Elements of the flat vector.
  std::vector<WeightGroup> weight_groups;  // Of every layer, in Keras's order.
  KerasFile keras_file;
  bool has_compile = false;
  CompileConfig compile;
  // Keras's JSON of the architecture and the compile section, as they are written
  // into an .h5 ("model_config", "training_config"; the latter may be empty). A text
  // that names all layers is kept as it came; any other is written out in full.
  std::string model_config_json;
  std::string training_config_json;
  // The architecture written out in full, for Keras 2 and 3; that of a model with models
  // within it is as it came.
  std::string full_config_json;

  const array::Shape& input_shape() const { return layers.front().output_shape; }
  // The layer that gives the output of this number.
  const Layer& output(int index) const {
    const int layer = output_layers[static_cast<std::size_t>(index)];
    return layers[static_cast<std::size_t>(layer)];
  }
  const array::Shape& output_shape() const { return layers[output_layer].output_shape; }
  // Elements of one sample of all inputs, and of all outputs.
  std::uint64_t input_elements() const;
  std::uint64_t output_elements() const;
  // Whether an input has an axis whose length comes with the data. The shapes are then
  // those of a stand-in length; BindInputShape() gives the real ones.
  bool has_variable_axes() const;
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

// The columns of a dataset that hold the model's inputs: of a model with one input "x" or
// what the InputLayer is called; of one with several a column for each, called as its
// InputLayer, or "x" with all inputs of a sample one behind the other.
// Errors: kInvalidArgument, they are not there, with the columns found and expected.
Result<std::vector<int>> FindInputs(const Model& model, std::span<const array::ColumnSpec> columns);
// Those that hold the labels: of a model with one trained output "y" or what the output
// is called; of one with several a column for each, called as the output. Errors: as above.
Result<std::vector<int>> FindLabels(const Model& model, std::span<const array::ColumnSpec> columns);

// The model for samples of these columns (shapes equal up to trailing axes of length 1),
// where an axis of an input has no fixed length; otherwise the model as it is. The
// weights are the same.
// Errors: kInvalidArgument, a shape that does not fit, both named; kUnsupported, several
// inputs in one column; those of ParseModel.
Result<Model> BindInputShapes(const Model& model, std::span<const array::ColumnSpec> x);

// Checks that samples of these columns can be trained on: each input's shape (equal
// up to trailing axes of length 1; of several inputs in one column all elements of a
// sample, one input behind the other), and each trained output's labels against its
// shape and loss, and `class_counts` (an element for each column of labels; 0: unknown)
// against its width. No columns of labels: only the inputs are checked.
// Errors: kInvalidArgument, naming both shapes; those of BindInputShapes.
Status CheckColumns(const Model& model, std::span<const array::ColumnSpec> x,
                    std::span<const array::ColumnSpec> y,
                    std::span<const std::uint64_t> class_counts);

// Initial weights, as the layers' initializers define them; a function of the
// model and the seed alone.
std::vector<float> InitialWeights(const Model& model, std::uint64_t seed);

// Multiply-adds x 2 of one forward pass of one sample, of all layers or of one.
// Only products with weights count (Dense, convolutions): the rest is little beside
// them. An axis of variable length counts once.
std::uint64_t ForwardFlops(const Model& model);
std::uint64_t ForwardFlops(const Model& model, const Layer& layer);

}  // namespace dnc::model
