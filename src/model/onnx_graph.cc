#include "model/onnx_graph.h"

#include <algorithm>
#include <span>

#include "base/assert.h"
#include "base/bytes.h"

namespace dnc::model {
namespace {

constexpr int kOpset = 17;
constexpr int kIrVersion = 8;

// Values of TensorProto.DataType and AttributeProto.AttributeType.
constexpr int kFloatData = 1;
constexpr int kInt64Data = 7;
constexpr int kFloatAttribute = 1;
constexpr int kIntAttribute = 2;
constexpr int kTextAttribute = 3;
constexpr int kIntsAttribute = 7;

ProtobufWriter Attribute(const char* name, int type) {
  ProtobufWriter attribute;
  attribute.Text(1, name);
  attribute.Int(20, type);
  return attribute;
}

ProtobufWriter Tensor(const std::string& name, const array::Shape& shape, int type,
                      ByteSpan bytes) {
  ProtobufWriter tensor;
  for (const std::int64_t axis : shape) tensor.Int(1, axis);
  tensor.Int(2, type);
  tensor.Text(8, name);
  tensor.Text(9, AsText(bytes));
  return tensor;
}

ProtobufWriter ValueInfo(const std::string& name, const array::Shape& shape) {
  ProtobufWriter shape_message;
  ProtobufWriter batch;
  batch.Text(2, "batch");
  shape_message.Message(1, batch);
  for (std::size_t i = 0; i < shape.size(); ++i) {
    ProtobufWriter axis;
    if (shape[i] < 0) {
      axis.Text(2, "axis_" + std::to_string(i + 1));
    } else {
      axis.Int(1, shape[i]);
    }
    shape_message.Message(1, axis);
  }
  ProtobufWriter tensor;
  tensor.Int(1, kFloatData);
  tensor.Message(2, shape_message);
  ProtobufWriter type;
  type.Message(1, tensor);
  ProtobufWriter info;
  info.Text(1, name);
  info.Message(2, type);
  return info;
}

}  // namespace

OnnxNode& OnnxNode::Int(const char* name, std::int64_t value) {
  ProtobufWriter attribute = Attribute(name, kIntAttribute);
  attribute.Int(3, value);
  attributes_.Message(5, attribute);
  return *this;
}

OnnxNode& OnnxNode::Float(const char* name, double value) {
  ProtobufWriter attribute = Attribute(name, kFloatAttribute);
  attribute.Float(2, static_cast<float>(value));
  attributes_.Message(5, attribute);
  return *this;
}

OnnxNode& OnnxNode::Text(const char* name, std::string_view value) {
  ProtobufWriter attribute = Attribute(name, kTextAttribute);
  attribute.Text(4, value);
  attributes_.Message(5, attribute);
  return *this;
}

OnnxNode& OnnxNode::Ints(const char* name, const std::vector<std::int64_t>& values) {
  ProtobufWriter attribute = Attribute(name, kIntsAttribute);
  for (const std::int64_t value : values) attribute.Int(8, value);
  attributes_.Message(5, attribute);
  return *this;
}

std::string OnnxGraph::Unique(const std::string& name) {
  std::string unique = name;
  for (int number = 1;; ++number) {
    const auto place = std::lower_bound(names_.begin(), names_.end(), unique);
    if (place == names_.end() || *place != unique) {
      names_.insert(place, unique);
      return unique;
    }
    unique = name + "#" + std::to_string(number);
  }
}

std::string OnnxGraph::Add(const std::string& op, const std::vector<std::string>& inputs,
                           const std::string& name, const OnnxNode& node) {
  const std::string output = Unique(name);
  ProtobufWriter message;
  for (const std::string& input : inputs) message.Text(1, input);
  message.Text(2, output);
  message.Text(3, output);
  message.Text(4, op);
  message.Append(node.attributes_);
  nodes_.Message(1, message);
  return output;
}

std::string OnnxGraph::Floats(const std::string& name, const array::Shape& shape,
                              const std::vector<float>& elements) {
  DNC_ASSERT(array::ElementCount(shape) == elements.size());
  const std::string unique = Unique(name);
  constants_.Message(5, Tensor(unique, shape, kFloatData, std::as_bytes(std::span(elements))));
  return unique;
}

std::string OnnxGraph::Float(const std::string& name, double value) {
  return Floats(name, {}, {static_cast<float>(value)});
}

std::string OnnxGraph::Ints(const std::string& name, const std::vector<std::int64_t>& values) {
  const std::string unique = Unique(name);
  constants_.Message(5, Tensor(unique, {static_cast<std::int64_t>(values.size())}, kInt64Data,
                               std::as_bytes(std::span(values))));
  return unique;
}

std::string OnnxGraph::AddInput(const std::string& name, const array::Shape& shape) {
  const std::string unique = Unique(name);
  inputs_.Message(11, ValueInfo(unique, shape));
  return unique;
}

void OnnxGraph::AddOutput(const std::string& name, const array::Shape& shape) {
  outputs_.Message(12, ValueInfo(name, shape));
}

std::string OnnxGraph::Finish(const std::string& graph_name) const {
  ProtobufWriter graph = nodes_;
  graph.Text(2, graph_name);
  graph.Append(constants_);
  graph.Append(inputs_);
  graph.Append(outputs_);
  ProtobufWriter opset;
  opset.Text(1, "");
  opset.Int(2, kOpset);
  ProtobufWriter model;
  model.Int(1, kIrVersion);
  model.Text(2, "dnc");
  model.Message(7, graph);
  model.Message(8, opset);
  return model.bytes();
}

}  // namespace dnc::model
