#include <algorithm>

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

// An output of the model, and the column of its labels.
struct Labels {
  const Layer& layer;
  LossKind loss;
  const ColumnSpec& y;
  std::uint64_t class_count;

  const Shape& output() const { return layer.output_shape; }
  std::string OutputText() const {
    return "the model's output (layer " + layer.name + ") has shape " + ShapeText(output());
  }
};

Status CheckClassLabels(const Labels& labels) {
  const Shape& output = labels.output();
  const ColumnSpec& y = labels.y;
  const std::string loss = LossName(labels.loss);
  if (output.empty())
    return Invalid(labels.OutputText() + "; " + loss + " needs an axis of classes");
  const Shape expected(output.begin(), output.end() - 1);
  if (!EqualUpToTrailingOnes(y.shape, expected)) {
    const bool one_hot = EqualUpToTrailingOnes(y.shape, output);
    return Invalid("column " + y.name + ": its labels have shape " + ShapeText(y.shape) + ", but " +
                   labels.OutputText() + ", and " + loss + " expects one whole number of shape " +
                   ShapeText(expected) +
                   (one_hot ? "; for one-hot labels use categorical_crossentropy" : ""));
  }
  if (array::IsFloat(y.dtype)) {
    return Invalid("column " + y.name + ": its labels are " + array::DTypeName(y.dtype) + ", but " +
                   loss + " expects whole numbers");
  }
  const auto width = static_cast<std::uint64_t>(output.back());
  if (labels.class_count > width) {
    const std::string count = std::to_string(labels.class_count);
    return Invalid("column " + y.name + ": has " + count + " classes, but " + labels.OutputText() +
                   ", for " + std::to_string(width) + " classes; give that layer " + count +
                   " units");
  }
  return {};
}

Status CheckDenseLabels(const Labels& labels) {
  const Shape& output = labels.output();
  const ColumnSpec& y = labels.y;
  const LossKind loss = labels.loss;
  if (!EqualUpToTrailingOnes(y.shape, output)) {
    const bool class_labels = loss == LossKind::kCategoricalCrossentropy &&
                              EqualUpToTrailingOnes(y.shape, {}) && !array::IsFloat(y.dtype);
    return Invalid("column " + y.name + ": its labels have shape " + ShapeText(y.shape) + ", but " +
                   labels.OutputText() + ", and " + LossName(loss) + " expects the same shape" +
                   (class_labels
                        ? "; for labels that are class numbers use sparse_categorical_crossentropy"
                        : ""));
  }
  const bool two_classes = loss == LossKind::kBinaryCrossentropy || loss == LossKind::kHinge ||
                           loss == LossKind::kSquaredHinge;
  const bool one_label = EqualUpToTrailingOnes(y.shape, {});
  if (two_classes && one_label && labels.class_count > 2) {
    const std::string count = std::to_string(labels.class_count);
    return Invalid("column " + y.name + ": has " + count + " classes, but " + LossName(loss) +
                   " is for two; use sparse_categorical_crossentropy and an output of shape (" +
                   count + ",)");
  }
  return {};
}

// A hinge loss of several outputs learns each class against all others, as linear
// classifiers do; the labels are then numbers of classes.
bool TakesClassNumbers(const Labels& labels) {
  const bool is_hinge = labels.loss == LossKind::kHinge || labels.loss == LossKind::kSquaredHinge;
  return is_hinge && !array::IsFloat(labels.y.dtype) && EqualUpToTrailingOnes(labels.y.shape, {}) &&
         labels.output().size() == 1 && labels.output()[0] > 1;
}

Status CheckInputs(const Model& model, std::span<const ColumnSpec> x) {
  if (x.size() == 1 && model.input_count > 1) {
    const Shape expected{static_cast<std::int64_t>(model.input_elements())};
    if (EqualUpToTrailingOnes(x[0].shape, expected)) return {};
    return Invalid(
        "column " + x[0].name + ": its samples have shape " + ShapeText(x[0].shape) +
        ", but the model has " + std::to_string(model.input_count) + " inputs of together " +
        std::to_string(expected[0]) + " elements; expected the shape " + ShapeText(expected) +
        ", with the inputs of a sample one behind the other, or a column for each input");
  }
  if (x.size() != static_cast<std::size_t>(model.input_count)) {
    return Invalid("the model has " + std::to_string(model.input_count) +
                   " inputs, but there are " + std::to_string(x.size()) + " columns of them");
  }
  for (std::size_t i = 0; i < x.size(); ++i) {
    const Layer& input = model.layers[i];
    if (EqualUpToTrailingOnes(x[i].shape, input.output_shape)) continue;
    return Invalid("column " + x[i].name + ": its samples have shape " + ShapeText(x[i].shape) +
                   ", but the model's input (layer " + input.name + ") has shape " +
                   ShapeText(input.output_shape));
  }
  return {};
}

