#include "model/onnx_export.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/file.h"
#include "base/human.h"
#include "model/json_text.h"
#include "model/onnx_graph.h"

namespace dnc::model {
namespace {

using array::Shape;

constexpr std::uint64_t kProtobufBytesMax = std::numeric_limits<std::int32_t>::max();

// One layer's part of the graph.
class LayerExport {
 public:
  LayerExport(const TrainedModel& trained, const Layer& layer, OnnxGraph* graph)
      : trained_(trained), layer_(layer), graph_(graph) {}

  // `inputs` are the names of the inputs' tensors, `shapes` their shapes.
  Result<std::string> Run(const std::vector<std::string>& inputs,
                          const std::vector<const Shape*>& shapes) {
    input_shape_ = shapes.empty() ? Shape() : *shapes[0];
    const std::string x = inputs.empty() ? "" : inputs[0];
    switch (layer_.kind) {
      case LayerKind::kInput:
        return graph_->AddInput(layer_.name, layer_.output_shape);
      case LayerKind::kDense:
        return Activated(Dense(x));
      case LayerKind::kConv:
        return Activated(Convolution(x));
      case LayerKind::kDepthwiseConv:
        return Activated(DepthwiseConvolution(x));
      case LayerKind::kSeparableConv:
        return Activated(SeparableConvolution(x));
      case LayerKind::kConvTranspose:
        return Activated(TransposedConvolution(x));
      case LayerKind::kMaxPooling:
        return Pooling(x, "MaxPool");
      case LayerKind::kAveragePooling:
        return Pooling(x, "AveragePool");
      case LayerKind::kGlobalMaxPooling:
        return GlobalPooling(x, "ReduceMax");
      case LayerKind::kGlobalAveragePooling:
        return GlobalPooling(x, "ReduceMean");
      case LayerKind::kZeroPadding:
        return Pad(x);
      case LayerKind::kCropping:
        return Crop(x);
      case LayerKind::kUpSampling:
        return UpSample(x);
      case LayerKind::kFlatten:
        return Flatten(x);
      case LayerKind::kReshape:
        return Reshape(x, layer_.output_shape);
      case LayerKind::kPermute:
        return Permute(x);
      case LayerKind::kDropout:
      case LayerKind::kSpatialDropout:
      case LayerKind::kGaussianNoise:
      case LayerKind::kGaussianDropout:
      case LayerKind::kAlphaDropout:
      case LayerKind::kActivityRegularization:
      case LayerKind::kRandomFlip:
      case LayerKind::kRandomRotation:
        return Node("Identity", {x});
      case LayerKind::kBatchNormalization:
        if (layer_.axes.size() == 1) return BatchNormalization(x);
        break;
      case LayerKind::kLayerNormalization:
        return LayerNormalization(x);
      case LayerKind::kActivation:
        if (layer_.activation == Activation::kRelu) return Relu(x);
        if (layer_.activation == Activation::kElu) {
          return Node("Elu", {x}, OnnxNode().Float("alpha", layer_.alpha));
        }
        return Activated(x);
      case LayerKind::kPRelu:
        return Node("PRelu", {x, Weight(0)});
      case LayerKind::kRescaling:
        return Rescaling(x);
      case LayerKind::kMerge:
        // Of other ranks Keras puts the new axes behind the batch's, ONNX before it.
        if (std::all_of(shapes.begin(), shapes.end(),
                        [&](const Shape* shape) { return shape->size() == shapes[0]->size(); }) &&
            layer_.merge != MergeKind::kDot) {
          return Merge(inputs);
        }
        break;
      default:
        break;
    }
    return Error{ErrorCode::kUnsupported, "layer " + Quoted(layer_.name) + " of class " +
                                              layer_.class_name +
                                              " cannot be written as ONNX; save the model as .h5 "
                                              "or .keras"};
  }

