// What Keras 1 wrote, in the words of Keras 2: classes such as Convolution2D and
// options such as nb_filter have other names, and so have the parts of some weights
// (keras/legacy/interfaces.py and keras/engine/saving.py of Keras 2.3 list them).

#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace dnc::model {

// Renames the layers and options of an architecture. What is not known is left as it is,
// to be refused by name where options are read.
void TranslateKeras1(nlohmann::json* architecture);

// Where the parts of a layer's weights lie among what Keras 1 saved: for each weight,
// the saved arrays that are its columns, from left to right. An LSTM of Keras 1 has an
// array a gate. Empty, if `saved_count` arrays cannot be `weight_count` weights.
std::vector<std::vector<int>> Keras1Parts(int saved_count, int weight_count);

}  // namespace dnc::model
