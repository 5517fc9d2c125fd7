// Finds the weights that a file's tensors are meant for, by name, and notices what
// is missing or given twice. Private to this room.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/model.h"

namespace dnc::model {

class NamedWeights {
 public:
  // `model` must outlive this.
  explicit NamedWeights(const Model* model);

  // The weight called `name`, with or without ":0".
  // Errors: kInvalidArgument, there is none, or it was claimed before, or it has
  // another shape.
  Result<const WeightSpec*> Claim(const std::string& name, const array::Shape& shape);

  // Errors: kInvalidArgument, a weight that nothing claimed.
  Status CheckAllClaimed() const;

 private:
  const Model* model_;
  std::map<std::string, std::size_t> indices_;
  std::vector<bool> claimed_;
};

}  // namespace dnc::model