 private:
  std::string Node(const std::string& op, const std::vector<std::string>& inputs,
                   const OnnxNode& node = {}) {
    return graph_->Add(op, inputs, layer_.name, node);
  }
  std::string Merge(const std::vector<std::string>& inputs) {
    switch (layer_.merge) {
      case MergeKind::kAdd:
        return Node("Sum", inputs);
      case MergeKind::kAverage:
        return Node("Mean", inputs);
      case MergeKind::kMaximum:
        return Node("Max", inputs);
      case MergeKind::kMinimum:
        return Node("Min", inputs);
      case MergeKind::kConcatenate:
        return Node("Concat", inputs, OnnxNode().Int("axis", layer_.merge_axes[0] + 1));
      case MergeKind::kSubtract:
        return Node("Sub", inputs);
      default:
        break;
    }
    std::string product = inputs[0];
    for (std::size_t i = 1; i < inputs.size(); ++i) product = Node("Mul", {product, inputs[i]});
    return product;
  }

  std::string Number(const char* name, double value) {
    return graph_->Float(layer_.name + "/" + name, value);
  }

  const WeightSpec& Spec(int index) const {
    return trained_.model.weights[static_cast<std::size_t>(layer_.first_weight + index)];
  }
  std::vector<float> Elements(int index) const {
    const auto begin = trained_.weights.begin() + static_cast<std::ptrdiff_t>(Spec(index).offset);
    return {begin, begin + static_cast<std::ptrdiff_t>(Spec(index).count)};
  }
  std::string Weight(int index) {
    return graph_->Floats(Spec(index).name, Spec(index).shape, Elements(index));
  }

  // The weight with its axes in the order `order`.
  std::string TransposedWeight(int index, const std::vector<std::size_t>& order) {
    const Shape& from = Spec(index).shape;
    std::vector<std::size_t> strides(from.size(), 1);
    for (std::size_t axis = from.size() - 1; axis-- > 0;) {
      strides[axis] = strides[axis + 1] * static_cast<std::size_t>(from[axis + 1]);
    }
    Shape to;
    for (const std::size_t axis : order) to.push_back(from[axis]);
    const std::vector<float> elements = Elements(index);
    std::vector<float> out(elements.size());
    std::vector<std::int64_t> place(to.size(), 0);
    for (float& element : out) {
      std::size_t offset = 0;
      for (std::size_t i = 0; i < to.size(); ++i) {
        offset += static_cast<std::size_t>(place[i]) * strides[order[i]];
      }
      element = elements[offset];
      for (std::size_t i = to.size(); i-- > 0;) {
        if (++place[i] < to[i]) break;
        place[i] = 0;
      }
    }
    return graph_->Floats(Spec(index).name, to, out);
  }

  // ---- Images: ONNX has the channels in front of the spatial axes.

  std::size_t Rank() const { return input_shape_.size() - 1; }
  std::int64_t SpatialLength(std::size_t axis) const {
    return input_shape_[axis + (layer_.channels_last ? 0 : 1)];
  }

  std::string ChannelsFirst(const std::string& x) {
    if (!layer_.channels_last) return x;
    std::vector<std::int64_t> order = {0, static_cast<std::int64_t>(Rank()) + 1};
    for (std::size_t i = 0; i < Rank(); ++i) order.push_back(static_cast<std::int64_t>(i) + 1);
    return Node("Transpose", {x}, OnnxNode().Ints("perm", order));
  }
  std::string ChannelsBack(const std::string& x) {
    if (!layer_.channels_last) return x;
    std::vector<std::int64_t> order = {0};
    for (std::size_t i = 0; i < Rank(); ++i) order.push_back(static_cast<std::int64_t>(i) + 2);
    order.push_back(1);
    return Node("Transpose", {x}, OnnxNode().Ints("perm", order));
  }

