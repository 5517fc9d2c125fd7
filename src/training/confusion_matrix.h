// How often a sample of each class was taken for each class, and what follows from it.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "array/column.h"
#include "base/bytes.h"
#include "model/model.h"

namespace dnc::training {

class ConfusionMatrix {
 public:
  // Classes from 0; the matrix grows to hold them.
  void Add(std::size_t actual, std::size_t predicted);

  std::size_t class_count() const { return class_count_; }
  std::uint64_t count(std::size_t actual, std::size_t predicted) const {
    return counts_[actual * class_count_ + predicted];
  }

  // Of one class, as the field defines them; 0 where the denominator is 0.
  struct ClassFigures {
    std::uint64_t samples = 0;  // That are of the class.
    double precision = 0;       // Of those taken for the class, the share that is of it.
    double recall = 0;          // Of those of the class, the share taken for it.
    double f1 = 0;              // The harmonic mean of the two.
  };
  ClassFigures Figures(std::size_t index) const;

 private:
  std::size_t class_count_ = 0;
  std::vector<std::uint64_t> counts_;  // A row for each actual class.
};

// What class labels and outputs stand for: by the largest output, or, of a single one,
// by the threshold that the loss implies.
class ClassReader {
 public:
  // nullopt: the model does not tell classes apart.
  static std::optional<ClassReader> For(const model::Model& model, const array::ColumnSpec& y);

  // Labels of samples, kept until their outputs come.
  void AddLabels(ByteSpan labels);
  // Of as many samples as labels wait. Labels that are no class are left out.
  void AddOutputs(std::span<const float> outputs, ConfusionMatrix* confusion);

 private:
  array::ColumnSpec y_;
  std::size_t output_count_ = 1;  // A sample.
  float threshold_ = 0.5f;
  std::vector<std::int64_t> labels_;
};

}  // namespace dnc::training
