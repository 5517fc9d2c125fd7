#include "training/confusion_matrix.h"

#include <algorithm>

#include "trainer/convert.h"

namespace dnc::training {
namespace {

// Above any model of classes; a label is foreign data.
constexpr std::int64_t kClassMax = 4096;

double Ratio(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

void ConfusionMatrix::Add(std::size_t actual, std::size_t predicted) {
  const std::size_t needed = std::max(actual, predicted) + 1;
  if (needed > class_count_) {
    std::vector<std::uint64_t> grown(needed * needed, 0);
    for (std::size_t row = 0; row < class_count_; ++row) {
      std::copy_n(counts_.begin() + static_cast<std::ptrdiff_t>(row * class_count_), class_count_,
                  grown.begin() + static_cast<std::ptrdiff_t>(row * needed));
    }
    counts_ = std::move(grown);
    class_count_ = needed;
  }
  ++counts_[actual * class_count_ + predicted];
}

ConfusionMatrix::ClassFigures ConfusionMatrix::Figures(std::size_t index) const {
  std::uint64_t taken = 0;
  ClassFigures figures;
  for (std::size_t other = 0; other < class_count_; ++other) {
    figures.samples += count(index, other);
    taken += count(other, index);
  }
  figures.precision = Ratio(count(index, index), taken);
  figures.recall = Ratio(count(index, index), figures.samples);
  const double sum = figures.precision + figures.recall;
  figures.f1 = sum == 0 ? 0 : 2 * figures.precision * figures.recall / sum;
  return figures;
}

std::optional<ClassReader> ClassReader::For(const model::Model& model, const array::ColumnSpec& y) {
  if (model.output_layers.size() != 1 || model.output_shape().size() != 1) return std::nullopt;
  ClassReader reader;
  reader.y_ = y;
  reader.output_count_ = static_cast<std::size_t>(model.output_shape()[0]);
  if (reader.output_count_ > static_cast<std::size_t>(kClassMax)) return std::nullopt;
  const model::LossConfig& loss = *model.compile.outputs[0].loss;
  switch (loss.kind) {
    case model::LossKind::kSparseCategoricalCrossentropy:
    case model::LossKind::kCategoricalCrossentropy:
    case model::LossKind::kCategoricalHinge:
    case model::LossKind::kBinaryCrossentropy:
      if (loss.from_logits) reader.threshold_ = 0;
      break;
    case model::LossKind::kHinge:
    case model::LossKind::kSquaredHinge:
      reader.threshold_ = 0;
      break;
    default:
      return std::nullopt;
  }
  return reader;
}

void ClassReader::AddLabels(ByteSpan labels) {
  std::vector<float> values(labels.size() / array::DTypeSize(y_.dtype));
  trainer::ConvertToFloat(y_.dtype, labels, values);
  const std::size_t elements = array::ElementCount(y_.shape).value_or(1);
  for (std::size_t i = 0; i + elements <= values.size(); i += elements) {
    if (elements > 1) {  // One-hot.
      const auto begin = values.begin() + static_cast<std::ptrdiff_t>(i);
      labels_.push_back(std::max_element(begin, begin + static_cast<std::ptrdiff_t>(elements)) -
                        begin);
    } else {  // Of a hinge loss, -1 and 1.
      labels_.push_back(values[i] >= 0 && values[i] < kClassMax
                            ? static_cast<std::int64_t>(values[i])
                            : (values[i] < 0 && output_count_ == 1 ? 0 : -1));
    }
  }
}

void ClassReader::AddOutputs(std::span<const float> outputs, ConfusionMatrix* confusion) {
  for (std::size_t i = 0; i < labels_.size(); ++i) {
    const auto sample = outputs.subspan(i * output_count_, output_count_);
    const auto predicted =
        output_count_ == 1 ? static_cast<std::size_t>(sample[0] > threshold_)
                           : static_cast<std::size_t>(
                                 std::max_element(sample.begin(), sample.end()) - sample.begin());
    if (labels_[i] >= 0) confusion->Add(static_cast<std::size_t>(labels_[i]), predicted);
  }
  labels_.clear();
}

}  // namespace dnc::training