  // Keras pads as TensorFlow does: the odd one comes last.
  void AddWindow(OnnxNode* node) const {
    const std::size_t rank = Rank();
    std::vector<std::int64_t> pads(2 * rank, 0);
    std::vector<std::int64_t> kernel;
    std::vector<std::int64_t> strides;
    for (std::size_t i = 0; i < rank; ++i) {
      kernel.push_back(layer_.kernel_size[i]);
      strides.push_back(layer_.strides[i]);
      const std::int64_t window = (kernel[i] - 1) * Dilations()[i] + 1;
      if (layer_.padding == Padding::kCausal) pads[i] = window - 1;
      if (layer_.padding != Padding::kSame) continue;
      const std::int64_t length = SpatialLength(i);
      const std::int64_t outputs = (length + strides[i] - 1) / strides[i];
      const std::int64_t total =
          std::max<std::int64_t>((outputs - 1) * strides[i] + window - length, 0);
      pads[i] = total / 2;
      pads[rank + i] = total - total / 2;
    }
    node->Ints("kernel_shape", kernel).Ints("strides", strides).Ints("pads", pads);
  }

  // ---- Layers

  std::string Dense(const std::string& x) {
    const std::string product = Node("MatMul", {x, Weight(0)});
    return layer_.use_bias ? Node("Add", {product, Weight(1)}) : product;
  }

  std::vector<std::int64_t> Dilations() const {
    if (layer_.dilation_rate.empty()) return std::vector<std::int64_t>(Rank(), 1);
    return layer_.dilation_rate;
  }

  // The axes of a kernel (spatial..., then these two of the axes behind them).
  std::vector<std::size_t> KernelOrder(std::size_t first, std::size_t second) const {
    std::vector<std::size_t> order = {Rank() + first, Rank() + second};
    for (std::size_t i = 0; i < Rank(); ++i) order.push_back(i);
    return order;
  }

  // `x` with its channels in front.
  std::string Convolved(const std::string& x, const std::string& kernel, std::int64_t groups,
                        int bias) {
    OnnxNode node;
    AddWindow(&node);
    node.Ints("dilations", Dilations()).Int("group", groups);
    std::vector<std::string> inputs = {x, kernel};
    if (bias > 0) inputs.push_back(Weight(bias));
    return Node("Conv", inputs, node);
  }

  int BiasIndex(int index) const { return layer_.use_bias ? index : 0; }

  std::string Convolution(const std::string& x) {
    const std::string kernel = TransposedWeight(0, KernelOrder(1, 0));
    return ChannelsBack(Convolved(ChannelsFirst(x), kernel, layer_.groups, BiasIndex(1)));
  }

  // A kernel (spatial..., in, multiplier) as (in * multiplier, 1, spatial...).
  std::string DepthwiseKernel() {
    const Shape& shape = Spec(0).shape;
    Shape target = {shape[Rank()] * shape[Rank() + 1], 1};
    target.insert(target.end(), shape.begin(), shape.end() - 2);
    const std::string kernel = TransposedWeight(0, KernelOrder(0, 1));
    return Node("Reshape", {kernel, graph_->Ints(layer_.name + "/kernel_shape", target)});
  }

  std::string DepthwiseConvolution(const std::string& x) {
    const std::int64_t channels = Spec(0).shape[Rank()];
    return ChannelsBack(Convolved(ChannelsFirst(x), DepthwiseKernel(), channels, BiasIndex(1)));
  }

  std::string SeparableConvolution(const std::string& x) {
    const std::int64_t channels = Spec(0).shape[Rank()];
    const std::string depthwise = Convolved(ChannelsFirst(x), DepthwiseKernel(), channels, 0);
    std::vector<std::string> inputs = {depthwise, TransposedWeight(1, KernelOrder(1, 0))};
    if (layer_.use_bias) inputs.push_back(Weight(2));
    return ChannelsBack(Node("Conv", inputs));
  }

