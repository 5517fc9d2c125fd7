// An ONNX graph while it is built: nodes, constants, inputs and outputs, and in the end
// its bytes (onnx/onnx.proto of ONNX 1.12, opset 17, IR version 8). Private to this room.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "array/shape.h"
#include "base/protobuf_writer.h"

namespace dnc::model {

class OnnxNode {
 public:
  OnnxNode& Int(const char* name, std::int64_t value);
  OnnxNode& Float(const char* name, double value);
  OnnxNode& Text(const char* name, std::string_view value);
  OnnxNode& Ints(const char* name, const std::vector<std::int64_t>& values);

 private:
  friend class OnnxGraph;
  ProtobufWriter attributes_;  // As fields of a NodeProto.
};

class OnnxGraph {
 public:
  // A node of one output, whose name is returned: `name`, or one made from it where it
  // is taken.
  std::string Add(const std::string& op, const std::vector<std::string>& inputs,
                  const std::string& name, const OnnxNode& node = {});

  // Constants; each returns its name.
  std::string Floats(const std::string& name, const array::Shape& shape,
                     const std::vector<float>& elements);
  std::string Float(const std::string& name, double value);
  std::string Ints(const std::string& name, const std::vector<std::int64_t>& values);

  // float32, with a batch axis in front; -1 for an axis of variable length.
  std::string AddInput(const std::string& name, const array::Shape& shape);
  void AddOutput(const std::string& name, const array::Shape& shape);

  // The bytes of a ModelProto.
  std::string Finish(const std::string& graph_name) const;

 private:
  std::string Unique(const std::string& name);

  ProtobufWriter nodes_;  // Fields of a GraphProto, each.
  ProtobufWriter constants_;
  ProtobufWriter inputs_;
  ProtobufWriter outputs_;
  std::vector<std::string> names_;  // Sorted.
};

}  // namespace dnc::model
