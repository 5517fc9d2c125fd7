// Where Keras 3 keeps each weight within a .keras archive's model.weights.h5: groups
// are called by class and number ("layers/dense_1/vars/0"), in the order of Keras's
// own walk of the graph (map_graph in keras/src/ops/function.py), not by the layers'
// names. Private to this room.

#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "model/model.h"

namespace dnc::model {

// Of each of model.weights, in order, below the model's own group.
// Errors: kUnsupported, a layer whose place is not known, by name.
Result<std::vector<std::string>> KerasPaths(const Model& model);

// Indices of model.weights as Keras 3 counts them: layer after layer in its own order.
// Errors: as above.
Result<std::vector<int>> KerasWeightOrder(const Model& model);

// "SeparableConv2D" as "separable_conv2d".
std::string SnakeCase(const std::string& class_name);

}  // namespace dnc::model