  // What is cut off is cut as TensorFlow cuts it: the odd one comes last.
  std::string TransposedConvolution(const std::string& x) {
    const std::size_t rank = Rank();
    const std::vector<std::int64_t> dilations = Dilations();
    std::vector<std::int64_t> pads(2 * rank, 0);
    std::vector<std::int64_t> more(rank, 0);
    for (std::size_t i = 0; i < rank; ++i) {
      const std::int64_t made = layer_.output_shape[i + (layer_.channels_last ? 0 : 1)];
      const std::int64_t window = (layer_.kernel_size[i] - 1) * dilations[i] + 1;
      const std::int64_t total = (SpatialLength(i) - 1) * layer_.strides[i] + window - made;
      pads[i] = std::max<std::int64_t>(total, 0) / 2;
      pads[rank + i] = std::max<std::int64_t>(total, 0) - pads[i];
      more[i] = std::max<std::int64_t>(-total, 0);
    }
    OnnxNode node;
    node.Ints("kernel_shape", layer_.kernel_size).Ints("strides", layer_.strides);
    node.Ints("dilations", dilations).Ints("pads", pads).Ints("output_padding", more);
    std::vector<std::string> inputs = {ChannelsFirst(x), TransposedWeight(0, KernelOrder(1, 0))};
    if (layer_.use_bias) inputs.push_back(Weight(1));
    return ChannelsBack(Node("ConvTranspose", inputs, node));
  }

  std::string Pooling(const std::string& x, const char* op) {
    OnnxNode node;
    AddWindow(&node);
    return ChannelsBack(Node(op, {ChannelsFirst(x)}, node));
  }

  std::string GlobalPooling(const std::string& x, const char* op) {
    std::vector<std::int64_t> axes;
    for (std::size_t i = 0; i < Rank(); ++i) {
      axes.push_back(static_cast<std::int64_t>(i) + (layer_.channels_last ? 1 : 2));
    }
    const bool keeps = layer_.output_shape.size() == input_shape_.size();
    return Node(op, {x}, OnnxNode().Ints("axes", axes).Int("keepdims", keeps ? 1 : 0));
  }

  std::int64_t FirstSpatialAxis() const { return layer_.channels_last ? 1 : 2; }

  std::string Pad(const std::string& x) {
    const std::size_t axis_count = input_shape_.size() + 1;
    std::vector<std::int64_t> pads(2 * axis_count, 0);
    for (std::size_t i = 0; i < layer_.margins.size(); ++i) {
      const std::size_t axis = static_cast<std::size_t>(FirstSpatialAxis()) + i;
      pads[axis] = layer_.margins[i][0];
      pads[axis_count + axis] = layer_.margins[i][1];
    }
    return Node("Pad", {x, graph_->Ints(layer_.name + "/pads", pads)});
  }

  std::string Crop(const std::string& x) {
    std::vector<std::int64_t> starts;
    std::vector<std::int64_t> ends;
    std::vector<std::int64_t> axes;
    for (std::size_t i = 0; i < layer_.margins.size(); ++i) {
      starts.push_back(layer_.margins[i][0]);
      ends.push_back(SpatialLength(i) - layer_.margins[i][1]);
      axes.push_back(FirstSpatialAxis() + static_cast<std::int64_t>(i));
    }
    return Node("Slice", {x, graph_->Ints(layer_.name + "/starts", starts),
                          graph_->Ints(layer_.name + "/ends", ends),
                          graph_->Ints(layer_.name + "/axes", axes)});
  }

  std::string UpSample(const std::string& x) {
    std::vector<float> scales(2, 1.0f);
    for (const std::int64_t factor : layer_.kernel_size) {
      scales.push_back(static_cast<float>(factor));
    }
    const std::string scales_name =
        graph_->Floats(layer_.name + "/scales", {static_cast<std::int64_t>(scales.size())}, scales);
    OnnxNode node;
    if (layer_.interpolation == Interpolation::kBilinear) {
      node.Text("mode", "linear").Text("coordinate_transformation_mode", "half_pixel");
    } else {
      node.Text("mode", "nearest").Text("coordinate_transformation_mode", "asymmetric");
      node.Text("nearest_mode", "floor");
    }
    return ChannelsBack(Node("Resize", {ChannelsFirst(x), "", scales_name}, node));
  }

  std::string Permute(const std::string& x) {
    std::vector<std::int64_t> order = {0};
    order.insert(order.end(), layer_.axes.begin(), layer_.axes.end());
    return Node("Transpose", {x}, OnnxNode().Ints("perm", order));
  }

