// Models that the room's tests share, as Keras's JSON.

#pragma once

#include <string>

#include "model/model.h"

namespace dnc::model::test {

// {"class_name": ..., "config": {...}}; `options` without braces.
inline std::string LayerJson(const std::string& class_name, const std::string& options) {
  return R"({"class_name": ")" + class_name + R"(", "config": {)" + options + "}}";
}

inline std::string InputJson(const std::string& shape) {
  return LayerJson("InputLayer", R"("batch_input_shape": )" + shape);
}

// A Sequential of the given layers, separated by commas.
inline std::string SequentialJson(const std::string& layers) {
  return R"({"class_name": "Sequential", "config": {"name": "m", "layers": [)" + layers + "]}}";
}

// A Sequential of one layer behind an input of `shape`, such as "[null, 4]".
inline std::string OneLayerJson(const std::string& shape, const std::string& class_name,
                                const std::string& options) {
  return SequentialJson(InputJson(shape) + ", " + LayerJson(class_name, options));
}

// A layer of a functional model that takes the output of `input` ("" for none).
inline std::string NodeJson(const std::string& class_name, const std::string& name,
                            const std::string& options, const std::string& input) {
  return R"({"class_name": ")" + class_name + R"(", "name": ")" + name + R"(", "config": {)" +
         options + R"(}, "inbound_nodes": [)" +
         (input.empty() ? "" : R"([[")" + input + R"(", 0, 0, {}]])") + "]}";
}

inline std::string FunctionalJson(const std::string& layers, const std::string& input,
                                  const std::string& output) {
  return R"({"class_name": "Functional", "config": {"name": "m", "layers": [)" + layers +
         R"(], "input_layers": [[")" + input + R"(", 0, 0]], "output_layers": [[")" + output +
         R"(", 0, 0]]}})";
}

// A model with its compile section.
inline std::string CompiledJson(const std::string& architecture, const std::string& compile) {
  return R"({"model_config": )" + architecture + R"(, "compile": )" + compile + "}";
}

// A small network with a layer of every kind that has weights.
inline std::string SmallNetworkJson() {
  return CompiledJson(
      SequentialJson(
          InputJson("[null, 8, 8, 1]") + ", " +
          LayerJson("Conv2D", R"("name": "conv", "filters": 2, "kernel_size": 3)") + ", " +
          LayerJson("BatchNormalization", R"("name": "norm")") + ", " + LayerJson("Flatten", "") +
          ", " + LayerJson("Dense", R"("name": "classes", "units": 3, "activation": "softmax")")),
      R"({"optimizer": "adam", "loss": "sparse_categorical_crossentropy",
          "metrics": ["accuracy"]})");
}

inline Model MustParse(const std::string& json) {
  Result<Model> model = ParseModel(json, "model.json");
  if (!model.ok()) {
    AssertionFailed(model.error().message.c_str(), __FILE__, __LINE__);
  }
  return *std::move(model);
}

}  // namespace dnc::model::test
