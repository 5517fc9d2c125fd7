#include "model/model.h"

namespace dnc::model {
namespace {

using array::ColumnSpec;
using array::Shape;
using array::ShapeText;

// Shapes that hold the same elements in the same order: equal up to axes of
// length 1 at the end, such as (28, 28) and (28, 28, 1).
bool EqualUpToTrailingOnes(Shape a, Shape b) {
  while (!a.empty() && a.back() == 1) a.pop_back();
  while (!b.empty() && b.back() == 1) b.pop_back();
  return a == b;
}

Error Invalid(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

std::string OutputText(const Model& model) {
  return "the model's output (layer " + model.layers[model.output_layer].name + ") has shape " +
         ShapeText(model.output_shape());
}

Status CheckClassLabels(const Model& model, const ColumnSpec& y, std::uint64_t class_count) {
  const Shape& output = model.output_shape();
  const std::string loss = LossName(model.compile.loss);
  if (output.empty()) return Invalid(OutputText(model) + "; " + loss + " needs an axis of classes");
  const Shape expected(output.begin(), output.end() - 1);
  if (!EqualUpToTrailingOnes(y.shape, expected)) {
    const bool one_hot = EqualUpToTrailingOnes(y.shape, output);
    return Invalid("column " + y.name + ": its labels have shape " + ShapeText(y.shape) + ", but " +
                   OutputText(model) + ", and " + loss + " expects one whole number of shape " +
                   ShapeText(expected) +
                   (one_hot ? "; for one-hot labels use categorical_crossentropy" : ""));
  }
  if (array::IsFloat(y.dtype)) {
    return Invalid("column " + y.name + ": its labels are " + array::DTypeName(y.dtype) + ", but " +
                   loss + " expects whole numbers");
  }
  const auto width = static_cast<std::uint64_t>(output.back());
  if (class_count > width) {
    return Invalid("column " + y.name + ": has " + std::to_string(class_count) + " classes, but " +
                   OutputText(model) + ", for " + std::to_string(width) +
                   " classes; give that layer " + std::to_string(class_count) + " units");
  }
  return {};
}

Status CheckDenseLabels(const Model& model, const ColumnSpec& y, std::uint64_t class_count) {
  const Shape& output = model.output_shape();
  const LossKind loss = model.compile.loss;
  if (!EqualUpToTrailingOnes(y.shape, output)) {
    const bool class_labels = loss == LossKind::kCategoricalCrossentropy &&
                              EqualUpToTrailingOnes(y.shape, {}) && !array::IsFloat(y.dtype);
    return Invalid("column " + y.name + ": its labels have shape " + ShapeText(y.shape) + ", but " +
                   OutputText(model) + ", and " + LossName(loss) + " expects the same shape" +
                   (class_labels
                        ? "; for labels that are class numbers use sparse_categorical_crossentropy"
                        : ""));
  }
  const bool two_classes = loss == LossKind::kBinaryCrossentropy || loss == LossKind::kHinge ||
                           loss == LossKind::kSquaredHinge;
  const bool one_label = EqualUpToTrailingOnes(y.shape, {});
  if (two_classes && one_label && class_count > 2) {
    return Invalid("column " + y.name + ": has " + std::to_string(class_count) + " classes, but " +
                   LossName(loss) +
                   " is for two; use sparse_categorical_crossentropy and an output of shape (" +
                   std::to_string(class_count) + ",)");
  }
  return {};
}

Status CheckInput(const Model& model, const ColumnSpec& x) {
  if (model.input_count > 1) {
    const Shape expected{static_cast<std::int64_t>(model.input_elements())};
    if (EqualUpToTrailingOnes(x.shape, expected)) return {};
    return Invalid("column " + x.name + ": its samples have shape " + ShapeText(x.shape) +
                   ", but the model has " + std::to_string(model.input_count) +
                   " inputs of together " + std::to_string(expected[0]) +
                   " elements; expected the shape " + ShapeText(expected) +
                   ", with the inputs of a sample one behind the other");
  }
  if (EqualUpToTrailingOnes(x.shape, model.input_shape())) return {};
  return Invalid("column " + x.name + ": its samples have shape " + ShapeText(x.shape) +
                 ", but the model's input (layer " + model.layers.front().name + ") has shape " +
                 ShapeText(model.input_shape()));
}

// A hinge loss of several outputs learns each class against all others, as linear
// classifiers do; the labels are then numbers of classes.
bool TakesClassNumbers(const Model& model, const ColumnSpec& y) {
  const LossKind loss = model.compile.loss;
  const bool is_hinge = loss == LossKind::kHinge || loss == LossKind::kSquaredHinge;
  return is_hinge && !array::IsFloat(y.dtype) && EqualUpToTrailingOnes(y.shape, {}) &&
         model.output_shape().size() == 1 && model.output_shape()[0] > 1;
}

}  // namespace

Status CheckColumns(const Model& model, const ColumnSpec& x, const ColumnSpec& y,
                    std::uint64_t class_count) {
  if (model.has_variable_axes()) {
    Result<Model> bound = BindInputShape(model, x.shape);
    if (!bound.ok()) return bound.error().WithContext("column " + x.name);
    return CheckColumns(*bound, x, y, class_count);
  }
  DNC_TRY(CheckInput(model, x));
  if (!model.has_compile) {
    return Invalid(
        "the model has no compile section, so that its loss is not known; add "
        "\"compile\" with \"optimizer\" and \"loss\"");
  }
  if (model.output_layers.size() > 1) {
    return Error{ErrorCode::kUnsupported, "the model has " +
                                              std::to_string(model.output_layers.size()) +
                                              " outputs; only models of one output are trained"};
  }
  if (model.compile.loss == LossKind::kSparseCategoricalCrossentropy ||
      TakesClassNumbers(model, y)) {
    return CheckClassLabels(model, y, class_count);
  }
  return CheckDenseLabels(model, y, class_count);
}

}  // namespace dnc::model