  std::string LayerNormalization(const std::string& x) {
    const std::vector<std::int64_t> axes(layer_.axes.begin(), layer_.axes.end());
    const auto mean = [&](const std::string& of) {
      return Node("ReduceMean", {of}, OnnxNode().Ints("axes", axes).Int("keepdims", 1));
    };
    const std::string centred = Node("Sub", {x, mean(x)});
    const std::string variance = mean(Node("Mul", {centred, centred}));
    const std::string deviation =
        Node("Sqrt", {Node("Add", {variance, Number("epsilon", layer_.epsilon)})});
    std::string out = Node("Div", {centred, deviation});
    // The weights have the normalised axes alone.
    Shape shape(input_shape_.size(), 1);
    for (const int axis : layer_.axes) {
      shape[static_cast<std::size_t>(axis - 1)] = input_shape_[static_cast<std::size_t>(axis - 1)];
    }
    int index = 0;
    for (const auto& [used, op] :
         {std::pair(layer_.scale, "Mul"), std::pair(layer_.center, "Add")}) {
      if (!used) continue;
      out = Node(op, {out, graph_->Floats(Spec(index).name, shape, Elements(index))});
      ++index;
    }
    return out;
  }

  std::string Reshape(const std::string& x, const Shape& shape) {
    std::vector<std::int64_t> target = {-1};
    target.insert(target.end(), shape.begin(), shape.end());
    return Node("Reshape", {x, graph_->Ints(layer_.name + "/shape", target)});
  }

  // Of channels_first Keras flattens the image as if its channels were last.
  std::string Flatten(const std::string& x) {
    if (layer_.channels_last || input_shape_.size() < 2) return Reshape(x, layer_.output_shape);
    std::vector<std::int64_t> order = {0};
    for (std::size_t i = 0; i < Rank(); ++i) order.push_back(static_cast<std::int64_t>(i) + 2);
    order.push_back(1);
    return Reshape(Node("Transpose", {x}, OnnxNode().Ints("perm", order)), layer_.output_shape);
  }

  // As one multiplication and one addition, which the weights give.
  std::string BatchNormalization(const std::string& x) {
    int index = 0;
    const std::vector<float> gamma = layer_.scale ? Elements(index++) : std::vector<float>();
    const std::vector<float> beta = layer_.center ? Elements(index++) : std::vector<float>();
    const std::vector<float> mean = Elements(index++);
    const std::vector<float> variance = Elements(index);
    std::vector<float> factors;
    std::vector<float> offsets;
    for (std::size_t i = 0; i < mean.size(); ++i) {
      const double factor =
          (gamma.empty() ? 1.0 : gamma[i]) / std::sqrt(variance[i] + layer_.epsilon);
      factors.push_back(static_cast<float>(factor));
      offsets.push_back(static_cast<float>((beta.empty() ? 0.0 : beta[i]) - mean[i] * factor));
    }
    Shape shape = {static_cast<std::int64_t>(mean.size())};
    if (!layer_.channels_last) shape.resize(input_shape_.size(), 1);
    const std::string factor = graph_->Floats(layer_.name + "/factor", shape, factors);
    const std::string offset = graph_->Floats(layer_.name + "/offset", shape, offsets);
    return Node("Add", {Node("Mul", {x, factor}), offset});
  }

  std::string Rescaling(const std::string& x) {
    const std::string scaled = Node("Mul", {x, Number("scale", layer_.rescale)});
    return Node("Add", {scaled, Number("offset", layer_.offset)});
  }

  std::string Relu(const std::string& x) {
    const double slope = layer_.relu_negative_slope;
    std::string out;
    if (layer_.relu_threshold == 0) {
      out =
          slope == 0 ? Node("Relu", {x}) : Node("LeakyRelu", {x}, OnnxNode().Float("alpha", slope));
    } else {
      const std::string threshold = Number("threshold", layer_.relu_threshold);
      const std::string above =
          Node(layer_.relu_strict ? "Greater" : "GreaterOrEqual", {x, threshold});
      const std::string below =
          Node("Mul", {Node("Sub", {x, threshold}), Number("negative_slope", slope)});
      out = Node("Where", {above, x, below});
    }
    if (layer_.relu_max_value <= 0) return out;
    return Node("Min", {out, Number("max_value", layer_.relu_max_value)});
  }

