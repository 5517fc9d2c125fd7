#include "model/keras1.h"

#include <map>
#include <nlohmann/json.hpp>

namespace dnc::model {
namespace {

using nlohmann::json;

const std::map<std::string, std::string>& ClassNames() {
  static const std::map<std::string, std::string> kNames = {
      {"Convolution1D", "Conv1D"},
      {"Convolution2D", "Conv2D"},
      {"Convolution3D", "Conv3D"},
      {"AtrousConvolution1D", "Conv1D"},
      {"AtrousConvolution2D", "Conv2D"},
      {"Deconvolution2D", "Conv2DTranspose"},
      {"SeparableConvolution2D", "SeparableConv2D"},
  };
  return kNames;
}

const std::map<std::string, std::string>& OptionNames() {
  static const std::map<std::string, std::string> kNames = {
      {"W_constraint", "kernel_constraint"},
      {"W_regularizer", "kernel_regularizer"},
      {"U_regularizer", "recurrent_regularizer"},
      {"b_constraint", "bias_constraint"},
      {"b_regularizer", "bias_regularizer"},
      {"atrous_rate", "dilation_rate"},
      {"bias", "use_bias"},
      {"border_mode", "padding"},
      {"dropout_U", "recurrent_dropout"},
      {"dropout_W", "dropout"},
      {"filter_length", "kernel_size"},
      {"init", "kernel_initializer"},
      {"inner_activation", "recurrent_activation"},
      {"inner_init", "recurrent_initializer"},
      {"nb_filter", "filters"},
      {"p", "rate"},
      {"pool_length", "pool_size"},
      {"sigma", "stddev"},
      {"stride", "strides"},
      {"subsample", "strides"},
      {"subsample_length", "strides"},
  };
  return kNames;
}

void Rename(json* config, const std::string& from, const std::string& to) {
  if (!config->contains(from)) return;
  json value = std::move((*config)[from]);
  config->erase(from);
  (*config)[to] = std::move(value);
}

// {"name": "WeightRegularizer", "l1": 0, "l2": 0.1} and {"name": "MaxNorm", "m": 2}.
void TranslateRule(json* value) {
  if (!value->is_object() || !value->contains("name") || !(*value)["name"].is_string()) return;
  const std::string name = (*value)["name"].get<std::string>();
  json config = std::move(*value);
  config.erase("name");
  Rename(&config, "m", "max_value");
  const bool is_regularizer =
      name == "WeightRegularizer" || name == "ActivityRegularizer" || name == "L1L2Regularizer";
  *value = {{"class_name", is_regularizer ? "L1L2" : name}, {"config", std::move(config)}};
}

void TranslateInitializer(json* value) {
  if (*value == "zero") *value = "zeros";
  if (*value == "one") *value = "ones";
  if (*value == "uniform") *value = "random_uniform";
  if (*value == "normal") *value = "random_normal";
}

// nb_row and nb_col, or kernel_dim1 and so on, as one list.
void JoinKernelSize(json* config) {
  json sizes = json::array();
  for (const char* key : {"nb_row", "nb_col", "kernel_dim1", "kernel_dim2", "kernel_dim3"}) {
    if (!config->contains(key)) continue;
    sizes.push_back((*config)[key]);
    config->erase(key);
  }
  if (!sizes.empty()) (*config)["kernel_size"] = std::move(sizes);
}

void TranslateOptions(const std::string& class_name, json* config) {
  JoinKernelSize(config);
  const bool embeds = class_name == "Embedding";
  if (!embeds) Rename(config, "output_dim", "units");
  if (embeds) {
    Rename(config, "init", "embeddings_initializer");
    Rename(config, "W_regularizer", "embeddings_regularizer");
    Rename(config, "W_constraint", "embeddings_constraint");
  }
  if (class_name == "PReLU") Rename(config, "init", "alpha_initializer");
  if (class_name == "UpSampling1D") Rename(config, "length", "size");
  for (const auto& [from, to] : OptionNames()) Rename(config, from, to);
  if (config->contains("dim_ordering")) {
    const bool channels_first = (*config)["dim_ordering"] == "th";
    config->erase("dim_ordering");
    (*config)["data_format"] = channels_first ? "channels_first" : "channels_last";
  }
  if (config->contains("forget_bias_init")) {
    (*config)["unit_forget_bias"] = (*config)["forget_bias_init"] == "one";
    config->erase("forget_bias_init");
  }
  if (class_name == "BatchNormalization" && config->value("mode", json(0)) == 0) {
    config->erase("mode");
  }
  // What says nothing of the numbers, or is said by the shape of the batch.
  config->erase("input_dtype");
  config->erase("consume_less");
  if (!embeds) config->erase("input_dim");
  if (!embeds) config->erase("input_length");
  if (class_name == "Conv2DTranspose") config->erase("output_shape");
  for (auto& [key, value] : config->items()) {
    if (key.ends_with("_regularizer") || key.ends_with("_constraint")) TranslateRule(&value);
    if (key.ends_with("_initializer")) TranslateInitializer(&value);
  }
}

// The layer Merge, which is a layer for each of its modes since.
void TranslateMerge(json* layer) {
  static const std::map<std::string, std::string> kModes = {
      {"sum", "Add"},     {"mul", "Multiply"}, {"ave", "Average"},
      {"max", "Maximum"}, {"dot", "Dot"},      {"concat", "Concatenate"}};
  json& config = (*layer)["config"];
  const json mode = config.value("mode", json());
  const auto found = mode.is_string() ? kModes.find(mode.get<std::string>()) : kModes.end();
  if (found == kModes.end()) return;
  json translated = {{"name", config.value("name", json())}};
  if (found->first == "concat") translated["axis"] = config.value("concat_axis", json(-1));
  if (found->first == "dot") translated["axes"] = config.value("dot_axes", json(-1));
  (*layer)["class_name"] = found->second;
  config = std::move(translated);
}

void TranslateLayer(json* layer) {
  if (!layer->is_object() || !layer->contains("class_name") ||
      !(*layer)["class_name"].is_string() || !layer->contains("config")) {
    return;
  }
  std::string class_name = (*layer)["class_name"].get<std::string>();
  json& config = (*layer)["config"];
  if (class_name == "Sequential" || class_name == "Model") return TranslateKeras1(layer);
  if (!config.is_object()) return;
  if (class_name == "Merge") return TranslateMerge(layer);
  const auto renamed = ClassNames().find(class_name);
  if (renamed != ClassNames().end()) {
    class_name = renamed->second;
    (*layer)["class_name"] = class_name;
  }
  if (config.contains("layer")) TranslateLayer(&config["layer"]);
  TranslateOptions(class_name, &config);
}

}  // namespace

void TranslateKeras1(json* architecture) {
  if (!architecture->is_object() || !architecture->contains("config")) return;
  json& config = (*architecture)["config"];
  json* layers = &config;
  if (config.is_object() && config.contains("layers")) layers = &config["layers"];
  if (!layers->is_array()) return;
  for (json& layer : *layers) TranslateLayer(&layer);
}

std::vector<std::vector<int>> Keras1Parts(int saved_count, int weight_count) {
  std::vector<std::vector<int>> parts;
  // The gates as they are saved, in the order of the columns of Keras 2: an LSTM's are
  // input, forget, cell, output, and were saved with the cell before the forget gate.
  static const std::vector<int> kLstm = {0, 2, 1, 3};
  static const std::vector<int> kGru = {0, 1, 2};
  if (saved_count == weight_count) {
    for (int i = 0; i < weight_count; ++i) parts.push_back({i});
    return parts;
  }
  const std::vector<int>& gates = saved_count == 4 * weight_count ? kLstm : kGru;
  const int gate_count = static_cast<int>(gates.size());
  // Kernel, recurrent kernel and bias, of one direction or two.
  if (weight_count % 3 != 0 || saved_count != gate_count * weight_count) return parts;
  for (int first = 0; first < saved_count; first += 3 * gate_count) {
    for (int weight = 0; weight < 3; ++weight) {
      std::vector<int>& columns = parts.emplace_back();
      for (const int gate : gates) columns.push_back(first + 3 * gate + weight);
    }
  }
  return parts;
}

}  // namespace dnc::model