int IndexOf(std::span<const ColumnSpec> columns, const std::string& name) {
  const auto found = std::find_if(columns.begin(), columns.end(),
                                  [&](const ColumnSpec& column) { return column.name == name; });
  return found == columns.end() ? -1 : static_cast<int>(found - columns.begin());
}

// The columns of these names. `all` is set where all of them are there.
std::vector<int> IndicesOf(std::span<const ColumnSpec> columns,
                           const std::vector<std::string>& names, bool* all) {
  std::vector<int> indices;
  for (const std::string& name : names) indices.push_back(IndexOf(columns, name));
  *all = std::find(indices.begin(), indices.end(), -1) == indices.end();
  return indices;
}

std::string Joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

Error NotFound(std::span<const ColumnSpec> columns, const std::string& expected) {
  std::vector<std::string> found;
  for (const ColumnSpec& column : columns) found.push_back(column.name);
  return Invalid("the dataset has the columns " + Joined(found) + "; training needs " + expected);
}

}  // namespace

Result<std::vector<int>> FindInputs(const Model& model, std::span<const ColumnSpec> columns) {
  const int together = IndexOf(columns, "x");
  if (model.input_count == 1 && together >= 0) return std::vector<int>{together};
  std::vector<std::string> names;
  for (int i = 0; i < model.input_count; ++i) {
    names.push_back(model.layers[static_cast<std::size_t>(i)].name);
  }
  bool all = false;
  std::vector<int> indices = IndicesOf(columns, names, &all);
  if (all) return indices;
  if (together >= 0) return std::vector<int>{together};
  return NotFound(columns,
                  "features \"x\", or columns called as the model's inputs: " + Joined(names));
}

Result<std::vector<int>> FindLabels(const Model& model, std::span<const ColumnSpec> columns) {
  const std::vector<int> trained = model.compile.trained_outputs();
  const int only = IndexOf(columns, "y");
  if (trained.size() == 1 && only >= 0) return std::vector<int>{only};
  std::vector<std::string> names;
  for (const int output : trained) {
    names.push_back(model.output_names[static_cast<std::size_t>(output)]);
  }
  bool all = false;
  std::vector<int> indices = IndicesOf(columns, names, &all);
  if (all) return indices;
  if (trained.size() == 1) {
    return NotFound(columns,
                    "labels \"y\" (divide it with --labels or --label-column), or a column "
                    "called as the model's output: " +
                        Joined(names));
  }
  return NotFound(columns, "labels in columns called as the model's outputs: " + Joined(names));
}

Status CheckColumns(const Model& model, std::span<const ColumnSpec> x,
                    std::span<const ColumnSpec> y, std::span<const std::uint64_t> class_counts) {
  if (model.has_variable_axes()) {
    Result<Model> bound = BindInputShapes(model, x);
    if (!bound.ok()) {
      return x.size() == 1 ? bound.error().WithContext("column " + x[0].name) : bound.error();
    }
    return CheckColumns(*bound, x, y, class_counts);
  }
  DNC_TRY(CheckInputs(model, x));
  if (y.empty()) return {};
  if (!model.has_compile) {
    return Invalid(
        "the model has no compile section, so that its loss is not known; add "
        "\"compile\" with \"optimizer\" and \"loss\"");
  }
  const std::vector<int> trained = model.compile.trained_outputs();
  if (y.size() != trained.size()) {
    return Invalid("the model trains " + std::to_string(trained.size()) +
                   " outputs, but there are " + std::to_string(y.size()) + " columns of labels");
  }
  for (std::size_t i = 0; i < y.size(); ++i) {
    const OutputConfig& config = model.compile.outputs[static_cast<std::size_t>(trained[i])];
    const Labels labels{.layer = model.output(trained[i]),
                        .loss = config.loss->kind,
                        .y = y[i],
                        .class_count = i < class_counts.size() ? class_counts[i] : 0};
    const bool by_class =
        labels.loss == LossKind::kSparseCategoricalCrossentropy || TakesClassNumbers(labels);
    DNC_TRY(by_class ? CheckClassLabels(labels) : CheckDenseLabels(labels));
  }
  return {};
}

}  // namespace dnc::model