  // The layer's activation, applied to `x`.
  std::string Activated(const std::string& x) {
    switch (layer_.activation) {
      case Activation::kLinear:
        return x;
      case Activation::kRelu:
        return Node("Relu", {x});
      case Activation::kSigmoid:
        return Node("Sigmoid", {x});
      case Activation::kTanh:
        return Node("Tanh", {x});
      case Activation::kSoftmax:
        return Node("Softmax", {x}, OnnxNode().Int("axis", layer_.softmax_axis));
      case Activation::kElu:
        return Node("Elu", {x});
      case Activation::kSelu:  // Keras's constants, to all their digits.
        return Node("Selu", {x},
                    OnnxNode()
                        .Float("alpha", 1.6732632423543772848170429916717)
                        .Float("gamma", 1.0507009873554804934193349852946));
      case Activation::kSoftplus:
        return Node("Softplus", {x});
      case Activation::kSoftsign:
        return Node("Softsign", {x});
      case Activation::kSwish:
        return Node("Mul", {x, Node("Sigmoid", {x})});
      case Activation::kExponential:
        return Node("Exp", {x});
      case Activation::kHardSigmoid:
        return Node("HardSigmoid", {x}, OnnxNode().Float("alpha", 0.2).Float("beta", 0.5));
      case Activation::kGelu: {
        const std::string erf =
            Node("Erf", {Node("Mul", {x, Number("root_half", std::sqrt(0.5))})});
        const std::string half = Node("Mul", {x, Number("half", 0.5)});
        return Node("Mul", {half, Node("Add", {erf, Number("one", 1)})});
      }
    }
    return x;
  }

  const TrainedModel& trained_;
  const Layer& layer_;
  OnnxGraph* graph_;
  Shape input_shape_;
};

}  // namespace

Status SaveOnnx(const TrainedModel& trained, const std::string& path) {
  const Model& model = trained.model;
  DNC_ASSERT(trained.weights.size() == model.weight_count);
  const Error too_large = {ErrorCode::kTooLarge,
                           path + ": the model has " + FormatCount(model.weight_count) +
                               " weights, and ONNX files hold less than 2 GiB; save it as "
                               ".safetensors or .keras"};
  if (4 * model.weight_count > kProtobufBytesMax) return too_large;
  if (model.has_variable_axes()) {
    return Error{ErrorCode::kUnsupported,
                 path +
                     ": the model has an input with an axis that has no length, which is not "
                     "written as ONNX; save it as .h5 or .keras"};
  }
  OnnxGraph graph;
  std::vector<std::string> tensors;
  for (const Layer& layer : model.layers) {
    std::vector<std::string> inputs;
    std::vector<const Shape*> shapes;
    for (const int input : layer.inputs) {
      inputs.push_back(tensors[static_cast<std::size_t>(input)]);
      shapes.push_back(&model.layers[static_cast<std::size_t>(input)].output_shape);
    }
    Result<std::string> tensor = LayerExport(trained, layer, &graph).Run(inputs, shapes);
    if (!tensor.ok()) return tensor.error().WithContext(path);
    tensors.push_back(*std::move(tensor));
  }
  // An output has a node of its own, as an input may not be one.
  for (const int layer : model.output_layers) {
    const auto output = static_cast<std::size_t>(layer);
    graph.AddOutput(graph.Add("Identity", {tensors[output]}, model.layers[output].name + "/output"),
                    model.layers[output].output_shape);
  }
  const std::string bytes = graph.Finish(model.name.empty() ? "model" : model.name);
  if (bytes.size() > kProtobufBytesMax) return too_large;
  return WriteFileAtomically(path, AsBytes(bytes));
}

}  // namespace dnc::model
