#include "model/layer_registry.h"

#include <nlohmann/json.hpp>

namespace dnc::model {
namespace {

constexpr LayerClass kLayerClasses[] = {
    {"InputLayer", "input_1", LayerKind::kInput, ReadInput, InferInput},
    {"Dense", "dense", LayerKind::kDense, ReadDense, InferDense},
    {"Conv2D", "conv2d", LayerKind::kConv2D, ReadConv2D, InferConv2D},
    {"MaxPooling2D", "max_pooling2d", LayerKind::kMaxPooling2D, ReadPooling2D, InferPooling2D},
    {"AveragePooling2D", "average_pooling2d", LayerKind::kAveragePooling2D, ReadPooling2D,
     InferPooling2D},
    {"GlobalAveragePooling2D", "global_average_pooling2d", LayerKind::kGlobalAveragePooling2D,
     ReadGlobalPooling2D, InferGlobalPooling2D},
    {"Flatten", "flatten", LayerKind::kFlatten, ReadFlatten, InferFlatten},
    {"Reshape", "reshape", LayerKind::kReshape, ReadReshape, InferReshape},
    {"Dropout", "dropout", LayerKind::kDropout, ReadDropout, InferSameShape},
    {"BatchNormalization", "batch_normalization", LayerKind::kBatchNormalization,
     ReadBatchNormalization, InferBatchNormalization},
    {"Activation", "activation", LayerKind::kActivation, ReadActivation, InferSoftmax},
    {"ReLU", "re_lu", LayerKind::kActivation, ReadRelu, InferSameShape},
    {"Softmax", "softmax", LayerKind::kActivation, ReadSoftmax, InferSoftmax},
    {"Rescaling", "rescaling", LayerKind::kRescaling, ReadRescaling, InferSameShape},
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
  options->Ignore({"name"});
  options->Record("name", draft->layer.name);
  if (layer_class.kind == LayerKind::kInput) {
    options->Ignore({"trainable"});
  } else {
    draft->layer.trainable = options->Bool("trainable", true);
  }
  ReadGivenShape(options, draft);
  options->OnlyFloat32("dtype");
  layer_class.read(options, draft);
  return options->Finish();
}

}  // namespace dnc::model
